// Gradients of elementwise ops (backends/derivatives.h) in one pass over memory. Views of one shape, any
// strides; the result may be an operand.
#include "backends/derivatives.h"

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/vector_math.h"
#include "backends/strided.h"

namespace norma {

namespace {

constexpr std::int64_t piece = 512;  // elements that are brought together at a time

/// x as it lies where it has no gaps, else brought together in `own`.
template <class T>
const T* together(std::int64_t n, const T* x, std::int64_t stride, T (&own)[piece]) {
  if (stride == 1) return x;
  for (std::int64_t i = 0; i < n; ++i) own[i] = x[i * stride];
  return own;
}

/// dx_i = f(dy_i, a_i, b_i) for rows without gaps.
template <class F>
auto each(F f) {
  return [f]<class T>(std::int64_t n, T* dx, const T* dy, const T* a, const T* b) {
#pragma omp simd  // dx is an operand or apart from it
    for (std::int64_t i = 0; i < n; ++i) dx[i] = f(dy[i], a[i], b[i]);
  };
}

/// Of sin and cos: pieces without a large argument take the loop that vectorizes.
template <class Fast, class Exact>
auto each_turn(Fast fast, Exact exact) {
  return [=]<class T>(std::int64_t n, T* dx, const T* dy, const T* x, const T*) {
    for (std::int64_t i = 0; i < n; i += piece) {
      const std::int64_t count = std::min(piece, n - i);
      if (any_large_turn(count, x + i)) {
        exact(count, dx + i, dy + i, x + i, x + i);
      } else {
        fast(count, dx + i, dy + i, x + i, x + i);
      }
    }
  };
}

/// contiguous(n, dx, dy, a, b) for pieces of rows, in parallel from more than `serial` elements on.
template <class T, class Row>
void map(const View& dx_view, const View& dy_view, const View& a_view, const View& b_view,
         std::int64_t serial, Row contiguous) {
  const Loop<4> loop = make_loop(dx_view, dy_view, a_view, b_view);
  T* const to = pointer<T>(dx_view);
  const T *const dy_all = pointer<T>(dy_view), *const a_all = pointer<T>(a_view),
                 *const b_all = pointer<T>(b_view);
  const std::int64_t xs = loop.inner_stride(0), ys = loop.inner_stride(1), as = loop.inner_stride(2),
                     bs = loop.inner_stride(3);
  const auto row = [=](std::int64_t n, const std::int64_t* offset) {
    T* dx = to + offset[0];
    const T *dy = dy_all + offset[1], *a = a_all + offset[2], *b = b_all + offset[3];
    if (xs == 1 && ys == 1 && as == 1 && bs == 1) return contiguous(n, dx, dy, a, b);
    T dx_piece[piece], dy_piece[piece], a_piece[piece], b_piece[piece];
    for (std::int64_t i = 0; i < n; i += piece) {
      const std::int64_t count = std::min(piece, n - i);
      contiguous(count, xs == 1 ? dx + i : dx_piece, together(count, dy + i * ys, ys, dy_piece),
                 together(count, a + i * as, as, a_piece), together(count, b + i * bs, bs, b_piece));
      for (std::int64_t j = 0; xs != 1 && j < count; ++j) dx[(i + j) * xs] = dx_piece[j];
    }
  };
  parallel_rows(loop, row, even_block(loop.numel(), serial));
}

template <Unary op, class T, class Math = VectorMath>
auto each_gradient(T a, T b) {
  return each([=](T dy, T v, T) { return norma::unary_gradient<op, Math>(dy, v, a, b); });
}

template <Unary op, class T>
void unary_gradients(const View& dx, const View& dy, const View& v, T a, T b) {
  constexpr bool is_turn = op == Unary::sin || op == Unary::cos;
  constexpr bool is_costly = is_turn || op == Unary::erf || op == Unary::softplus || op == Unary::power;
  constexpr std::int64_t serial = is_costly ? costly_elements : block_elements;
  if constexpr (is_turn) {
    map<T>(dx, dy, v, v, serial,
           each_turn(each_gradient<op, T>(a, b), each_gradient<op, T, VectorMathOfLargeTurns>(a, b)));
  } else if constexpr (op == Unary::power) {
    // The exponent as a constant: then the loop is without pow, or without anything else.
    const auto with = [&](std::int64_t from, auto exponent) {
      map<T>(dx, dy, v, v, from, each([=](T g, T x, T) {
               return norma::unary_gradient<op, VectorMath>(g, x, T(exponent()), T(0));
             }));
    };
    if (a == T(2)) return with(block_elements, std::integral_constant<int, 2>());
    if (a == T(3)) return with(block_elements, std::integral_constant<int, 3>());
    map<T>(dx, dy, v, v, serial, each([=](T g, T x, T) { return g * vector_pow(x, a - T(1)) * a; }));
  } else {
    map<T>(dx, dy, v, v, serial, each_gradient<op, T>(a, b));
  }
}

}  // namespace

bool CpuBackend::unary_gradient(Unary op, View dx, View dy, View v, double a, double b) {
  return with_unary(op, [&]<Unary o>() {
    if constexpr (has_gradient(o)) {
      for_float(v.dtype, name(o),
                [&]<class T>() { unary_gradients<o, T>(dx, dy, v, static_cast<T>(a), static_cast<T>(b)); });
    }
    return has_gradient(o);
  });
}

bool CpuBackend::binary_gradient(Binary op, int operand, View d, View dy, View a, View b) {
  return with_binary(op, [&]<Binary o>() {
    if constexpr (has_gradient(o)) {
      for_float(a.dtype, name(o), [&]<class T>() {
        if (operand == 0) {
          map<T>(d, dy, a, b, block_elements,
                 each([](T g, T p, T q) { return norma::binary_gradient<o, 0>(g, p, q); }));
        } else {
          map<T>(d, dy, a, b, block_elements,
                 each([](T g, T p, T q) { return norma::binary_gradient<o, 1>(g, p, q); }));
        }
      });
    }
    return has_gradient(o);
  });
}

}  // namespace norma
