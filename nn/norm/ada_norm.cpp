#include "nn/norm/ada_norm.h"

#include <cmath>

#include "autograd/normalization.h"
#include "nn/norm/trailing.h"

namespace norma::nn {

AdaNorm::AdaNorm(const AdaNormOptions& options) : options_(options) {
  detail::check_norm("AdaNorm", options.normalized_shape, options.eps);
  NORMA_CHECK(std::isfinite(options.scale) && std::isfinite(options.k),
              "AdaNorm: scale and k must be finite, got ", options.scale, " and ", options.k);
}

Tensor AdaNorm::operator()(const Tensor& x) const {
  const Tensor y =
      layer_norm(detail::flatten_trailing("AdaNorm", x, options_.normalized_shape), {}, {}, options_.eps);
  const Tensor factor = options_.scale * (1 - options_.k * y.detach());
  return detail::unflatten_trailing(factor * y, options_.normalized_shape);
}

std::string AdaNorm::describe() const {
  return norma::detail::concat(options_.normalized_shape, ", eps=", options_.eps, ", scale=", options_.scale,
                               ", k=", options_.k);
}

}  // namespace norma::nn
