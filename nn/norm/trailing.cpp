#include "nn/norm/trailing.h"

#include <algorithm>
#include <cmath>

namespace norma::nn::detail {

void check_normalized_shape(const char* name, const Shape& normalized_shape) {
  const bool positive = std::all_of(normalized_shape.begin(), normalized_shape.end(),
                                    [](std::int64_t extent) { return extent > 0; });
  NORMA_CHECK(normalized_shape.rank() > 0 && positive, name,
              ": normalized_shape must have at least one extent, all > 0, got ", normalized_shape);
}

void check_eps(const char* name, double eps) {
  NORMA_CHECK(std::isfinite(eps) && eps >= 0, name, ": eps must be finite and >= 0, got ", eps);
}

void check_norm(const char* name, const Shape& normalized_shape, double eps) {
  check_normalized_shape(name, normalized_shape);
  check_eps(name, eps);
}

void check_trailing(const char* name, const Tensor& x, const Shape& normalized_shape) {
  NORMA_CHECK(x.defined(), name, ": x is an undefined tensor");
  const int rank = normalized_shape.rank();
  NORMA_CHECK(x.dim() >= rank && std::equal(normalized_shape.begin(), normalized_shape.end(),
                                            x.shape().begin() + (x.dim() - rank)),
              name, ": x must end in the normalized shape ", normalized_shape, ", got shape ", x.shape());
}

Tensor flatten_trailing(const char* name, const Tensor& x, const Shape& normalized_shape) {
  check_trailing(name, x, normalized_shape);
  return normalized_shape.rank() == 1 ? x : x.flatten(-normalized_shape.rank(), -1);
}

Tensor unflatten_trailing(const Tensor& y, const Shape& normalized_shape) {
  if (normalized_shape.rank() == 1) return y;
  return y.unflatten(-1, {normalized_shape.begin(), normalized_shape.end()});
}

Tensor flatten_parameter(const Tensor& parameter) {
  return parameter.defined() && parameter.dim() > 1 ? parameter.flatten() : parameter;
}

std::string affine_text(bool weight, bool bias) {
  if (weight && bias) return "";
  if (!weight && !bias) return ", no affine";
  return weight ? ", no bias" : ", no weight";
}

}  // namespace norma::nn::detail
