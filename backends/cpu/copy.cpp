// copy: y = x with conversion; fill: y = value; where: y = condition ? a : b. Views of one shape, any
// strides.
#include <type_traits>
#include <utility>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/short_rows.h"
#include "backends/elementwise.h"
#include "backends/strided.h"
#include "backends/transposition.h"

namespace norma {

namespace {

template <class Y, class X>
void copy_row(std::int64_t n, Y* y, std::int64_t y_stride, const X* x, std::int64_t x_stride) {
  if constexpr (std::is_same_v<X, bool> && !std::is_same_v<Y, bool>) {
    // Read as bytes, 0 or 1: compilers make vectors of these.
    return copy_row(n, y, y_stride, reinterpret_cast<const unsigned char*>(x), x_stride);
  }
  if (y_stride == 1 && x_stride == 1) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = convert<Y>(x[i]);
  } else if (y_stride == 1 && x_stride == 2) {  // a constant, so that compilers make vectors of it
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = convert<Y>(x[2 * i]);
  } else if (y_stride == 1 && x_stride == 0) {
    std::fill(y, y + n, convert<Y>(x[0]));
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i * y_stride] = convert<Y>(x[i * x_stride]);
  }
}

/// a becomes a0 b0 a1 b1 .., b what follows.
template <class T>
[[gnu::always_inline]] inline void interleave(Pack<T>& a, Pack<T>& b) {
  constexpr int n = pack_lanes<T>;
  [&]<int... i>(std::integer_sequence<int, i...>) {
    const Pack<T> first = __builtin_shufflevector(a, b, (i / 2 + i % 2 * n)...);
    b = __builtin_shufflevector(a, b, (n / 2 + i / 2 + i % 2 * n)...);
    a = first;
  }
  (std::make_integer_sequence<int, n>());
}

/// y[i][j] = x[j][i] of a square as wide as a vector register. To interleave each row of the upper half with
/// one of the lower turns the bits of (row, column) by one place; after log2(n) times they have changed
/// sides.
template <class T>
[[gnu::always_inline]] inline void transpose_square(T* y, std::int64_t y_row, const T* x,
                                                    std::int64_t x_row) {
  constexpr int n = pack_lanes<T>;
  Pack<T> rows[n], mixed[n];
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) std::memcpy(&rows[i], x + i * x_row, sizeof(rows[i]));
#pragma GCC unroll 4
  for (int done = 1; done < n; done *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < n / 2; ++i) {
      mixed[2 * i] = rows[i], mixed[2 * i + 1] = rows[i + n / 2];
      interleave<T>(mixed[2 * i], mixed[2 * i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) rows[i] = mixed[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) std::memcpy(y + i * y_row, &rows[i], sizeof(rows[i]));
}

/// y[i][j] = x[j][i] of a tile [height, width].
template <class Y, class X>
void transpose_tile(std::int64_t height, std::int64_t width, Y* y, std::int64_t y_row, const X* x,
                    std::int64_t x_row) {
  std::int64_t squares_down = 0, squares_across = 0;  // in elements
  if constexpr (std::is_same_v<Y, X> && sizeof(X) >= 4) {
    constexpr std::int64_t n = pack_lanes<X>;
    squares_down = height / n * n, squares_across = width / n * n;
    for (std::int64_t i = 0; i < squares_down; i += n) {
      for (std::int64_t j = 0; j < squares_across; j += n)
        transpose_square(y + i * y_row + j, y_row, x + j * x_row + i, x_row);
    }
  }
  for (std::int64_t i = 0; i < height; ++i) {
    for (std::int64_t j = i < squares_down ? squares_across : 0; j < width; ++j)
      y[i * y_row + j] = convert<Y>(x[j * x_row + i]);
  }
}

template <class Y, class X>
void copy_transposed(const Transposition& t, Y* y, const X* x) {
  constexpr std::int64_t tile = Transposition::tile;  // 2 x 4 KiB of f32 stay in L1
  const Loop<2>& loop = t.tiles;
  const int r = loop.rank - 2, c = loop.rank - 1;
  parallel_for(loop.numel(), block_elements / (tile * tile), [&](std::int64_t begin, std::int64_t end) {
    Position<2> position(loop, begin);
    for (std::int64_t i = begin; i < end; ++i, position.advance(loop, 1)) {
      transpose_tile(std::min(tile, t.rows - position.index[r] * tile),
                     std::min(tile, t.columns - position.index[c] * tile), y + position.offset[0], t.y_row,
                     x + position.offset[1], t.x_column);
    }
  });
}

template <class Y, class X>
void copy_views(const View& y_view, const View& x_view) {
  const Loop<2> loop = make_loop(y_view, x_view);
  Y* y = pointer<Y>(y_view);
  const X* x = pointer<X>(x_view);
  if (const auto transposition = as_transposition(loop)) return copy_transposed(*transposition, y, x);
  parallel_rows(loop, [&](std::int64_t n, const std::int64_t* offset) {
    copy_row(n, y + offset[0], loop.inner_stride(0), x + offset[1], loop.inner_stride(1));
  });
}

template <class T>
void fill_view(const View& y_view, T value) {
  const Loop<1> loop = make_loop(y_view);
  T* y = pointer<T>(y_view);
  parallel_rows(loop, [&](std::int64_t n, const std::int64_t* offset) {
    T* row = y + offset[0];
    const std::int64_t stride = loop.inner_stride(0);
    if (stride == 1) return std::fill(row, row + n, value);
    for (std::int64_t i = 0; i < n; ++i) row[i * stride] = value;
  });
}

/// y[i] = condition[i] ? a[i] : b[i]; with a_is_one or b_is_one a[0] or b[0]. Both are read, and conditions
/// are read as bytes: a choice between values has no branch, so that compilers make vectors of it.
template <bool a_is_one, bool b_is_one, class T>
void choose(std::int64_t n, T* y, const bool* condition, const T* a, const T* b) {
  const auto* const chosen = reinterpret_cast<const unsigned char*>(condition);
  const T a_first = *a, b_first = *b;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const T p = a_is_one ? a_first : a[i], q = b_is_one ? b_first : b[i];
    y[i] = chosen[i] != 0 ? p : q;
  }
}

template <class T>
void where_views(const View& y_view, const View& condition_view, const View& a_view, const View& b_view) {
  const Loop<4> loop = make_loop(y_view, condition_view, a_view, b_view);
  T* y = pointer<T>(y_view);
  const bool* condition = pointer<bool>(condition_view);
  const T *a = pointer<T>(a_view), *b = pointer<T>(b_view);
  const std::int64_t ys = loop.inner_stride(0), cs = loop.inner_stride(1);
  const std::int64_t as = loop.inner_stride(2), bs = loop.inner_stride(3);
  parallel_rows(loop, [&](std::int64_t n, const std::int64_t* offset) {
    T* y_row = y + offset[0];
    const bool* c_row = condition + offset[1];
    const T *a_row = a + offset[2], *b_row = b + offset[3];
    if (ys == 1 && cs == 1 && as == 1 && bs == 1) {
      choose<false, false>(n, y_row, c_row, a_row, b_row);
    } else if (ys == 1 && cs == 1 && as == 1 && bs == 0) {
      choose<false, true>(n, y_row, c_row, a_row, b_row);
    } else if (ys == 1 && cs == 1 && as == 0 && bs == 1) {
      choose<true, false>(n, y_row, c_row, a_row, b_row);
    } else {
      for (std::int64_t i = 0; i < n; ++i) y_row[i * ys] = c_row[i * cs] ? a_row[i * as] : b_row[i * bs];
    }
  });
}

}  // namespace

void CpuBackend::copy(View y, View x) {
  for_any(y.dtype, [&]<class Y>() { for_any(x.dtype, [&]<class X>() { copy_views<Y, X>(y, x); }); });
}

void CpuBackend::fill(View y, double value, std::int64_t integral) {
  for_any(y.dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, std::int64_t>) {
      fill_view<T>(y, integral);
    } else {
      fill_view<T>(y, convert<T>(value));
    }
  });
}

void CpuBackend::where(View y, View condition, View a, View b) {
  for_any(y.dtype, [&]<class T>() { where_views<T>(y, condition, a, b); });
}

}  // namespace norma
