// AdaNorm (Xu et al. 2019, "Understanding and Improving Layer Normalization", arXiv:1911.07013, section 4).
#pragma once

#include "nn/module.h"

namespace norma::nn {

struct AdaNormOptions {
  Shape normalized_shape = {};  // the trailing extents of x that are normalized together
  double eps = 1e-5;            // added to the variance, inside the root; >= 0
  double scale = 1;             // C of the paper, finite
  double k = 0.1;               // finite
};

/// z = C (1 - k y) y with y = (x - mean) / sqrt(var + eps); the factor C (1 - k y) is a constant for the
/// gradient: dy = C (1 - k y) dz. x [.., normalized_shape]; no parameters. Training = eval. Throws as
/// LayerNorm does. (The authors' program divides by the unbiased deviation + eps; this is their equation.)
class AdaNorm : public Module {
 public:
  explicit AdaNorm(std::int64_t width) : AdaNorm(AdaNormOptions{.normalized_shape = {width}}) {}
  explicit AdaNorm(const AdaNormOptions& options);
  Tensor operator()(const Tensor& x) const;
  std::string describe() const override;
  NORMA_PARTS()

 private:
  AdaNormOptions options_;
};

}  // namespace norma::nn
