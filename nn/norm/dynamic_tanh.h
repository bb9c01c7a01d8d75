// Dynamic Tanh, a substitute for a norm (Zhu, Chen, He, LeCun, Liu 2025, arXiv:2503.10622).
#pragma once

#include "nn/module.h"

namespace norma::nn {

struct DynamicTanhOptions {
  Shape normalized_shape = {};  // of weight and bias: the trailing extents of x
  double alpha = 0.5;           // where alpha starts; finite
  bool elementwise_affine = true;
  bool weight = true, bias = true;  // each only with elementwise_affine
};

/// y = weight * tanh(alpha x) + bias, element by element: no statistics, so neither the scale nor the mean of
/// x is removed. x [.., normalized_shape]; alpha is one number, [1]; weight (starts at 1) and bias (0) have
/// normalized_shape. Training = eval. Throws as LayerNorm does. The paper starts alpha smaller in wide
/// language models (at width 4096: 0.8 before attention, 0.2 elsewhere).
class DynamicTanh : public Module {
 public:
  explicit DynamicTanh(std::int64_t width) : DynamicTanh(DynamicTanhOptions{.normalized_shape = {width}}) {}
  explicit DynamicTanh(const DynamicTanhOptions& options);
  Tensor operator()(const Tensor& x) const;
  std::string describe() const override;

  Parameter alpha, weight, bias;
  NORMA_PARTS(alpha, weight, bias)

 private:
  DynamicTanhOptions options_;
};

}  // namespace norma::nn
