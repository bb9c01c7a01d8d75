// Root-mean-square normalization (Zhang & Sennrich 2019, arXiv:1910.07467).
#pragma once

#include <utility>

#include "autograd/normalization.h"
#include "nn/module.h"

namespace norma::nn {

struct RMSNormOptions {
  Shape normalized_shape = {};        // the trailing extents of x that are normalized together
  double eps = 1e-8;                  // >= 0
  RmsEps eps_mode = RmsEps::outside;  // outside: x / (rms + eps); inside: x / sqrt(mean(x^2) + eps)
  bool elementwise_affine = true;
  double partial = 1;  // in (0, 1]: the mean square is over the first part of the entries
};

/// y = x / (rms(x) + eps) * weight over the trailing axes; no mean, no bias. x [.., normalized_shape]; weight
/// (starts at 1) has normalized_shape. Training = eval. eps outside the root is the form of the authors'
/// PyTorch code; LLaMA's is {.eps = 1e-6, .eps_mode = RmsEps::inside}. With `partial` = p (pRMSNorm, section
/// 5 of the paper, there 0.0625) the mean square is over the first ceil(n p) of the n entries (the authors'
/// code rounds down) and all are divided by its root. Throws as LayerNorm does, and for p outside (0, 1].
class RMSNorm : public Module {
 public:
  explicit RMSNorm(std::int64_t width) : RMSNorm(RMSNormOptions{.normalized_shape = {width}}) {}
  explicit RMSNorm(const RMSNormOptions& options);
  Tensor operator()(const Tensor& x) const;
  /// {a + b, the norm of a + b}, in one pass over memory. a and b have one shape.
  std::pair<Tensor, Tensor> add_then(const Tensor& a, const Tensor& b) const;
  std::string describe() const override;

  Parameter weight;
  NORMA_PARTS(weight)

 private:
  RMSNormOptions options_;
  std::int64_t counted_ = 0;
};

}  // namespace norma::nn
