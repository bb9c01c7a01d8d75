// What the fused ops share: checks of their arguments, and operands in the layout that kernels expect.
#pragma once

#include <optional>
#include <utility>

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
/// keeps it, and the array, until then; a temporary array it keeps itself. Undefined stays undefined. A view
/// is made where it is asked for: then it is made in its place among the arguments of the kernel.
class Packed {
 public:
  enum class Form : std::uint8_t { as_it_is, rows };

  explicit Packed(const Array& x, Form form = Form::as_it_is) : form_(form) {
    if (x.defined()) array_ = x.is_contiguous() ? &x : &own_.emplace(x.clone());
  }
  explicit Packed(Array&& x, Form form = Form::as_it_is) : form_(form) {
    if (x.defined()) array_ = &own_.emplace(x.is_contiguous() ? std::move(x) : x.clone());
  }
  Packed(const Packed&) = delete;
  Packed& operator=(const Packed&) = delete;

  View view() const { return form_ == Form::rows ? rows_of(*array_) : array_->view(); }
  View view_or_none() const { return array_ != nullptr ? view() : View{}; }

 private:
  /// Contiguous x [.., d] as [rows, d].
  static View rows_of(const Array& x);

  Form form_;
  const Array* array_ = nullptr;
  std::optional<Array> own_;
};

inline Packed packed(const Array& x) { return Packed(x); }
inline Packed packed(Array&& x) { return Packed(std::move(x)); }
inline Packed packed(const Tensor& x) { return Packed(array_or_none(x)); }
/// x [.., d] as contiguous [rows, d].
inline Packed as_rows(const Array& x) { return Packed(x, Packed::Form::rows); }
inline Packed as_rows(Array&& x) { return Packed(std::move(x), Packed::Form::rows); }
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
