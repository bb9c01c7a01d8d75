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

/// What a kernel is shown of an array: no gaps, by a copy where the array has some. Whoever calls the kernel
/// keeps it, and the array, until then. Undefined stays undefined.
class Packed {
 public:
  explicit Packed(const Array& x) {
    if (!x.defined()) return;
    if (!x.is_contiguous()) copy_ = x.clone();
    view_ = copy_.defined() ? copy_.view() : x.view();
  }
  const View& view() const { return view_; }
  const View& view_or_none() const { return view_; }
  /// The same as [rows, d].
  Packed as_rows() &&;

 private:
  Array copy_;
  View view_;
};

inline Packed packed(const Array& x) { return Packed(x); }
inline Packed packed(const Tensor& x) { return x.defined() ? Packed(x.array()) : Packed(Array()); }
/// x [.., d] as contiguous [rows, d].
inline Packed as_rows(const Array& x) { return Packed(x).as_rows(); }
/// Statistics of kernels: one f64 per row.
inline Array row_statistics(const Array& x) {
  return Array::empty(Shape{row_count(x.shape())}, f64, x.device());
}

/// Several of them, in one piece of memory, and the view of one.
inline Array row_statistics(const Array& x, std::int64_t count) {
  return Array::empty(Shape{count, row_count(x.shape())}, f64, x.device());
}
View statistic(const Array& statistics, std::int64_t number);

/// x + residual, of one shape, whose value a kernel has computed already.
Tensor record_sum(Array sum, const Tensor& x, const Tensor& residual);

}  // namespace norma::detail
