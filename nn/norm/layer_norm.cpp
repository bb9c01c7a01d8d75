#include "nn/norm/layer_norm.h"

#include "autograd/normalization.h"
#include "nn/norm/trailing.h"

namespace norma::nn {

LayerNorm::LayerNorm(const LayerNormOptions& options) : options_(options) {
  detail::check_norm("LayerNorm", options.normalized_shape, options.eps);
  if (!options.elementwise_affine) return;
  if (options.weight) weight = Parameter(ones(options.normalized_shape));
  if (options.bias) bias = Parameter(zeros(options.normalized_shape));
}

Tensor LayerNorm::operator()(const Tensor& x) const {
  const Tensor y = layer_norm(detail::flatten_trailing("LayerNorm", x, options_.normalized_shape),
                              detail::flatten_parameter(weight), detail::flatten_parameter(bias),
                              options_.eps, {.mean = options_.detach_mean, .std = options_.detach_std});
  return detail::unflatten_trailing(y, options_.normalized_shape);
}

std::pair<Tensor, Tensor> LayerNorm::add_then(const Tensor& a, const Tensor& b) const {
  if (options_.detach_mean || options_.detach_std) {
    const Tensor sum = a + b;
    return {sum, (*this)(sum)};
  }
  const Shape& shape = options_.normalized_shape;
  const auto [sum, y] = add_layer_norm(
      detail::flatten_trailing("LayerNorm", a, shape), detail::flatten_trailing("LayerNorm", b, shape),
      detail::flatten_parameter(weight), detail::flatten_parameter(bias), options_.eps);
  return {detail::unflatten_trailing(sum, shape), detail::unflatten_trailing(y, shape)};
}

std::string LayerNorm::describe() const {
  return norma::detail::concat(options_.normalized_shape, ", eps=", options_.eps,
                               detail::affine_text(weight.defined(), bias.defined()),
                               options_.detach_mean ? ", mean detached" : "",
                               options_.detach_std ? ", deviation detached" : "");
}

}  // namespace norma::nn
