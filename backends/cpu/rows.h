// What the fused row kernels share: the [rows, d] reading of a view, blocks of rows, and parameter gradients.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/scratch.h"
#include "backends/strided.h"

namespace norma {

struct Rows {
  std::int64_t rows, d;
};

inline Rows rows_of(const View& x) {
  NORMA_ASSERT(x.rank == 2 && x.is_contiguous());
  return {x.shape[0], x.shape[1]};
}

/// Calls body(r) for every row, in parallel blocks of about block_elements elements.
template <class Body>
void for_each_row(Rows n, Body&& body) {
  const std::int64_t block = std::max<std::int64_t>(1, block_elements / std::max<std::int64_t>(1, n.d));
  parallel_for(n.rows, block, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) body(r);
  });
}

/// Sums over rows of `count` vectors of length d (gradients of weight and bias): each fixed group of rows
/// adds into its own vectors in T, and the groups are combined in order, in f64. No atomics, the same bits
/// for any thread count.
template <class T>
class ColumnSums {
 public:
  static constexpr std::int64_t group = 32;  // rows

  ColumnSums(Rows n, int count)
      : n_(n), count_(count), groups_((n.rows + group - 1) / group), partials_(groups_ * count * n.d) {}

  /// Calls body(r, sums) for every row; sums[k * d + j] belongs to vector k.
  template <class Body>
  void for_each_row(Body&& body) {
    T* partials = partials_.data();
    const std::int64_t width = count_ * n_.d;
    const std::int64_t block =
        std::max<std::int64_t>(1, block_elements / std::max<std::int64_t>(1, group * n_.d));
    parallel_for(groups_, block, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t g = begin; g < end; ++g) {
        T* sums = partials + g * width;
        std::fill(sums, sums + width, T(0));
        const std::int64_t last = std::min(n_.rows, (g + 1) * group);
        for (std::int64_t r = g * group; r < last; ++r) body(r, sums);
      }
    });
  }

  /// Writes the total of vector k to out [d].
  void total(int k, T* out) {
    const T* partials = partials_.data() + k * n_.d;
    constexpr std::int64_t tile = 128;
    parallel_for((n_.d + tile - 1) / tile, std::max<std::int64_t>(1, block_elements / (tile * groups_ + 1)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t t = begin; t < end; ++t) {
                     const std::int64_t first = t * tile, width = std::min(tile, n_.d - first);
                     double sums[tile] = {};
                     for (std::int64_t g = 0; g < groups_; ++g) {
                       const T* from = partials + g * count_ * n_.d + first;
                       for (std::int64_t j = 0; j < width; ++j) sums[j] += static_cast<double>(from[j]);
                     }
                     for (std::int64_t j = 0; j < width; ++j) out[first + j] = static_cast<T>(sums[j]);
                   }
                 });
  }

 private:
  Rows n_;
  int count_;
  std::int64_t groups_;
  Scratch<T> partials_;  // [groups, count, d]
};

}  // namespace norma
