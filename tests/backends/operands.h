// Operands for kernel tests: views of any layout over host memory, filled with random values, and
// comparisons.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "core/array.h"

namespace norma::tests {

/// Memory with a view into it. Both host backends can work on the same operand.
struct Operand {
  std::vector<std::byte> memory;
  View view;

  std::int64_t numel() const { return view.numel(); }
};

using Extents = std::vector<std::int64_t>;

/// Address of element `flat` (row-major) of a view, as an offset in elements.
inline std::int64_t offset_of(const View& view, std::int64_t flat) {
  std::int64_t offset = 0;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    offset += flat % view.shape[axis] * view.strides[axis];
    flat /= view.shape[axis];
  }
  return offset;
}

template <class T>
T& at(const View& view, std::int64_t flat) {
  return pointer<T>(view)[offset_of(view, flat)];
}
/// Any dtype as a double.
inline double number(const View& view, std::int64_t flat) {
  return for_any(view.dtype, [&]<class T>() { return static_cast<double>(at<T>(view, flat)); });
}

class Maker {
 public:
  explicit Maker(unsigned seed) : random_(seed) {}

  std::int64_t below(std::int64_t n) {
    return std::uniform_int_distribution<std::int64_t>(0, n - 1)(random_);
  }
  double normal() { return std::normal_distribution<double>()(random_); }
  Extents extents(int rank, std::int64_t largest) {
    Extents shape;
    for (int axis = 0; axis < rank; ++axis) shape.push_back(1 + below(largest));
    return shape;
  }

  /// Row-major, filled by value(): normal numbers, integers in [-4, 4], or booleans.
  Operand contiguous(const Extents& shape, DType dtype) { return make(shape, dtype, false); }
  /// Any order of axes, gaps, reversed axes; with `may_repeat` also strides of zero.
  Operand strided(const Extents& shape, DType dtype, bool may_repeat = false) {
    Operand operand = make(shape, dtype, true);
    for (int axis = 0; may_repeat && axis < operand.view.rank; ++axis) {
      if (below(4) == 0) operand.view.strides[axis] = 0;
    }
    return operand;
  }
  /// The same layout and values in other memory.
  static Operand twin(const Operand& operand) {
    Operand copy{operand.memory, operand.view};
    copy.view.data =
        copy.memory.data() + (static_cast<std::byte*>(operand.view.data) - operand.memory.data());
    return copy;
  }

 private:
  Operand make(const Extents& shape, DType dtype, bool any_layout) {
    Operand operand;
    View& view = operand.view;
    view.dtype = dtype;
    view.rank = static_cast<int>(shape.size());
    std::vector<int> order;
    for (int axis = 0; axis < view.rank; ++axis)
      order.insert(order.begin() + (any_layout ? below(axis + 1) : axis), axis);
    std::int64_t stride = 1, start = 0;
    for (int i = view.rank - 1; i >= 0; --i) {
      const int axis = order[static_cast<std::size_t>(i)];
      view.shape[axis] = shape[static_cast<std::size_t>(axis)];
      if (any_layout && below(4) == 0) stride *= 2;
      view.strides[axis] = stride;
      stride *= std::max<std::int64_t>(1, view.shape[axis]);
      if (any_layout && below(5) == 0) {
        start += view.strides[axis] * (view.shape[axis] - 1);
        view.strides[axis] = -view.strides[axis];
      }
    }
    operand.memory.resize(static_cast<std::size_t>((stride + 1) * size_of(dtype)));
    for (std::int64_t i = 0; i < stride; ++i) {
      for_any(dtype, [&]<class T>() { reinterpret_cast<T*>(operand.memory.data())[i] = value<T>(); });
    }
    view.data = operand.memory.data() + start * size_of(dtype);
    return operand;
  }
  template <class T>
  T value() {
    if constexpr (std::is_same_v<T, bool>) return below(2) == 1;
    if constexpr (std::is_same_v<T, std::int64_t>) return below(9) - 4;
    return static_cast<T>(normal());
  }

  std::mt19937 random_;
};

/// Same value, or within tolerance * (scale + |want|); NaN equals NaN.
inline bool close(double got, double want, double tolerance, double scale = 1) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want) || std::isinf(got)) return got == want;
  return std::fabs(got - want) <= tolerance * (scale + std::fabs(want));
}
inline double tolerance_of(DType dtype) { return dtype == f32 ? 1e-5 : dtype == f64 ? 1e-10 : 0; }

/// Checks that two views of one shape agree; reports the first place where they do not.
inline void check_close(const View& got, const View& want, double tolerance, double scale = 1) {
  REQUIRE(got.numel() == want.numel());
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    if (close(number(got, i), number(want, i), tolerance, scale)) continue;
    INFO("element " << i);
    CHECK(number(got, i) == doctest::Approx(number(want, i)));
    FAIL("views differ");
  }
}
/// Checks that all memory, gaps included, is the same: nothing was written beside the view.
inline bool same_bits(const Operand& a, const Operand& b) { return a.memory == b.memory; }

}  // namespace norma::tests
