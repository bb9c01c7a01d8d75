#include "nn/norm/rms_norm.h"

#include <algorithm>
#include <cmath>

#include "nn/norm/trailing.h"

namespace norma::nn {
namespace {

/// ceil(n p); a product that only rounding lifted above a whole number (100 * 0.07) counts as that number.
std::int64_t counted_of(const RMSNormOptions& o) {
  NORMA_CHECK(o.partial > 0 && o.partial <= 1, "RMSNorm: partial must be in (0, 1], got ", o.partial);
  const std::int64_t n = o.normalized_shape.numel();
  const double part = static_cast<double>(n) * o.partial * (1 - 1e-14);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil(part)), 1, n);
}

}  // namespace

RMSNorm::RMSNorm(const RMSNormOptions& options) : options_(options) {
  detail::check_norm("RMSNorm", options.normalized_shape, options.eps);
  counted_ = counted_of(options);
  if (options.elementwise_affine) weight = Parameter(ones(options.normalized_shape));
}

Tensor RMSNorm::operator()(const Tensor& x) const {
  const Tensor y = rms_norm(detail::flatten_trailing("RMSNorm", x, options_.normalized_shape),
                            detail::flatten_parameter(weight), options_.eps, options_.eps_mode, counted_);
  return detail::unflatten_trailing(y, options_.normalized_shape);
}

std::pair<Tensor, Tensor> RMSNorm::add_then(const Tensor& a, const Tensor& b) const {
  if (options_.partial < 1) {
    const Tensor sum = a + b;
    return {sum, (*this)(sum)};
  }
  const Shape& shape = options_.normalized_shape;
  const auto [sum, y] = add_rms_norm(detail::flatten_trailing("RMSNorm", a, shape),
                                     detail::flatten_trailing("RMSNorm", b, shape),
                                     detail::flatten_parameter(weight), options_.eps, options_.eps_mode);
  return {detail::unflatten_trailing(sum, shape), detail::unflatten_trailing(y, shape)};
}

std::string RMSNorm::describe() const {
  return norma::detail::concat(options_.normalized_shape, ", eps=", options_.eps,
                               options_.eps_mode == RmsEps::outside ? " outside" : " inside",
                               weight.defined() ? "" : ", no affine",
                               options_.partial < 1 ? norma::detail::concat(", over ", counted_) : "");
}

}  // namespace norma::nn
