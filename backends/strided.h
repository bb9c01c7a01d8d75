// Loops over views of one shape: axes that lie together in all of them are merged, and what is left is walked
// as rows (innermost axis) so that kernels see long inner loops with constant strides.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "core/parallel.h"
#include "core/view.h"

namespace norma {

/// Elements per parallel block: below this, work is serial.
inline constexpr std::int64_t block_elements = 32768;
/// The same for functions that take tens of instructions an element.
inline constexpr std::int64_t costly_elements = 8192;

/// Elements of each block of a loop over n of them that does not combine what it finds: all where n <=
/// serial; else the blocks are many and their number is a multiple of 16, so that 2, 4, 8 or 16 threads get
/// even shares.
inline std::int64_t even_block(std::int64_t n, std::int64_t serial = block_elements) {
  if (n <= serial) return serial;
  constexpr std::int64_t shares = 16, line = 16;  // blocks begin where cache lines of f32 do
  const std::int64_t blocks = ((n - 1) / (shares * block_elements) + 1) * shares;
  return ((n - 1) / (blocks * line) + 1) * line;
}

/// Extents, outermost first, and the strides of N operands. Always has at least one axis.
template <int N>
struct Loop {
  int rank = 0;
  std::int64_t shape[max_rank] = {};
  std::int64_t strides[N][max_rank] = {};

  std::int64_t numel() const {
    std::int64_t n = 1;
    for (int axis = 0; axis < rank; ++axis) n *= shape[axis];
    return n;
  }
  std::int64_t inner() const { return shape[rank - 1]; }
  std::int64_t inner_stride(int operand) const { return strides[operand][rank - 1]; }
  void push(std::int64_t extent, const std::int64_t (&stride)[N]) {
    shape[rank] = extent;
    for (int k = 0; k < N; ++k) strides[k][rank] = stride[k];
    ++rank;
  }
};

namespace detail {

/// True when axis `outer` continues `inner` without a gap in every operand.
template <int N>
bool mergeable(const Loop<N>& loop, int outer, int inner) {
  for (int k = 0; k < N; ++k) {
    if (loop.strides[k][outer] != loop.strides[k][inner] * loop.shape[inner]) return false;
  }
  return true;
}

/// Order for speed: larger strides outside; the first operand decides, the others break ties.
template <int N>
bool belongs_outside(const Loop<N>& loop, int a, int b) {
  for (int k = 0; k < N; ++k) {
    const std::int64_t stride_a = std::abs(loop.strides[k][a]), stride_b = std::abs(loop.strides[k][b]);
    if (stride_a != stride_b && stride_a != 0 && stride_b != 0) return stride_a > stride_b;
  }
  return false;
}

template <int N>
void swap_axes(Loop<N>& loop, int a, int b) {
  std::swap(loop.shape[a], loop.shape[b]);
  for (int k = 0; k < N; ++k) std::swap(loop.strides[k][a], loop.strides[k][b]);
}

}  // namespace detail

/// Drops axes of extent 1, orders the rest when `reorder` (the order of visits then differs from row-major)
/// and merges neighbours.
template <int N>
Loop<N> coalesce(const Loop<N>& full, bool reorder) {
  Loop<N> kept;
  for (int axis = 0; axis < full.rank; ++axis) {
    if (full.shape[axis] == 1) continue;
    std::int64_t stride[N];
    for (int k = 0; k < N; ++k) stride[k] = full.strides[k][axis];
    kept.push(full.shape[axis], stride);
  }
  if (reorder) {
    for (int axis = 1; axis < kept.rank; ++axis) {  // insertion sort, stable
      for (int a = axis; a > 0 && detail::belongs_outside(kept, a, a - 1); --a)
        detail::swap_axes(kept, a, a - 1);
    }
  }
  Loop<N> merged;
  for (int axis = 0; axis < kept.rank; ++axis) {
    std::int64_t stride[N];
    for (int k = 0; k < N; ++k) stride[k] = kept.strides[k][axis];
    merged.push(kept.shape[axis], stride);
    if (merged.rank < 2 || !detail::mergeable(merged, merged.rank - 2, merged.rank - 1)) continue;
    merged.shape[merged.rank - 2] *= merged.shape[merged.rank - 1];
    for (int k = 0; k < N; ++k) merged.strides[k][merged.rank - 2] = merged.strides[k][merged.rank - 1];
    --merged.rank;
  }
  constexpr std::int64_t ones[N] = {};
  if (merged.rank == 0) merged.push(1, ones);
  return merged;
}

namespace detail {

template <class... Views>
Loop<static_cast<int>(sizeof...(Views))> full_loop(const Views&... all) {
  constexpr int count = static_cast<int>(sizeof...(Views));
  const View* views[count] = {&all...};
  Loop<count> full;
  for (int axis = 0; axis < views[0]->rank; ++axis) {
    std::int64_t stride[count];
    for (int k = 0; k < count; ++k) {
      NORMA_ASSERT(views[k]->rank == views[0]->rank && views[k]->shape[axis] == views[0]->shape[axis]);
      stride[k] = views[k]->strides[axis];
    }
    full.push(views[0]->shape[axis], stride);
  }
  return full;
}

}  // namespace detail

/// The loop over views of one shape, in the fastest order.
template <class... Views>
auto make_loop(const View& first, const Views&... rest) {
  Loop<1 + static_cast<int>(sizeof...(Views))> loop;  // what is returned, so that nothing is copied
  if ((first.is_contiguous() && ... && rest.is_contiguous())) {
    loop.rank = 1;
    loop.shape[0] = first.numel();
    for (auto& strides : loop.strides) strides[0] = 1;
  } else {
    loop = coalesce(detail::full_loop(first, rest...), true);
  }
  return loop;
}

/// The same in row-major order.
template <class... Views>
auto make_row_major_loop(const View& first, const Views&... rest) {
  return coalesce(detail::full_loop(first, rest...), false);
}

/// Where element `index` (row-major over the loop) lies in each operand.
template <int N>
struct Position {
  std::int64_t index[max_rank];
  std::int64_t offset[N] = {};

  Position(const Loop<N>& loop, std::int64_t flat) {
    for (int axis = loop.rank - 1; axis >= 0; --axis) {
      index[axis] = flat % loop.shape[axis];
      flat /= loop.shape[axis];
      for (int k = 0; k < N; ++k) offset[k] += index[axis] * loop.strides[k][axis];
    }
  }
  /// Moves on by n elements of the innermost axis, which must not pass its end by more than nothing.
  void advance(const Loop<N>& loop, std::int64_t n) {
    int axis = loop.rank - 1;
    index[axis] += n;
    for (int k = 0; k < N; ++k) offset[k] += n * loop.strides[k][axis];
    while (axis > 0 && index[axis] == loop.shape[axis]) {
      for (int k = 0; k < N; ++k) {
        offset[k] += loop.strides[k][axis - 1] - loop.shape[axis] * loop.strides[k][axis];
      }
      index[axis--] = 0;
      ++index[axis];
    }
  }
};

/// Calls body(n, offset) for pieces of innermost rows covering [begin, end) of the loop, in order.
template <int N, class Body>
void for_rows(const Loop<N>& loop, std::int64_t begin, std::int64_t end, Body&& body) {
  if (begin >= end) return;
  if (loop.rank == 1) {  // without the divisions that finding a place in several axes takes
    std::int64_t offset[N];
    for (int k = 0; k < N; ++k) offset[k] = begin * loop.strides[k][0];
    return body(end - begin, offset);
  }
  Position<N> position(loop, begin);
  while (begin < end) {
    const std::int64_t n = std::min(end - begin, loop.inner() - position.index[loop.rank - 1]);
    body(n, position.offset);
    position.advance(loop, n);
    begin += n;
  }
}

/// The same over the whole loop, in parallel blocks of `block` elements.
template <int N, class Body>
void parallel_rows(const Loop<N>& loop, Body&& body, std::int64_t block) {
  parallel_for(loop.numel(), block,
               [&](std::int64_t begin, std::int64_t end) { for_rows(loop, begin, end, body); });
}
template <int N, class Body>
void parallel_rows(const Loop<N>& loop, Body&& body) {
  parallel_rows(loop, body, even_block(loop.numel()));
}

}  // namespace norma
