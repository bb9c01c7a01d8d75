#include "nn/norm/scale_norm.h"

#include <cmath>

#include "autograd/normalization.h"
#include "nn/norm/trailing.h"

namespace norma::nn {

ScaleNorm::ScaleNorm(std::int64_t width, double eps) : width_({width}), eps_(eps) {
  detail::check_norm("ScaleNorm", width_, eps);
  weight = Parameter(full({1}, std::sqrt(static_cast<double>(width))));
}

Tensor ScaleNorm::operator()(const Tensor& x) const {
  return l2_norm(detail::flatten_trailing("ScaleNorm", x, width_), weight, eps_);
}

std::string ScaleNorm::describe() const { return norma::detail::concat(width_, ", eps=", eps_); }

}  // namespace norma::nn
