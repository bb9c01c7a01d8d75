// Copies between views of every order of axes, and of several arrays into one, against a loop over the
// indices.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "core/array.h"

namespace norma {
namespace {

/// Elements that differ from their neighbours in every dtype.
Array numbered(const Shape& shape, DType dtype) {
  return Array::arange(0, static_cast<double>(shape.numel()), 1, i64).to(dtype).reshape(shape);
}

/// Whether y [i, j, ..] is x [i, j, ..] for all indices, by the strides of x and the order of y.
bool same_elements(const Array& y, const Array& x) {
  const auto values = y.to(f64).contiguous().to_vector<double>();
  std::vector<std::int64_t> index(static_cast<std::size_t>(x.rank()), 0);
  for (const double value : values) {
    if (x.at(index) != value) return false;
    for (int axis = x.rank() - 1; axis >= 0; --axis) {
      std::int64_t& i = index[static_cast<std::size_t>(axis)];
      if (++i < x.shape()[axis]) break;
      i = 0;
    }
  }
  return true;
}

void check_orders(const Shape& shape, DType from, DType to) {
  CAPTURE(from);
  CAPTURE(to);
  std::vector<int> axes(static_cast<std::size_t>(shape.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  do {
    CAPTURE(shape);
    CAPTURE(axes[0]);
    CAPTURE(axes[1]);
    const Array turned = numbered(shape, from).permute(axes);
    const Array y = from == to ? turned.clone() : turned.to(to);
    CHECK(y.is_contiguous());
    CHECK(same_elements(y, turned.to(to)));
    CHECK(same_elements(y, turned));
    // Into a view of the same order, and one with gaps.
    Array memory = Array::full(shape, 7, to);
    memory.permute(axes).copy_from(y);
    CHECK(same_elements(memory, numbered(shape, from).to(to)));
    Array wide = Array::full(y.shape().with(-1, y.shape()[-1] + 2), 7, to);
    wide.slice(-1, {1, -1}).copy_from(turned);
    CHECK(same_elements(wide.slice(-1, {1, -1}).clone(), turned));
    for (const double edge : {wide.slice(-1, {0, 1}).to(f64).clone().to_vector<double>()[0],
                              wide.slice(-1, {-1}).to(f64).clone().to_vector<double>()[0]})
      CHECK(edge == (to == boolean ? 1 : 7));
  } while (std::next_permutation(axes.begin(), axes.end()));
}

/// `count` arrays of the shape, but for an axis in which every fourth has another extent, side by side. Every
/// third lies in wider memory where that leaves rows; in a second go all are turned.
void check_joined(const Shape& shape, DType dtype, int axis, int count) {
  CAPTURE(axis);
  CAPTURE(count);
  const bool columns = shape[axis] == 1;
  for (const bool turned : {false, true}) {
    std::vector<Array> parts;
    std::vector<View> views;
    std::int64_t extent = 0;
    for (int i = 0; i < count; ++i) {
      const Shape own = i % 4 == 3 && !columns ? shape.with(axis, shape[axis] + i) : shape;
      const Array wide = numbered(own.with(2, own[2] + (axis == 2 ? i % 3 / 2 : 0)), dtype);
      const Array part = wide.slice(2, {0, own[2]});
      parts.push_back(turned ? part.transpose(0, 2).clone().transpose(0, 2) : part);
      views.push_back(parts.back().view());
      extent += own[axis];
    }
    const Array y = Array::full(shape.with(axis, extent), 1, dtype);
    const bool is_joined = backend(cpu).join(y.view(), views, axis);
    CHECK((turned || is_joined));
    if (!is_joined) continue;
    std::int64_t start = 0;
    for (const Array& part : parts) {
      const std::int64_t stop = start + part.shape()[axis];
      CHECK(same_elements(y.slice(axis, {start, stop}), part));
      start = stop;
    }
  }
}

TEST_SUITE("copies") {
  TEST_CASE("of every order of axes") {
    for (const Shape& shape : {Shape{3, 5, 40}, Shape{2, 33, 17}, Shape{4, 2, 70}, Shape{7, 8, 9},
                               Shape{1100, 3, 2}, Shape{2, 3, 4, 16}, Shape{5, 2, 32, 3}}) {
      check_orders(shape, f32, f32);
      check_orders(shape, f64, f64);
    }
    for (const Shape& shape : {Shape{3, 5, 40}, Shape{4, 2, 70}, Shape{2, 3, 4, 16}}) {
      check_orders(shape, f32, f64);
      check_orders(shape, i64, i64);
      check_orders(shape, i64, f32);
      check_orders(shape, boolean, f32);
      check_orders(shape, boolean, boolean);
    }
  }

  TEST_CASE("of long thin matrices, over several blocks") {
    for (const std::int64_t thin : {1, 2, 3, 4, 5, 7, 8}) {
      CAPTURE(thin);
      const Array x = numbered({thin, 50001}, f32), t = x.transpose(0, 1);
      const Array y = t.clone();
      CHECK(same_elements(y, t));
      CHECK(same_elements(y.transpose(0, 1).clone(), x));
      CHECK(same_elements(y.slice(0, {1, Slice::end, 3}).transpose(0, 1).clone(),
                          x.slice(1, {1, Slice::end, 3})));
    }
  }

  TEST_CASE("of several arrays, side by side along each axis") {
    for (const DType dtype : {f32, f64, i64, boolean}) {
      CAPTURE(dtype);
      for (const Shape& shape : {Shape{3, 5, 40}, Shape{1, 70, 1}, Shape{200, 301, 1}, Shape{2, 0, 3}}) {
        CAPTURE(shape);
        for (int axis = 0; axis < 3; ++axis) check_joined(shape, dtype, axis, 4);
      }
      // Single columns: few, as wide as a tile, and more; several blocks of rows.
      for (const int count : {1, 2, 3, 5, 8, 32, 41}) check_joined({33, 100, 1}, dtype, 2, count);
      check_joined({4099, 1, 1}, dtype, 2, 19);
    }
  }
}

}  // namespace
}  // namespace norma
