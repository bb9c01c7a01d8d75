// Copies of one row, and copies that transpose (backends/transposition.h): whole squares in vector registers.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/short_rows.h"
#include "backends/elementwise.h"
#include "backends/transposition.h"

namespace norma {

template <class Y, class X>
void copy_row(std::int64_t n, Y* y, std::int64_t y_stride, const X* x, std::int64_t x_stride) {
  if constexpr (std::is_same_v<X, bool> && !std::is_same_v<Y, bool>) {
    // Read as bytes, 0 or 1: compilers make vectors of these.
    return copy_row(n, y, y_stride, reinterpret_cast<const unsigned char*>(x), x_stride);
  }
  if (y_stride == 1 && x_stride == 1) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = convert<Y>(x[i]);
  } else if (y_stride == 1 && x_stride == 2) {  // constants, so that compilers make vectors of it
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = convert<Y>(x[2 * i]);
  } else if (y_stride == 1 && x_stride == 3) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = convert<Y>(x[3 * i]);
  } else if (y_stride == 1 && x_stride == 4) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = convert<Y>(x[4 * i]);
  } else if (y_stride == 1 && x_stride == 0) {
    std::fill(y, y + n, convert<Y>(x[0]));
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i * y_stride] = convert<Y>(x[i * x_stride]);
  }
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

/// y[i][j] = x[j][i] of [height, n], where y has no gaps: compilers make vectors of it.
template <int n, class Y, class X>
void interleave_rows(std::int64_t height, Y* y, const X* x, std::int64_t x_row) {
  for (std::int64_t i = 0; i < height; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < n; ++j) y[i * n + j] = convert<Y>(x[j * x_row + i]);
  }
}

/// The same of a tile [height, width] with an extent too short for squares.
template <class Y, class X>
void transpose_thin_tile(std::int64_t height, std::int64_t width, Y* y, std::int64_t y_row, const X* x,
                         std::int64_t x_row) {
  if (width == y_row && width == 2) return interleave_rows<2>(height, y, x, x_row);
  if (width == y_row && width == 3) return interleave_rows<3>(height, y, x, x_row);
  if (width == y_row && width == 4) return interleave_rows<4>(height, y, x, x_row);
  if (width < height) {
    for (std::int64_t j = 0; j < width; ++j) copy_row(height, y + j, y_row, x + j * x_row, 1);
  } else {
    for (std::int64_t i = 0; i < height; ++i) copy_row(width, y + i * y_row, 1, x + i, x_row);
  }
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
  for (std::int64_t j = squares_across; j < width; ++j)
    copy_row(squares_down, y + j, y_row, x + j * x_row, 1);
  for (std::int64_t i = squares_down; i < height; ++i) copy_row(width, y + i * y_row, 1, x + i, x_row);
}

template <class Y, class X>
void copy_transposed(const Transposition& t, Y* y, const X* x) {
  const bool thin = t.rows < Transposition::least || t.columns < Transposition::least;
  const Loop<2>& loop = t.tiles;
  const int r = loop.rank - 2, c = loop.rank - 1;
  const std::int64_t in_tile = std::min(t.tile_rows, t.rows) * std::min(t.tile_columns, t.columns);
  parallel_for(loop.numel(), block_elements / in_tile, [&](std::int64_t begin, std::int64_t end) {
    Position<2> position(loop, begin);
    for (std::int64_t i = begin; i < end; ++i, position.advance(loop, 1)) {
      const std::int64_t height = std::min(t.tile_rows, t.rows - position.index[r] * t.tile_rows);
      const std::int64_t width = std::min(t.tile_columns, t.columns - position.index[c] * t.tile_columns);
      Y* const to = y + position.offset[0];
      const X* const from = x + position.offset[1];
      if (thin) {
        transpose_thin_tile(height, width, to, t.y_row, from, t.x_column);
      } else {
        transpose_tile(height, width, to, t.y_row, from, t.x_column);
      }
    }
  });
}

}  // namespace norma
