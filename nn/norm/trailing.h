// Norms over several trailing axes are norms over one: the axes are flattened for the op and restored after.
#pragma once

#include <string>

#include "autograd/tensor.h"

namespace norma::nn::detail {

/// Throws unless the shape has 1 to 7 extents, all > 0. `name` is the layer's, here and below.
void check_normalized_shape(const char* name, const Shape& normalized_shape);

/// Throws unless eps is finite and >= 0.
void check_eps(const char* name, double eps);

/// Both.
void check_norm(const char* name, const Shape& normalized_shape, double eps);

/// Throws unless x ends in normalized_shape.
void check_trailing(const char* name, const Tensor& x, const Shape& normalized_shape);

/// The same; then x with these axes flattened to one.
Tensor flatten_trailing(const char* name, const Tensor& x, const Shape& normalized_shape);

/// The last axis of y as the normalized axes again.
Tensor unflatten_trailing(const Tensor& y, const Shape& normalized_shape);

/// The parameter as a vector; undefined stays undefined.
Tensor flatten_parameter(const Tensor& parameter);

/// For describe(): which of weight and bias there are, "" for both.
std::string affine_text(bool weight, bool bias);

}  // namespace norma::nn::detail
