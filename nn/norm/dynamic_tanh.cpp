#include "nn/norm/dynamic_tanh.h"

#include <cmath>

#include "autograd/ops.h"
#include "nn/norm/trailing.h"

namespace norma::nn {

DynamicTanh::DynamicTanh(const DynamicTanhOptions& options) : options_(options) {
  detail::check_normalized_shape("DynamicTanh", options.normalized_shape);
  NORMA_CHECK(std::isfinite(options.alpha), "DynamicTanh: alpha must be finite, got ", options.alpha);
  alpha = Parameter(full({1}, options.alpha));
  if (!options.elementwise_affine) return;
  if (options.weight) weight = Parameter(ones(options.normalized_shape));
  if (options.bias) bias = Parameter(zeros(options.normalized_shape));
}

Tensor DynamicTanh::operator()(const Tensor& x) const {
  detail::check_trailing("DynamicTanh", x, options_.normalized_shape);
  Tensor y = (x * alpha).tanh();
  if (weight.defined()) y = y * weight;
  if (bias.defined()) y = y + bias;
  return y;
}

std::string DynamicTanh::describe() const {
  return norma::detail::concat(options_.normalized_shape, ", alpha=", options_.alpha,
                               detail::affine_text(weight.defined(), bias.defined()));
}

}  // namespace norma::nn
