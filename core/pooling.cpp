#include <algorithm>

#include "core/backend.h"

namespace norma {
namespace {

constexpr std::int64_t rounded_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

Pooling::Entries Pooling::entries(int axis, std::int64_t place, std::int64_t places,
                                  std::int64_t extent) const {
  if (adaptive) {
    const std::int64_t first = place * extent / places;
    return {first, 1, rounded_up((place + 1) * extent, places) - first, false};
  }
  const std::int64_t start = place * window.stride[axis] - window.padding[axis];
  const std::int64_t step = window.dilation[axis], taps = window.kernel[axis];
  const std::int64_t begin = start >= 0 ? 0 : std::min(taps, rounded_up(-start, step));
  const std::int64_t end = start >= extent ? begin : std::clamp((extent - 1 - start) / step + 1, begin, taps);
  return {start + begin * step, step, end - begin, begin > 0 || end == 0};
}

std::int64_t Pooling::counted(int axis, std::int64_t place, std::int64_t places, std::int64_t extent) const {
  if (adaptive || !count_padding) return entries(axis, place, places, extent).count;
  const std::int64_t start = place * window.stride[axis] - window.padding[axis];
  return std::min(start + window.kernel[axis], extent + window.padding[axis]) - start;
}

}  // namespace norma
