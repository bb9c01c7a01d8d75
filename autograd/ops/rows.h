// What the fused ops share: checks of their arguments, and operands in the layout that kernels expect.
#pragma once

#include "autograd/node.h"
#include "autograd/tensor.h"

namespace norma::detail {

/// Throws unless x is defined and of a floating dtype.
void check_floating(const char* op, const char* argument, const Tensor& x);
/// The same, and x has at least one axis.
void check_rows(const char* op, const Tensor& x);
/// Throws unless `argument` has x's dtype and device.
void check_like(const char* op, const char* argument, const Tensor& tensor, const Tensor& x);
/// The same, and a shape of [last extent of x]; an undefined tensor passes.
void check_per_column(const char* op, const char* argument, const Tensor& tensor, const Tensor& x);
/// The same, and a shape equal to x's; undefined throws.
void check_same_shape(const char* op, const char* argument, const Tensor& tensor, const Tensor& x);
/// Throws unless eps is finite and >= 0.
void check_eps(const char* op, double eps);

inline Array empty_like(const Array& x) { return Array::empty(x.shape(), x.dtype(), x.device()); }
/// Memory for the gradient of x, or none when it is not wanted.
inline Array gradient_of(bool wanted, const Array& x) {
  return wanted && x.defined() ? empty_like(x) : Array();
}
/// Product of all extents but the last.
std::int64_t row_count(const Shape& shape);
/// x [.., d] as contiguous [rows, d]; a view when x is contiguous. Undefined stays undefined.
Array as_rows(const Array& x);
inline Array packed(const Array& x) { return x.defined() ? x.contiguous() : Array(); }
inline Array packed(const Tensor& x) { return x.defined() ? x.array().contiguous() : Array(); }
/// Statistics of kernels: one f64 per row.
inline Array row_statistics(const Array& x) {
  return Array::empty(Shape{row_count(x.shape())}, f64, x.device());
}

/// x + residual, of one shape, whose value a kernel has computed already.
Tensor record_sum(Array sum, const Tensor& x, const Tensor& residual);

}  // namespace norma::detail
