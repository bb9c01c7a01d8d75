// Planes of x and the windows of a pool, of which the rows are combined first, entry by entry, into a line,
// and then the columns of that line: a window of k x k costs about 2 k steps, most of them in vectors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "backends/cpu/lane_vector.h"
#include "backends/strided.h"
#include "core/backend.h"
#include "core/parallel.h"
#include "core/view.h"

namespace norma {

struct Pools {
  std::int64_t count, height, width, rows, columns;  // planes; extents of x; places
  Pooling pooling;
  // Windows of one size slide along a line of x with its padding on the left and, on the right, what the last
  // of them sees besides; bins of several sizes do not.
  bool sliding;
  std::int64_t taps, stride, dilation, left, line;

  Pools(const View& x, const View& y, const Pooling& p)
      : count(x.shape[0] * x.shape[1]),
        height(x.shape[2]),
        width(x.shape[3]),
        rows(y.shape[2]),
        columns(y.shape[3]),
        pooling(p),
        sliding(true),
        taps(p.window.kernel[1]),
        stride(p.window.stride[1]),
        dilation(p.window.dilation[1]),
        left(p.window.padding[1]) {
    if (p.adaptive) {
      sliding = width % columns == 0 && columns >= 4;  // few are not worth vectors
      taps = stride = width / columns;
      dilation = 1, left = 0;
    }
    line = std::max(left + width, sliding ? (columns - 1) * stride + dilation * (taps - 1) + 1 : 0);
  }
  std::int64_t size() const { return height * width; }
  std::int64_t places() const { return rows * columns; }
  Pooling::Entries row(std::int64_t place) const { return pooling.entries(0, place, rows, height); }
  Pooling::Entries column(std::int64_t place) const { return pooling.entries(1, place, columns, width); }
};

/// Calls body(begin, end) for ranges of planes, in parallel.
template <class Body>
void for_planes(std::int64_t count, std::int64_t size, std::int64_t places, Body&& body) {
  parallel_for(count, std::max<std::int64_t>(1, costly_elements / (size + places + 1)),
               std::forward<Body>(body));
}

}  // namespace norma
