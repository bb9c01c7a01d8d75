// Ops that other ops need and users do not.
#pragma once

#include "autograd/tensor.h"

namespace norma {

/// Inclusive running sum along an axis, from the end if reverse.
Tensor running_sum(const Tensor& x, int axis, bool reverse);

/// Zeros of `shape` with x in the given range of an axis: the adjoint of slice.
Tensor embed_slice(const Tensor& x, const Shape& shape, int axis, Slice range);

}  // namespace norma
