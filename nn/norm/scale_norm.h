// ScaleNorm (Nguyen & Salazar 2019, arXiv:1910.05895).
#pragma once

#include "nn/module.h"

namespace norma::nn {

/// y = g x / max(|x|, eps) over the last axis: rows of one learned length. x [.., width]; the weight g is one
/// number, [1], and starts at sqrt(width). Training = eval. Equal to RMSNorm without eps whose gain is
/// g / sqrt(width) throughout. Throws for width <= 0, for an eps that is negative or not finite, and for an x
/// whose last axis is not `width`.
class ScaleNorm : public Module {
 public:
  explicit ScaleNorm(std::int64_t width, double eps = 1e-5);
  Tensor operator()(const Tensor& x) const;
  std::string describe() const override;

  Parameter weight;
  NORMA_PARTS(weight)

 private:
  Shape width_;
  double eps_;
};

}  // namespace norma::nn
