// How the reference kernels walk views: an index that counts through a shape, and the element of a view at
// it.
#pragma once

#include "core/view.h"

namespace norma {

struct Index {
  std::int64_t at[max_rank] = {};
};

/// The element of the view at an index.
template <class T>
T& element(const View& view, const Index& index) {
  std::int64_t offset = 0;
  for (int axis = 0; axis < view.rank; ++axis) offset += index.at[axis] * view.strides[axis];
  return pointer<T>(view)[offset];
}

/// Calls body(index) for every index of the view's shape, in row-major order.
template <class Body>
void for_each(const View& view, Body&& body) {
  Index index;
  for (std::int64_t count = view.numel(); count > 0; --count) {
    body(index);
    for (int axis = view.rank - 1; axis >= 0 && ++index.at[axis] == view.shape[axis]; --axis)
      index.at[axis] = 0;
  }
}

/// The index with one axis set to `value`.
inline Index with(Index index, int axis, std::int64_t value) {
  index.at[axis] = value;
  return index;
}

/// The view cut to extent 1 at an axis: its indices number the lines along that axis.
inline View lines(View view, int axis) {
  view.shape[axis] = 1;
  return view;
}

}  // namespace norma
