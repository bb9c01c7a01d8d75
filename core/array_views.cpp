// Views: new shapes and strides over the same storage.
#include <algorithm>
#include <utility>

#include "core/array.h"

namespace norma {
namespace {

using Strides = std::array<std::int64_t, max_rank>;

std::size_t place(int axis) { return static_cast<std::size_t>(axis); }

std::span<const std::int64_t> first(const Strides& strides, int rank) {
  return {strides.data(), place(rank)};
}

// Maximal groups of neighbouring axes that one stride walks through, innermost first; axes of extent 1 left
// out.
struct Runs {
  int count = 0;
  std::int64_t extents[max_rank];
  std::int64_t strides[max_rank];
};

Runs runs_of(const Shape& shape, const Strides& strides) {
  Runs runs;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    const std::int64_t extent = shape[axis];
    if (extent == 1) continue;
    const int last = runs.count - 1;
    if (last >= 0 && strides[place(axis)] == runs.strides[last] * runs.extents[last]) {
      runs.extents[last] *= extent;
    } else {
      runs.extents[runs.count] = extent;
      runs.strides[runs.count++] = strides[place(axis)];
    }
  }
  return runs;
}

// Strides that show the elements of x, in their order, under another shape of as many elements. False when
// there are none: each new axis must lie inside one run of x.
bool reshaped_strides(const Shape& from, const Strides& strides, const Shape& to, Strides& result) {
  result = contiguous_strides(to);
  if (from.numel() == 0) return true;
  Runs runs = runs_of(from, strides);
  int run = 0;
  for (int axis = to.rank() - 1; axis >= 0; --axis) {
    const std::int64_t extent = to[axis];
    if (extent == 1) continue;
    if (runs.extents[run] == 1) ++run;
    if (runs.extents[run] % extent != 0) return false;
    result[place(axis)] = runs.strides[run];
    runs.extents[run] /= extent;
    runs.strides[run] *= extent;
  }
  return true;
}

// Replaces the extent of -1, if any, by what is left of numel.
Shape resolve_extents(std::span<const std::int64_t> extents, const Shape& shape) {
  NORMA_CHECK(extents.size() <= max_rank, "reshape: at most ", max_rank, " axes, got ", extents.size());
  Strides resolved{};
  std::copy(extents.begin(), extents.end(), resolved.begin());
  const auto unknown = std::find(extents.begin(), extents.end(), -1);
  if (unknown != extents.end()) {
    const std::size_t axis = static_cast<std::size_t>(unknown - extents.begin());
    resolved[axis] = 1;
    const std::int64_t known = Shape(std::span(resolved.data(), extents.size())).numel();
    NORMA_CHECK(known > 0 && shape.numel() % known == 0, "reshape: shape ", shape, " does not fit ", extents);
    resolved[axis] = shape.numel() / known;
  }
  const Shape result(std::span<const std::int64_t>(resolved.data(), extents.size()));
  NORMA_CHECK(result.numel() == shape.numel(), "reshape: shape ", shape, " does not fit ", extents);
  return result;
}

// First and last element of an array that is not empty, counted from its pointer.
struct Range {
  std::int64_t low = 0, high = 0;
};

Range range_of(const Array& x) {
  Range range;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const std::int64_t span = (x.shape()[axis] - 1) * x.strides()[place(axis)];
    (span < 0 ? range.low : range.high) += span;
  }
  return range;
}

}  // namespace

Array Array::with_layout(const Shape& shape, std::span<const std::int64_t> strides,
                         std::int64_t offset) const {
  Array y = *this;
  y.shape_ = shape;
  y.strides_ = {};
  std::copy(strides.begin(), strides.end(), y.strides_.begin());
  y.offset_ = offset;
  return y;
}

Array Array::permute(std::span<const int> axes) const {
  check_defined(*this, "permute");
  NORMA_CHECK(axes.size() == place(rank()), "permute: shape ", shape_, " needs ", rank(), " axes, got ",
              axes.size());
  Strides extents{}, strides{};
  unsigned seen = 0;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const int axis = normalize_axis(axes[i], rank(), "permute");
    NORMA_CHECK((seen >> axis & 1u) == 0, "permute: axis ", axes[i], " is named twice");
    seen |= 1u << axis;
    extents[i] = shape_[axis];
    strides[i] = strides_[place(axis)];
  }
  return with_layout(Shape(first(extents, rank())), first(strides, rank()), offset_);
}

Array Array::transpose(int axis0, int axis1) const {
  check_defined(*this, "transpose");
  std::array<int, max_rank> axes{};
  for (int axis = 0; axis < rank(); ++axis) axes[place(axis)] = axis;
  std::swap(axes[place(normalize_axis(axis0, rank(), "transpose"))],
            axes[place(normalize_axis(axis1, rank(), "transpose"))]);
  return permute(std::span<const int>(axes.data(), place(rank())));
}

Slice clipped(const Slice& range, std::int64_t extent) {
  const auto clip = [extent](std::int64_t bound) {
    return std::clamp<std::int64_t>(bound < 0 ? bound + extent : bound, 0, extent);
  };
  const std::int64_t start = clip(range.start), stop = std::max(start, clip(range.stop));
  if (stop - start <= range.step) return {start, std::min(stop, start + 1), 1};
  return {start, stop, range.step};
}

Array Array::slice(int axis, Slice range) const {
  check_defined(*this, "slice");
  axis = normalize_axis(axis, rank(), "slice");
  NORMA_CHECK(range.step >= 1, "slice: step must be at least 1, got ", range.step);
  const auto [start, stop, step] = clipped(range, shape_[axis]);
  const std::int64_t length = (stop - start + step - 1) / step;
  Strides strides = strides_;
  const std::int64_t stride = strides[place(axis)];
  strides[place(axis)] = stride * step;
  return with_layout(shape_.with(axis, length), first(strides, rank()),
                     length == 0 ? offset_ : offset_ + start * stride);
}

Array Array::expand(const Shape& shape) const {
  check_defined(*this, "expand");
  const int added = shape.rank() - rank();
  NORMA_CHECK(added >= 0, "expand: shape ", shape_, " does not expand to ", shape);
  Strides strides{};  // 0 for the new axes and those stretched
  for (int axis = 0; axis < rank(); ++axis) {
    const std::int64_t extent = shape[axis + added];
    NORMA_CHECK(shape_[axis] == extent || shape_[axis] == 1, "expand: shape ", shape_, " does not expand to ",
                shape);
    if (shape_[axis] == extent) strides[place(axis + added)] = strides_[place(axis)];
  }
  return with_layout(shape, first(strides, shape.rank()), offset_);
}

Array Array::squeeze(int axis) const {
  check_defined(*this, "squeeze");
  axis = normalize_axis(axis, rank(), "squeeze");
  if (shape_[axis] != 1) return *this;
  Strides strides = strides_;
  std::copy(strides_.begin() + axis + 1, strides_.end(), strides.begin() + axis);
  return with_layout(shape_.removed(axis), first(strides, rank() - 1), offset_);
}

Array Array::unsqueeze(int axis) const {
  check_defined(*this, "unsqueeze");
  const Shape shape = shape_.inserted(axis, 1);
  axis = normalize_axis(axis, rank() + 1, "unsqueeze");
  Strides strides = strides_;
  std::copy_backward(strides_.begin() + axis, strides_.end() - 1, strides.end());
  // The stride of an axis of extent 1 is never used; this one keeps a contiguous array's strides canonical.
  strides[place(axis)] = axis == rank() ? 1 : shape_[axis] * strides_[place(axis)];
  return with_layout(shape, first(strides, shape.rank()), offset_);
}

Array Array::reshape(std::span<const std::int64_t> extents) const {
  check_defined(*this, "reshape");
  const Shape shape = resolve_extents(extents, shape_);
  Strides strides;
  if (reshaped_strides(shape_, strides_, shape, strides)) {
    return with_layout(shape, first(strides, shape.rank()), offset_);
  }
  const Array copy = clone();
  return copy.with_layout(shape, first(contiguous_strides(shape), shape.rank()), 0);
}

bool Array::can_view_as(const Shape& shape) const {
  check_defined(*this, "can_view_as");
  Strides strides;
  return shape.numel() == numel() && reshaped_strides(shape_, strides_, shape, strides);
}

bool may_overlap(const Array& a, const Array& b) {
  if (!a.shares_storage(b) || a.numel() == 0 || b.numel() == 0) return false;
  const View view_a = a.view(), view_b = b.view();
  const Range range_a = range_of(a), range_b = range_of(b);
  const char* const start_a = static_cast<const char*>(view_a.data);
  const char* const start_b = static_cast<const char*>(view_b.data);
  const std::int64_t size_a = size_of(a.dtype()), size_b = size_of(b.dtype());
  return start_a + range_a.low * size_a < start_b + (range_b.high + 1) * size_b &&
         start_b + range_b.low * size_b < start_a + (range_a.high + 1) * size_a;
}

bool overlaps_itself(const Array& a) {
  if (a.numel() <= 1) return false;
  std::array<std::pair<std::int64_t, std::int64_t>, max_rank> axes{};  // stride, extent; unused axes {0, 0}
  for (int axis = 0; axis < a.rank(); ++axis) {
    const std::int64_t stride = a.strides()[place(axis)];
    axes[place(axis)] = {stride < 0 ? -stride : stride, a.shape()[axis]};
  }
  std::sort(axes.begin(), axes.end());
  std::int64_t reach = 0;  // farthest element that the axes of smaller stride get to
  for (const auto& [stride, extent] : axes) {
    if (extent <= 1) continue;
    if (stride <= reach) return true;
    reach += stride * (extent - 1);
  }
  return false;
}

}  // namespace norma
