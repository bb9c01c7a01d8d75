// Views as a BLAS sees them: matrices with one contiguous axis, batches of them, and what to do with others.
#pragma once

#include <algorithm>
#include <climits>
#include <cstdint>

#include "core/check.h"
#include "core/view.h"

namespace norma {

/// A matrix in memory: element (i, j) at data[i * leading + j], or at data[j * leading + i] when transposed.
template <class T>
struct Matrix {
  T* data;
  std::int64_t leading;  // at least 1 and at least the extent of the contiguous axis
  bool transposed = false;
};

struct ProductExtents {
  std::int64_t m, n, k;
};

inline ProductExtents extents_of(const View& c, const View& a) {
  return {c.shape[c.rank - 2], c.shape[c.rank - 1], a.shape[a.rank - 1]};
}

inline void check_extents(const ProductExtents& e) {
  const auto check = [](const char* name, std::int64_t extent) {
    NORMA_CHECK(extent <= INT_MAX, "matmul: ", name, " = ", extent, " is more than BLAS takes (", INT_MAX,
                ")");
  };
  check("m", e.m), check("n", e.n), check("k", e.k);
}

/// True when BLAS can address the last two axes, in which case `matrix` is filled (its data is the view's).
template <class T>
bool as_matrix(const View& view, Matrix<T>& matrix) {
  const std::int64_t rows = view.shape[view.rank - 2], columns = view.shape[view.rank - 1];
  const std::int64_t row_stride =
      rows == 1 ? std::max<std::int64_t>(1, columns) : view.strides[view.rank - 2];
  const std::int64_t column_stride = columns == 1 ? 1 : view.strides[view.rank - 1];
  matrix.data = static_cast<T*>(view.data);
  if (column_stride == 1 && row_stride >= columns && row_stride >= 1 && row_stride <= INT_MAX) {
    matrix.leading = row_stride, matrix.transposed = false;
    return true;
  }
  const std::int64_t leading = columns == 1 ? rows : column_stride;
  if ((row_stride == 1 || rows == 1) && leading >= rows && leading >= 1 && leading <= INT_MAX) {
    matrix.leading = leading, matrix.transposed = true;
    return true;
  }
  return false;
}

inline View transposed(View view) {
  std::swap(view.shape[view.rank - 2], view.shape[view.rank - 1]);
  std::swap(view.strides[view.rank - 2], view.strides[view.rank - 1]);
  return view;
}

/// The same extents, row-major, at `data`. Axes that the view repeats (stride 0 in the batch) stay repeated.
inline View compact(View view, void* data) {
  view.data = data;
  std::int64_t stride = 1;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    if (axis < view.rank - 2 && view.strides[axis] == 0) continue;
    view.strides[axis] = stride;
    stride *= std::max<std::int64_t>(1, view.shape[axis]);
  }
  return view;
}

/// The view with its repeated batch axes cut to extent 1: what has to be copied.
inline View distinct(View view, const View& like) {
  for (int axis = 0; axis < view.rank - 2; ++axis) {
    if (like.strides[axis] == 0) view.shape[axis] = 1;
  }
  return view;
}

/// Folds batch axes into m while b is the same for them and the rows of a and c continue evenly.
inline void fold_batch(View& c, View& a, View& b) {
  while (c.rank > 2) {
    const int batch = c.rank - 3, rows = c.rank - 2;
    const bool single = c.shape[batch] == 1;
    const bool even = (c.shape[rows] == 1 || (c.strides[batch] == c.shape[rows] * c.strides[rows] &&
                                              a.strides[batch] == a.shape[rows] * a.strides[rows])) &&
                      b.strides[batch] == 0;
    if (!single && !even) return;
    for (View* view : {&c, &a}) {
      if (!single) {
        if (view->shape[rows] == 1) view->strides[rows] = view->strides[batch];
        view->shape[rows] *= view->shape[batch];
      }
      view->shape[batch] = view->shape[rows], view->strides[batch] = view->strides[rows];
    }
    b.shape[batch] = b.shape[rows], b.strides[batch] = b.strides[rows];
    for (View* view : {&c, &a, &b}) {
      view->shape[rows] = view->shape[rows + 1], view->strides[rows] = view->strides[rows + 1];
      --view->rank;
    }
  }
}

}  // namespace norma
