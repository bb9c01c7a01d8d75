// Layer normalization (Ba, Kiros, Hinton 2016, arXiv:1607.06450).
#pragma once

#include <utility>

#include "nn/module.h"

namespace norma::nn {

struct LayerNormOptions {
  Shape normalized_shape = {};  // the trailing extents of x that are normalized together
  double eps = 1e-5;            // added to the variance, inside the root; >= 0
  bool elementwise_affine = true;
  bool weight = true, bias = true;  // each only with elementwise_affine
  // Statistics that count as constants on the way back (DetachNorm of Xu et al. 2019, arXiv:1911.07013).
  bool detach_mean = false, detach_std = false;
};

/// y = (x - mean) / sqrt(var + eps) * weight + bias over the trailing axes, biased variance. x [..,
/// normalized_shape]; weight (starts at 1) and bias (0) have normalized_shape. Training = eval. Without both
/// it is LayerNorm-simple of Xu et al. Throws for an empty or zero-sized normalized_shape, for eps < 0 or
/// NaN, and for an x that does not end in normalized_shape.
class LayerNorm : public Module {
 public:
  explicit LayerNorm(std::int64_t width) : LayerNorm(LayerNormOptions{.normalized_shape = {width}}) {}
  explicit LayerNorm(const LayerNormOptions& options);
  Tensor operator()(const Tensor& x) const;
  /// {a + b, the norm of a + b}, in one pass over memory. a and b have one shape.
  std::pair<Tensor, Tensor> add_then(const Tensor& a, const Tensor& b) const;
  std::string describe() const override;

  Parameter weight, bias;
  NORMA_PARTS(weight, bias)

 private:
  LayerNormOptions options_;
};

}  // namespace norma::nn
