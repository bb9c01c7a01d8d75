// The check of indices that come from users: every index must lie in [0, extent).
#pragma once

#include <cstdint>
#include <limits>

#include "backends/strided.h"

namespace norma {

/// Whether all of n values lie in [0, extent), in a loop that vectorizes.
inline bool all_below(std::int64_t n, const std::int64_t* values, std::int64_t extent) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();  // of a negative one, no overflow
  std::int64_t signs = 0;  // negative as soon as a value is, or extent - 1 - value
#pragma omp simd reduction(| : signs)
  for (std::int64_t i = 0; i < n; ++i) signs |= values[i] | (extent - 1 - (values[i] & most));
  return signs >= 0;
}

/// Throws "op: index 7 at position 3 is outside [0, 5)" for the first (row-major) index outside [0, extent).
/// What an axis repeats is looked at once, and not counted.
inline void check_indices(View index, std::int64_t extent, const char* op, const char* what = "index") {
  for (int axis = 0; axis < index.rank; ++axis) {
    if (index.strides[axis] == 0 && index.shape[axis] > 1) index.shape[axis] = 1;
  }
  const Loop<1> loop = make_row_major_loop(index);
  const std::int64_t* values = pointer<std::int64_t>(index);
  // Blocks are examined in parallel; the exception of the first bad block is the one that arrives.
  parallel_for(loop.numel(), even_block(loop.numel()), [&](std::int64_t begin, std::int64_t end) {
    std::int64_t position = begin;
    for_rows(loop, begin, end, [&](std::int64_t n, const std::int64_t* offset) {
      const std::int64_t* const row = values + offset[0];
      if (loop.inner_stride(0) == 1 && all_below(n, row, extent)) {
        position += n;
        return;
      }
      for (std::int64_t i = 0; i < n; ++i, ++position) {
        const std::int64_t value = row[i * loop.inner_stride(0)];
        NORMA_CHECK(value >= 0 && value < extent, op, ": ", what, " ", value, " at position ", position,
                    " is outside [0, ", extent, ")");
      }
    });
  });
}

}  // namespace norma
