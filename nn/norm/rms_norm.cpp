#include "nn/norm/rms_norm.h"

#include "nn/norm/trailing.h"

namespace norma::nn {

RMSNorm::RMSNorm(const RMSNormOptions& options) : options_(options) {
  detail::check_norm("RMSNorm", options.normalized_shape, options.eps);
  if (options.elementwise_affine) weight = Parameter(ones(options.normalized_shape));
}

Tensor RMSNorm::operator()(const Tensor& x) const {
  const Tensor y = rms_norm(detail::flatten_trailing("RMSNorm", x, options_.normalized_shape),
                            detail::flatten_parameter(weight), options_.eps, options_.eps_mode);
  return detail::unflatten_trailing(y, options_.normalized_shape);
}

std::string RMSNorm::describe() const {
  return norma::detail::concat(options_.normalized_shape, ", eps=", options_.eps,
                               options_.eps_mode == RmsEps::outside ? " outside" : " inside",
                               ", elementwise_affine=", options_.elementwise_affine);
}

}  // namespace norma::nn
