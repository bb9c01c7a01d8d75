#include "nn/norm/trailing.h"

#include <algorithm>
#include <cmath>

namespace norma::nn::detail {

void check_norm(const char* name, const Shape& normalized_shape, double eps) {
  const bool positive = std::all_of(normalized_shape.begin(), normalized_shape.end(),
                                    [](std::int64_t extent) { return extent > 0; });
  NORMA_CHECK(normalized_shape.rank() > 0 && positive, name,
              ": normalized_shape must have at least one extent, all > 0, got ", normalized_shape);
  NORMA_CHECK(std::isfinite(eps) && eps >= 0, name, ": eps must be finite and >= 0, got ", eps);
}

Tensor flatten_trailing(const char* name, const Tensor& x, const Shape& normalized_shape) {
  NORMA_CHECK(x.defined(), name, ": x is an undefined tensor");
  const int rank = normalized_shape.rank();
  NORMA_CHECK(x.dim() >= rank && std::equal(normalized_shape.begin(), normalized_shape.end(),
                                            x.shape().begin() + (x.dim() - rank)),
              name, ": x must end in the normalized shape ", normalized_shape, ", got shape ", x.shape());
  return rank == 1 ? x : x.flatten(-rank, -1);
}

Tensor unflatten_trailing(const Tensor& y, const Shape& normalized_shape) {
  if (normalized_shape.rank() == 1) return y;
  return y.unflatten(-1, {normalized_shape.begin(), normalized_shape.end()});
}

Tensor flatten_parameter(const Tensor& parameter) {
  return parameter.defined() && parameter.dim() > 1 ? parameter.flatten() : parameter;
}

}  // namespace norma::nn::detail
