// binary: y = op(a, b), and y = op(x, s) with a scalar. Views of one shape, any strides (zero where
// broadcast); an operand may be y. Formulas in backends/elementwise.h.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/vector_math.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {

namespace {

/// Whether operand k is one short row, repeated along the other axis of a loop in which the rest has no gaps.
bool repeats_short_row(const Loop<3>& loop, int k) {
  constexpr std::int64_t longest = 64;
  if (loop.rank != 2 || loop.inner() > longest || loop.strides[k][0] != 0) return false;
  for (int operand = 0; operand < 3; ++operand) {
    if (loop.strides[operand][1] != 1) return false;
    if (operand != k && loop.strides[operand][0] != loop.inner()) return false;
  }
  return true;
}

/// The row, many times over: then a loop over the rest meets long rows.
template <class Y, class X, class F>
void map_repeated(const Loop<3>& loop, Y* y, const X* x, const X* row, F f) {
  constexpr std::int64_t room = 1024;
  const std::int64_t count = loop.numel(), length = room / loop.inner() * loop.inner();
  X many[room];
  for (std::int64_t i = 0; i < std::min(length, count); ++i) many[i] = row[i % loop.inner()];
  const std::int64_t block = (even_block(count) + length - 1) / length * length;
  parallel_for(count, block, [&, f](std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += length) {
      const std::int64_t n = std::min(length, end - begin);
      for (std::int64_t i = 0; i < n; ++i) y[begin + i] = f(x[begin + i], many[i]);
    }
  });
}

template <class Y, class X, class F>
void map(const View& y_view, const View& a_view, const View& b_view, F f) {
  const Loop<3> loop = make_loop(y_view, a_view, b_view);
  Y* y = pointer<Y>(y_view);
  const X *a = pointer<X>(a_view), *b = pointer<X>(b_view);
  if (repeats_short_row(loop, 2)) return map_repeated(loop, y, a, b, f);
  if (repeats_short_row(loop, 1)) return map_repeated(loop, y, b, a, [f](X q, X p) { return f(p, q); });
  const std::int64_t ys = loop.inner_stride(0), as = loop.inner_stride(1), bs = loop.inner_stride(2);
  parallel_rows(loop, [&, f](std::int64_t n, const std::int64_t* offset) {
    Y* y_row = y + offset[0];
    const X *a_row = a + offset[1], *b_row = b + offset[2];
    if (ys == 1 && as == 1 && bs == 1) {
      for (std::int64_t i = 0; i < n; ++i) y_row[i] = f(a_row[i], b_row[i]);
    } else if (ys == 1 && as == 1 && bs == 0) {
      const X value = b_row[0];
      for (std::int64_t i = 0; i < n; ++i) y_row[i] = f(a_row[i], value);
    } else if (ys == 1 && as == 0 && bs == 1) {
      const X value = a_row[0];
      for (std::int64_t i = 0; i < n; ++i) y_row[i] = f(value, b_row[i]);
    } else {
      for (std::int64_t i = 0; i < n; ++i) y_row[i * ys] = f(a_row[i * as], b_row[i * bs]);
    }
  });
}

/// Integer division by zero is a signal on most machines: rule it out first.
void check_divisors(const View& b) {
  const Loop<1> loop = make_loop(b);
  const std::int64_t* divisor = pointer<std::int64_t>(b);
  for_rows(loop, 0, loop.numel(), [&](std::int64_t n, const std::int64_t* offset) {
    for (std::int64_t i = 0; i < n; ++i) {
      NORMA_CHECK(divisor[offset[0] + i * loop.inner_stride(0)] != 0,
                  "div: division by zero of an i64 tensor");
    }
  });
}

/// a^b of f32 is the one of vector_math.h, of which loops make vectors where it is inlined.
template <Binary op, class T>
struct FastArithmetic {
  [[gnu::always_inline]] T operator()(T a, T b) const {
    if constexpr (op == Binary::power) return vector_pow(a, b);
    return arithmetic<op>(a, b);
  }
};

template <Binary op>
void run(const View& y, const View& a, const View& b) {
  NORMA_CHECK(a.dtype == b.dtype, name(op), ": operands must have one dtype, got ", a.dtype, " and ",
              b.dtype);
  if constexpr (is_logical(op)) {
    NORMA_CHECK(a.dtype == boolean, name(op), ": needs bool tensors, got ", a.dtype);
    map<bool, bool>(y, a, b, [](bool p, bool q) { return compare<op>(p, q); });
  } else if constexpr (is_comparison(op)) {
    for_any(a.dtype, [&]<class T>() { map<bool, T>(y, a, b, [](T p, T q) { return compare<op>(p, q); }); });
  } else {
    NORMA_CHECK(a.dtype != boolean, name(op), ": needs numbers, got bool tensors; convert them with to()");
    if (a.dtype == i64) {
      if constexpr (op == Binary::div) check_divisors(b);
      map<std::int64_t, std::int64_t>(y, a, b,
                                      [](std::int64_t p, std::int64_t q) { return arithmetic<op>(p, q); });
    } else {
      for_float(a.dtype, name(op), [&]<class T>() { map<T, T>(y, a, b, FastArithmetic<op, T>()); });
    }
  }
}

}  // namespace

void CpuBackend::binary(Binary op, View y, View a, View b) {
  with_binary(op, [&]<Binary o>() { run<o>(y, a, b); });
}

void CpuBackend::binary_scalar(Binary op, View y, View x, double s, bool scalar_first) {
  for_any(x.dtype, [&]<class T>() {
    T value;
    if constexpr (std::is_same_v<T, std::int64_t>) {
      value = convert<T>(std::round(s));
    } else {
      value = convert<T>(s);
    }
    View scalar = x;  // x's shape, every element the same
    scalar.data = &value;
    for (int axis = 0; axis < x.rank; ++axis) scalar.strides[axis] = 0;
    if (scalar_first) {
      binary(op, y, scalar, x);
    } else {
      binary(op, y, x, scalar);
    }
  });
}

}  // namespace norma
