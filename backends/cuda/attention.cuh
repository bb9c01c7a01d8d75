// What the attention kernels share: tiles of rows in shared memory, products of tiles, and the rule that
// makes a score of a product. A block of 64 threads works on a tile of 32 x 32 scores; thread t holds those
// of rows t / 8 + 8 i and columns t % 8 + 8 j for i, j < 4, and with the same rows a part of the output.
// Operands are read `width` columns at a time, so that shared memory does not depend on d or d_v: any size
// runs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "backends/cuda/reduce.cuh"
#include "core/backend.h"
#include "core/check.h"

namespace norma::cuda_attention {

inline constexpr int tile = 32, threads = 64;
inline constexpr int lanes = 8;              // threads that share a row
inline constexpr int per_thread = tile / 8;  // rows and columns of scores that a thread holds

__device__ inline int tile_row(int i) { return static_cast<int>(threadIdx.x) / lanes + 8 * i; }
__device__ inline int tile_column(int j) { return static_cast<int>(threadIdx.x) % lanes + lanes * j; }

/// The rows of one head.
template <class T>
struct Strip {
  T* data;
  std::int64_t stride, length, width;
};

/// A view [batch, heads, length, width] whose rows have no gaps.
template <class T>
struct Heads {
  T* data;
  std::int64_t batch_stride, head_stride, row_stride;
  std::int64_t batch, heads, length, width;

  explicit Heads(const View& view)
      : data(static_cast<T*>(view.data)),
        batch_stride(view.strides[0]),
        head_stride(view.strides[1]),
        row_stride(view.strides[2]),
        batch(view.shape[0]),
        heads(view.shape[1]),
        length(view.shape[2]),
        width(view.shape[3]) {
    NORMA_ASSERT(view.rank == 4 && (width <= 1 || view.strides[3] == 1 || view.numel() == 0));
  }
  std::int64_t tiles() const { return batch * heads * ((length + tile - 1) / tile); }
  __device__ Strip<T> strip(std::int64_t b, std::int64_t h) const {
    return {data + b * batch_stride + h * head_stride, row_stride, length, width};
  }
};

/// How products q k^T become scores: scale, cap, causality, mask. Flags are 64 bits wide: no padding.
template <class T>
struct Rule {
  static constexpr T hidden = -std::numeric_limits<T>::infinity();

  T scale, cap;                        // cap 0: none
  std::int64_t queries, keys, causal;  // causal: query i sees keys 0 .. i + keys - queries
  const void* mask;                    // nullptr: none
  std::int64_t boolean_mask, strides[4];

  Rule(const View& q, const View& k, const View& mask_view, const AttentionOptions& options)
      : scale(static_cast<T>(options.scale)),
        cap(static_cast<T>(options.cap)),
        queries(q.shape[2]),
        keys(k.shape[2]),
        causal(options.causal),
        mask(mask_view.defined() ? mask_view.data : nullptr),
        boolean_mask(mask_view.defined() && mask_view.dtype == boolean),
        strides{mask_view.strides[0], mask_view.strides[1], mask_view.strides[2], mask_view.strides[3]} {
    NORMA_ASSERT(k.shape[1] > 0 && q.shape[1] % k.shape[1] == 0);
  }

  /// Number of keys from the first that query i may see as far as causality goes.
  __device__ std::int64_t limit(std::int64_t i) const {
    if (!causal) return keys;
    const std::int64_t end = i + 1 + keys - queries;
    return end < 0 ? 0 : end < keys ? end : keys;
  }
  /// The first query that sees key j as far as causality goes.
  __device__ std::int64_t first_query(std::int64_t j) const {
    return causal && j > keys - queries ? j - (keys - queries) : 0;
  }

  /// The score of query i and key j; slope is its derivative by the product. `hidden` for a key that is not
  /// seen, whatever the product (it may be NaN), and outside of the matrix.
  __device__ T score(T product, T& slope, std::int64_t b, std::int64_t h, std::int64_t i,
                     std::int64_t j) const {
    slope = scale;
    if (i >= queries || j >= limit(i)) return hidden;
    T s = scale * product;
    if (cap > T(0)) {
      const T t = std::tanh(s / cap);
      s = cap * t;
      slope = scale * (T(1) - t * t);
    }
    if (mask == nullptr) return s;
    const std::int64_t at = b * strides[0] + h * strides[1] + i * strides[2] + j * strides[3];
    if (boolean_mask) return static_cast<const bool*>(mask)[at] ? s : hidden;
    const T added = static_cast<const T*>(mask)[at];
    return added == hidden ? hidden : s + added;
  }
};

/// `tile` rows of a head in shared memory, `width` of their columns; a row more apart than it is long, so
/// that the same column of several rows lies in different banks.
template <class T, int width>
struct Tile {
  static constexpr int stride = width + 1, elements = tile * stride;
  T* data;

  /// Waits until nobody reads the tile any more, fills it from row `first` and column `column` of the strip,
  /// with zeros beyond its end, and waits until all is there. True if all of it is finite.
  __device__ bool fill(const Strip<const T>& x, std::int64_t first, std::int64_t column) const {
    __syncthreads();
    bool finite = true;
    for (int e = static_cast<int>(threadIdx.x); e < tile * width; e += threads) {
      const int r = e / width, c = e % width;
      const bool inside = first + r < x.length && column + c < x.width;
      const T value = inside ? x.data[(first + r) * x.stride + column + c] : T(0);
      finite = finite && value - value == T(0);
      data[r * stride + c] = value;
    }
    return __syncthreads_and(finite) != 0;
  }
};

/// s = x y^T for rows from x_first and y_first of two strips of equal width. A strip x that is no wider than
/// a tile must have been filled into x_tile before. True if what y_tile holds at the end is finite.
template <class T, int width>
__device__ bool dots(T (&s)[per_thread][per_thread], const Tile<T, width>& x_tile, const Strip<const T>& x,
                     std::int64_t x_first, const Tile<T, width>& y_tile, const Strip<const T>& y,
                     std::int64_t y_first) {
#pragma unroll
  for (auto& row : s)
#pragma unroll
    for (T& value : row) value = T(0);
  bool finite = true;
  for (std::int64_t column = 0; column < x.width; column += width) {
    if (x.width > width) x_tile.fill(x, x_first, column);
    finite = y_tile.fill(y, y_first, column);
    const int depth = static_cast<int>(x.width - column < width ? x.width - column : width);
    for (int k = 0; k < depth; ++k) {
      T of_row[per_thread], of_column[per_thread];
#pragma unroll
      for (int i = 0; i < per_thread; ++i) of_row[i] = x_tile.data[tile_row(i) * x_tile.stride + k];
#pragma unroll
      for (int j = 0; j < per_thread; ++j) of_column[j] = y_tile.data[tile_column(j) * y_tile.stride + k];
#pragma unroll
      for (int i = 0; i < per_thread; ++i)
#pragma unroll
        for (int j = 0; j < per_thread; ++j) s[i][j] += of_row[i] * of_column[j];
    }
  }
  return finite;
}

/// Weights of the tile of scores, row by row.
template <class T>
struct Weights {
  static constexpr int stride = tile + 1, elements = tile * stride;
  T* data;
  __device__ void set(int i, int j, T value) const { data[tile_row(i) * stride + tile_column(j)] = value; }
};

/// acc += w x, the first `depth` columns of w and rows of x. With skip_zeros, weights that are exactly 0 are
/// left out instead of multiplied: a NaN behind a mask must not leak.
template <class T, int width>
__device__ void add_weighted(T (&acc)[per_thread][width / lanes], const Weights<T>& w,
                             const Tile<T, width>& x, std::int64_t depth, bool skip_zeros) {
  const int rows = static_cast<int>(depth < tile ? depth : tile);
  for (int k = 0; k < rows; ++k) {
    T weight[per_thread];
#pragma unroll
    for (int i = 0; i < per_thread; ++i) weight[i] = w.data[tile_row(i) * w.stride + k];
#pragma unroll
    for (int c = 0; c < width / lanes; ++c) {
      const T value = x.data[k * x.stride + tile_column(c)];
      if (skip_zeros) {
#pragma unroll
        for (int i = 0; i < per_thread; ++i)
          if (weight[i] != T(0)) acc[i][c] += weight[i] * value;
      } else {
#pragma unroll
        for (int i = 0; i < per_thread; ++i) acc[i][c] += weight[i] * value;
      }
    }
  }
}

/// Rows from `first`, columns from `column` of the strip = acc * factor[row].
template <class T, int width>
__device__ void store(const Strip<T>& y, std::int64_t first, std::int64_t column,
                      const T (&acc)[per_thread][width / lanes], const T (&factor)[per_thread]) {
#pragma unroll
  for (int i = 0; i < per_thread; ++i) {
    if (first + tile_row(i) >= y.length) continue;
    T* const to = y.data + (first + tile_row(i)) * y.stride;
#pragma unroll
    for (int c = 0; c < width / lanes; ++c)
      if (column + tile_column(c) < y.width) to[column + tile_column(c)] = acc[i][c] * factor[i];
  }
}

/// Calls body<width>() with the number of columns that suits rows of `columns` elements.
template <class T, class Body>
void for_width(std::int64_t columns, Body&& body) {
  if (columns <= 32) return body.template operator()<32>();
  if constexpr (sizeof(T) == 4) {
    if (columns > 64) return body.template operator()<128>();
  }
  body.template operator()<64>();
}

/// One block for each of `blocks` tiles and each `width` of the `columns` of the output, with `operands`
/// tiles in shared memory beside the weights.
template <class T, int width, class... Parameters, class... Arguments>
void launch_tiles(void (*kernel)(Parameters...), int operands, std::int64_t blocks, std::int64_t columns,
                  cudaStream_t stream, const Arguments&... arguments) {
  if (blocks == 0) return;
  NORMA_ASSERT(blocks <= std::numeric_limits<int>::max());
  const int bytes =
      (operands * Tile<T, width>::elements + Weights<T>::elements) * static_cast<int>(sizeof(T));
  constexpr int always_there = 48 << 10;
  if (bytes > always_there)
    NORMA_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  const auto parts = static_cast<unsigned>(std::max<std::int64_t>(1, (columns + width - 1) / width));
  launch(kernel, dim3(static_cast<unsigned>(blocks), parts), dim3(threads), static_cast<std::size_t>(bytes),
         stream, arguments...);
}

}  // namespace norma::cuda_attention
