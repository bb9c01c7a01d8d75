// unary: y = op(x). Views of one shape, any strides; x may be y. Formulas in backends/elementwise.h; those
// that would call libm use the vectorizable ones of vector_math.h.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/vector_math.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {

namespace {

/// y_i = f(x_i) for n elements at steps ys and xs.
template <class Y, class X, class F>
void map_row(std::int64_t n, Y* y, std::int64_t ys, const X* x, std::int64_t xs, F f) {
  if (ys == 1 && xs == 1) {
#pragma omp simd  // y is x or apart from it
    for (std::int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
  } else if (xs == 0) {
    const Y value = f(x[0]);
    for (std::int64_t i = 0; i < n; ++i) y[i * ys] = value;
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i * ys] = f(x[i * xs]);
  }
}

/// Calls row(n, y, ys, x, xs) for pieces of innermost rows, in parallel from more than `serial` elements on.
template <class Y, class X, class Row>
void for_each_row(const View& y_view, const View& x_view, std::int64_t serial, Row row) {
  const Loop<2> loop = make_loop(y_view, x_view);
  Y* y = pointer<Y>(y_view);
  const X* x = pointer<X>(x_view);
  const std::int64_t ys = loop.inner_stride(0), xs = loop.inner_stride(1);
  const auto piece = [&, row](std::int64_t n, const std::int64_t* offset) {
    row(n, y + offset[0], ys, x + offset[1], xs);
  };
  parallel_rows(loop, piece, even_block(loop.numel(), serial));
}

template <class Y, class X, class F>
void map(const View& y_view, const View& x_view, F f, std::int64_t serial = block_elements) {
  for_each_row<Y, X>(y_view, x_view, serial,
                     [f](std::int64_t n, Y* y, std::int64_t ys, const X* x, std::int64_t xs) {
                       map_row(n, y, ys, x, xs, f);
                     });
}

/// sin and cos: a large argument goes to libm, and pieces without one take the loop that vectorizes. A value
/// depends on its argument alone.
template <class T, class Fast, class Exact>
void map_turns(const View& y_view, const View& x_view, Fast fast, Exact exact) {
  constexpr std::int64_t piece = 1024;
  for_each_row<T, T>(y_view, x_view, costly_elements,
                     [=](std::int64_t n, T* y, std::int64_t ys, const T* x, std::int64_t xs) {
                       for (std::int64_t i = 0; i < n; i += piece) {
                         const std::int64_t count = std::min(piece, n - i);
                         // A row with gaps is rare: not worth a look.
                         if (xs != 1 || any_large_turn(count, x + i)) {
                           map_row(count, y + i * ys, ys, x + i * xs, xs, exact);
                         } else {
                           map_row(count, y + i * ys, ys, x + i * xs, xs, fast);
                         }
                       }
                     });
}

template <Unary op, class T>
T fast_unary(T x, T a, T b) {
  if constexpr (op == Unary::exp) return vector_exp(x);
  if constexpr (op == Unary::expm1) return vector_expm1(x);
  if constexpr (op == Unary::log) return vector_log(x);
  if constexpr (op == Unary::log1p) return vector_log1p(x);
  if constexpr (op == Unary::tanh) return vector_tanh(x);
  if constexpr (op == Unary::erf) return vector_erf(x);
  if constexpr (op == Unary::softplus) return vector_softplus(x);
  if constexpr (op == Unary::sigmoid) return sigmoid(x, vector_exp_negative(-std::fabs(x)));
  return float_unary<op>(x, a, b);
}

/// True where the loop over few elements ends sooner on several threads. Not of exp and sigmoid: what they
/// save is lost again when the results, in the caches of two cores, are read by a loop on one.
constexpr bool is_costly(Unary op) {
  return op == Unary::log || op == Unary::log1p || op == Unary::softplus || op == Unary::expm1 ||
         op == Unary::tanh || op == Unary::erf || op == Unary::sin || op == Unary::cos;
}

/// The common exponents without pow.
template <class T>
void power(const View& y, const View& x, T exponent) {
  if (exponent == T(2)) return map<T, T>(y, x, [](T v) { return v * v; });
  if (exponent == T(3)) return map<T, T>(y, x, [](T v) { return v * v * v; });
  if (exponent == T(1)) return map<T, T>(y, x, [](T v) { return v; });
  if (exponent == T(-1)) return map<T, T>(y, x, [](T v) { return T(1) / v; });
  if (exponent == T(-2)) return map<T, T>(y, x, [](T v) { return T(1) / (v * v); });
  map<T, T>(
      y, x, [exponent](T v) { return vector_pow(v, exponent); }, costly_elements);
}

template <Unary op>
void run(const View& y, const View& x, double a, double b) {
  if constexpr (op == Unary::logical_not) {
    NORMA_CHECK(x.dtype == boolean, name(op), ": needs a bool tensor, got ", x.dtype);
    // Read as bytes, 0 or 1: compilers make vectors of these.
    using Byte = unsigned char;
    for_each_row<bool, bool>(
        y, x, block_elements,
        [](std::int64_t n, bool* to, std::int64_t ys, const bool* from, std::int64_t xs) {
          map_row(n, reinterpret_cast<Byte*>(to), ys, reinterpret_cast<const Byte*>(from), xs,
                  [](Byte v) { return static_cast<Byte>(v ^ 1); });
        });
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
      } else if constexpr (op == Unary::sin) {
        map_turns<T>(
            y, x, [](T v) { return vector_sin(v); }, [](T v) { return VectorMathOfLargeTurns::sin(v); });
      } else if constexpr (op == Unary::cos) {
        map_turns<T>(
            y, x, [](T v) { return vector_cos(v); }, [](T v) { return VectorMathOfLargeTurns::cos(v); });
      } else {
        const std::int64_t serial = is_costly(op) ? costly_elements : block_elements;
        map<T, T>(
            y, x, [=](T v) { return fast_unary<op>(v, ta, tb); }, serial);
      }
    });
  }
}

}  // namespace

void CpuBackend::unary(Unary op, View y, View x, double a, double b) {
  with_unary(op, [&]<Unary o>() { run<o>(y, x, a, b); });
}

}  // namespace norma
