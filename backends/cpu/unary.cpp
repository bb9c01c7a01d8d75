// unary: y = op(x). Views of one shape, any strides; x may be y. Formulas in backends/elementwise.h; exp,
// log, tanh, erf and sigmoid of f32 use the vectorizable ones of vector_math.h.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/vector_math.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {

namespace {

template <class Y, class X, class F>
void map(const View& y_view, const View& x_view, F f) {
  const Loop<2> loop = make_loop(y_view, x_view);
  Y* y = pointer<Y>(y_view);
  const X* x = pointer<X>(x_view);
  const std::int64_t ys = loop.inner_stride(0), xs = loop.inner_stride(1);
  parallel_rows(loop, [&, f](std::int64_t n, const std::int64_t* offset) {
    Y* y_row = y + offset[0];
    const X* x_row = x + offset[1];
    if (ys == 1 && xs == 1) {
      for (std::int64_t i = 0; i < n; ++i) y_row[i] = f(x_row[i]);
    } else if (xs == 0) {
      const Y value = f(x_row[0]);
      for (std::int64_t i = 0; i < n; ++i) y_row[i * ys] = value;
    } else {
      for (std::int64_t i = 0; i < n; ++i) y_row[i * ys] = f(x_row[i * xs]);
    }
  });
}

template <Unary op, class T>
T fast_unary(T x, T a, T b) {
  if constexpr (op == Unary::exp) return vector_exp(x);
  if constexpr (op == Unary::log) return vector_log(x);
  if constexpr (op == Unary::tanh) return vector_tanh(x);
  if constexpr (op == Unary::erf) return vector_erf(x);
  if constexpr (op == Unary::sigmoid) return sigmoid(x, vector_exp_negative(-std::fabs(x)));
  return float_unary<op>(x, a, b);
}

/// The common exponents without pow, which is a call per element.
template <class T>
void power(const View& y, const View& x, T exponent) {
  if (exponent == T(2)) return map<T, T>(y, x, [](T v) { return v * v; });
  if (exponent == T(3)) return map<T, T>(y, x, [](T v) { return v * v * v; });
  if (exponent == T(1)) return map<T, T>(y, x, [](T v) { return v; });
  if (exponent == T(-1)) return map<T, T>(y, x, [](T v) { return T(1) / v; });
  if (exponent == T(-2)) return map<T, T>(y, x, [](T v) { return T(1) / (v * v); });
  map<T, T>(y, x, [exponent](T v) { return std::pow(v, exponent); });
}

template <Unary op>
void run(const View& y, const View& x, double a, double b) {
  if constexpr (op == Unary::logical_not) {
    NORMA_CHECK(x.dtype == boolean, name(op), ": needs a bool tensor, got ", x.dtype);
    map<bool, bool>(y, x, [](bool v) { return predicate<op>(v); });
  } else if constexpr (is_predicate(op)) {
    for_float(x.dtype, name(op),
              [&]<class T>() { map<bool, T>(y, x, [](T v) { return predicate<op>(v); }); });
  } else {
    if constexpr (has_integer_form(op)) {
      if (x.dtype == i64) {
        const std::int64_t ia = convert<std::int64_t>(std::round(a)),
                           ib = convert<std::int64_t>(std::round(b));
        return map<std::int64_t, std::int64_t>(y, x,
                                               [=](std::int64_t v) { return integer_unary<op>(v, ia, ib); });
      }
    }
    for_float(x.dtype, name(op), [&]<class T>() {
      const T ta = static_cast<T>(a), tb = static_cast<T>(b);
      if constexpr (op == Unary::power) {
        power<T>(y, x, ta);
      } else {
        map<T, T>(y, x, [=](T v) { return fast_unary<op>(v, ta, tb); });
      }
    });
  }
}

}  // namespace

void CpuBackend::unary(Unary op, View y, View x, double a, double b) {
  with_unary(op, [&]<Unary o>() { run<o>(y, x, a, b); });
}

}  // namespace norma
