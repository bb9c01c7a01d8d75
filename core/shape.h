// Shape: up to 8 extents, held inline, so that making one never allocates.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "core/check.h"

namespace norma {

inline constexpr int max_rank = 8;

/// Extents of an array, outermost first. All are >= 0, and their product fits in 63 bits.
/// A Shape that breaks this, or has more than 8 extents, throws Error when made.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const { return rank_; }
  /// Extent of an axis; negative axes count from the end. Throws when out of range.
  std::int64_t operator[](int axis) const;
  /// Number of elements; 1 for rank 0.
  std::int64_t numel() const { return numel_; }

  const std::int64_t* begin() const { return extents_.data(); }
  const std::int64_t* end() const { return extents_.data() + rank_; }
  std::span<const std::int64_t> extents() const { return {begin(), static_cast<std::size_t>(rank_)}; }
  /// The extents, then zeros: a copy of a known size is a few instructions.
  const std::array<std::int64_t, max_rank>& padded() const { return extents_; }

  /// The same shape with one extent replaced, inserted or removed (negative axes count from the end).
  Shape with(int axis, std::int64_t extent) const;
  Shape inserted(int axis, std::int64_t extent) const;
  Shape removed(int axis) const;

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && a.extents_ == b.extents_;
  }

 private:
  std::array<std::int64_t, max_rank> extents_{};
  int rank_ = 0;
  std::int64_t numel_ = 1;
};

/// Maps axis in [-rank, rank) to [0, rank); throws "op: axis ... out of range for rank ..." otherwise.
int normalize_axis(int axis, int rank, const char* op);

/// Strides, in elements, of an array of this shape laid out row-major without gaps.
std::array<std::int64_t, max_rank> contiguous_strides(const Shape& shape);

/// NumPy's broadcasting: trailing axes aligned, extents equal or 1. Throws naming the op and both shapes.
Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op);

}  // namespace norma
