// Norms over several trailing axes are norms over one: the axes are flattened for the op and restored after.
#pragma once

#include "autograd/tensor.h"

namespace norma::nn::detail {

/// Throws unless the shape has 1 to 7 extents, all > 0, and eps is finite and >= 0. `name` is the layer's.
void check_norm(const char* name, const Shape& normalized_shape, double eps);

/// Throws unless x ends in normalized_shape; then x with these axes flattened to one.
Tensor flatten_trailing(const char* name, const Tensor& x, const Shape& normalized_shape);

/// The last axis of y as the normalized axes again.
Tensor unflatten_trailing(const Tensor& y, const Shape& normalized_shape);

/// The parameter as a vector; undefined stays undefined.
Tensor flatten_parameter(const Tensor& parameter);

}  // namespace norma::nn::detail
