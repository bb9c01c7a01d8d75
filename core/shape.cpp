#include "core/shape.h"

#include <algorithm>

namespace norma {

Shape::Shape(std::span<const std::int64_t> extents) {
  NORMA_CHECK(extents.size() <= max_rank, "shape: at most ", max_rank, " axes, got ", extents.size());
  rank_ = static_cast<int>(extents.size());
  // The product of the extents other than 0 must fit too: strides are made of it.
  std::int64_t product = 1;
  bool empty = false;
  std::int64_t* next = extents_.data();
  for (const std::int64_t extent : extents) {
    *next++ = extent;
    NORMA_CHECK(extent >= 0, "shape: extents must be >= 0, got ", extents);
    empty = empty || extent == 0;
    NORMA_CHECK(extent == 0 || !__builtin_mul_overflow(product, extent, &product),
                "shape: the product of the extents must fit in 63 bits, got ", extents);
  }
  numel_ = empty ? 0 : product;
}

std::int64_t Shape::operator[](int axis) const {
  return extents_[static_cast<std::size_t>(normalize_axis(axis, rank_, "shape"))];
}

Shape Shape::with(int axis, std::int64_t extent) const {
  Shape changed = *this;
  changed.extents_[static_cast<std::size_t>(normalize_axis(axis, rank_, "shape"))] = extent;
  return Shape(changed.extents());
}

Shape Shape::inserted(int axis, std::int64_t extent) const {
  NORMA_CHECK(rank_ < max_rank, "shape: at most ", max_rank, " axes, cannot add one to ", *this);
  const int at = normalize_axis(axis, rank_ + 1, "shape");
  Shape changed = *this;
  std::copy_backward(begin() + at, end(), changed.extents_.begin() + rank_ + 1);
  changed.extents_[static_cast<std::size_t>(at)] = extent;
  ++changed.rank_;
  return Shape(changed.extents());
}

Shape Shape::removed(int axis) const {
  const int at = normalize_axis(axis, rank_, "shape");
  Shape changed = *this;
  std::copy(begin() + at + 1, end(), changed.extents_.begin() + at);
  --changed.rank_;
  return Shape(changed.extents());
}

int normalize_axis(int axis, int rank, const char* op) {
  NORMA_CHECK(axis >= -rank && axis < rank, op, ": axis ", axis, " out of range for rank ", rank);
  return axis < 0 ? axis + rank : axis;
}

std::array<std::int64_t, max_rank> contiguous_strides(const Shape& shape) {
  std::array<std::int64_t, max_rank> strides{};
  std::int64_t stride = 1;
  for (auto axis = static_cast<std::size_t>(shape.rank()); axis-- > 0;) {
    strides[axis] = stride;
    stride *= std::max<std::int64_t>(shape.padded()[axis], 1);
  }
  return strides;
}

Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, max_rank> extents{};
  for (int i = 1; i <= rank; ++i) {  // axes counted from the end
    const std::int64_t of_a = i <= a.rank() ? a[-i] : 1;
    const std::int64_t of_b = i <= b.rank() ? b[-i] : 1;
    NORMA_CHECK(of_a == of_b || of_a == 1 || of_b == 1, op, ": shapes ", a, " and ", b,
                " do not broadcast; trailing extents must be equal or 1");
    extents[static_cast<std::size_t>(rank - i)] = of_a == 1 ? of_b : of_a;
  }
  return Shape(std::span(extents.data(), static_cast<std::size_t>(rank)));
}

}  // namespace norma
