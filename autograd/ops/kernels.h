// Values of ops on Arrays: these functions check operands, allocate the result and call the backend. No
// history. For the files in autograd/ops/, and for ops written outside the tree.
#pragma once

#include <vector>

#include "autograd/tensor.h"

namespace norma::kernels {

/// Throws unless both have one dtype and live on one device: "op: a is f32 on cpu, b is f64 on cpu; convert
/// with to()".
void check_same_kind(const char* op, const Array& a, const Array& b);

Array unary(Unary op, const Array& x, double a = 0, double b = 0);
/// Broadcasts. `name` is used in messages.
Array binary(Binary op, const Array& a, const Array& b, const char* name);
Array binary_scalar(Binary op, const Array& x, double s, bool scalar_first = false);
/// dx of y = op(x) (v: x or y, as Backend::unary_gradient says), and the gradient of one operand of op(a, b),
/// of the shape of dy, to which a and b broadcast. Undefined where the device has no kernel for it.
Array unary_gradient(Unary op, const Array& dy, const Array& v, double a = 0, double b = 0);
Array binary_gradient(Binary op, int operand, const Array& dy, const Array& a, const Array& b);
Array where(const Array& condition, const Array& a, const Array& b);
/// Reduced axes keep extent 1. `reduced` flags axes; empty extents give the op's neutral element.
Array reduce(Reduce op, const Array& x, const Shape& kept_shape);
/// Over everything, to rank 0.
Array reduce_all(Reduce op, const Array& x);
/// a [.., m, k] times b [.., k, n]; batch axes broadcast. Ranks >= 2.
Array matmul(const Array& a, const Array& b);
/// x = x op y, y broadcast to x, of its dtype and on its device, elsewhere in memory or x itself; bumps the
/// version.
void binary_in_place(Binary op, const Array& x, const Array& y, const char* name);
/// x = a x + b; bumps the version.
void affine_in_place(const Array& x, double a, double b, const char* name);

/// The shape of x with the axes set to extent 1. No axes = all. Throws on repeated or invalid axes.
Shape kept_shape(const Shape& shape, const Axes& axes, const char* op);
/// How many rows are reduced where the reduced axes are the last ones: then each row lies together. 0 where
/// they are not, or where x has no elements.
std::int64_t reduced_rows(const Shape& shape, const Shape& kept);
/// x without gaps as [rows, d].
Array as_rows(const Array& x, std::int64_t rows);
/// The shape of x without the axes.
Shape dropped_shape(const Shape& shape, const Axes& axes, const char* op);

}  // namespace norma::kernels
