// The kernels that combine elements: reductions, scans, products, gather and scatter.
#include <limits>
#include <type_traits>

#include "backends/elementwise.h"
#include "backends/indices.h"
#include "backends/reference/element.h"
#include "backends/reference/reference_backend.h"

namespace norma {

namespace {

template <class T>
using Total = std::conditional_t<std::is_floating_point_v<T>, double, T>;

template <class T>
constexpr T largest = std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity()
                                                           : std::numeric_limits<T>::max();
template <class T>
constexpr T smallest = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                            : std::numeric_limits<T>::lowest();

/// y = start combined with every element of x that falls on it, in row-major order.
template <class T, class Combine>
void fold_lines(const View& y, const View& x, Total<T> start, Combine&& combine) {
  for_each(y, [&](const Index& out) {
    View part = x;  // the elements of x that y's element stands for
    for (int axis = 0; axis < x.rank; ++axis) {
      if (y.shape[axis] == x.shape[axis]) part.shape[axis] = 1;
    }
    Total<T> total = start;
    for_each(part, [&](Index in) {
      for (int axis = 0; axis < x.rank; ++axis) in.at[axis] += out.at[axis];
      total = combine(total, static_cast<Total<T>>(element<T>(x, in)));
    });
    element<T>(y, out) = static_cast<T>(total);
  });
}

template <class T>
void reduce_numbers(Reduce op, const View& y, const View& x) {
  using A = Total<T>;
  if (op == Reduce::sum)
    return fold_lines<T>(y, x, A(0), [](A a, A b) { return arithmetic<Binary::add>(a, b); });
  if (op == Reduce::max)
    return fold_lines<T>(y, x, smallest<A>, [](A a, A b) { return arithmetic<Binary::maximum>(a, b); });
  fold_lines<T>(y, x, largest<A>, [](A a, A b) { return arithmetic<Binary::minimum>(a, b); });
}

/// Calls body.operator()<T>() for f32, f64 and i64.
template <class Body>
void for_numbers(DType dtype, const char* op, Body&& body) {
  if (dtype == i64) return body.template operator()<std::int64_t>();
  for_float(dtype, op, body);
}

}  // namespace

void ReferenceBackend::reduce(Reduce op, View y, View x) {
  if (op == Reduce::any || op == Reduce::all) {
    NORMA_CHECK(x.dtype == boolean, name(op), ": needs a bool tensor, got ", x.dtype);
    const bool start = op == Reduce::all;
    return fold_lines<bool>(y, x, start, [&](bool a, bool b) { return op == Reduce::all ? a && b : a || b; });
  }
  for_numbers(x.dtype, name(op), [&]<class T>() { reduce_numbers<T>(op, y, x); });
}

void ReferenceBackend::arg_reduce(ArgReduce op, View indices, View x, int axis) {
  for_any(x.dtype, [&]<class T>() {
    for_each(indices, [&](const Index& line) {
      std::int64_t best = 0;
      for (std::int64_t i = 1; i < x.shape[axis]; ++i) {
        const T value = element<T>(x, with(line, axis, i)), held = element<T>(x, with(line, axis, best));
        const bool better = op == ArgReduce::argmax ? value > held : value < held;
        if (held == held && (better || value != value)) best = i;  // a NaN wins and stays
      }
      element<std::int64_t>(indices, line) = best;
    });
  });
}

void ReferenceBackend::cumsum(View y, View x, int axis, bool reverse) {
  for_numbers(x.dtype, "cumsum", [&]<class T>() {
    const std::int64_t length = x.shape[axis];
    if (length == 0) return;
    for_each(lines(x, axis), [&](const Index& line) {
      Total<T> total = 0;
      for (std::int64_t i = 0; i < length; ++i) {
        const Index at = with(line, axis, reverse ? length - 1 - i : i);
        total = arithmetic<Binary::add>(total, static_cast<Total<T>>(element<T>(x, at)));
        element<T>(y, at) = static_cast<T>(total);
      }
    });
  });
}

void ReferenceBackend::matmul(View c, View a, View b, double alpha, double beta) {
  for_float(c.dtype, "matmul", [&]<class T>() {
    const int row = c.rank - 2, column = c.rank - 1;
    for_each(c, [&](const Index& at) {
      double sum = 0;
      for (std::int64_t k = 0; alpha != 0 && k < a.shape[column]; ++k) {
        sum += static_cast<double>(element<T>(a, with(at, column, k))) *
               static_cast<double>(element<T>(b, with(at, row, k)));
      }
      T& out = element<T>(c, at);
      out = static_cast<T>(alpha * sum + (beta == 0 ? 0 : beta * static_cast<double>(out)));
    });
  });
}

void ReferenceBackend::gather(View y, View x, View index, int axis, const char* op) {
  check_indices(index, x.shape[axis], op);
  for_any(x.dtype, [&]<class T>() {
    for_each(y, [&](const Index& at) {
      element<T>(y, at) = element<T>(x, with(at, axis, element<std::int64_t>(index, at)));
    });
  });
}

void ReferenceBackend::scatter_add(View y, View x, View index, int axis, const char* op) {
  check_indices(index, y.shape[axis], op);
  for_numbers(x.dtype, op, [&]<class T>() {
    for_each(x, [&](const Index& at) {
      T& sum = element<T>(y, with(at, axis, element<std::int64_t>(index, at)));
      sum = arithmetic<Binary::add>(sum, element<T>(x, at));
    });
  });
}

}  // namespace norma
