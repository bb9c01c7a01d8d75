// View: a pointer and extents, all that a kernel sees. A plain struct, passed by value, owning nothing.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/shape.h"

namespace norma {

/// Row-major without gaps. Axes of extent 1 may have any stride.
inline bool is_contiguous(int rank, const std::int64_t* shape, const std::int64_t* strides) {
  std::int64_t expected = 1;
  for (int axis = rank - 1; axis >= 0; --axis) {
    if (shape[axis] == 0) return true;
    if (shape[axis] == 1) continue;
    if (strides[axis] != expected) return false;
    expected *= shape[axis];
  }
  return true;
}

/// Strides count elements, not bytes; they may be zero (expanded) or negative (reversed).
struct View {
  void* data = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  std::int64_t shape[max_rank] = {};
  std::int64_t strides[max_rank] = {};

  std::int64_t numel() const {
    std::int64_t n = 1;
    for (int axis = 0; axis < rank; ++axis) n *= shape[axis];
    return n;
  }
  bool is_contiguous() const { return norma::is_contiguous(rank, shape, strides); }
  /// False for the view that stands for an absent optional argument.
  bool defined() const { return rank > 0 || data != nullptr; }
};

template <class T>
T* pointer(const View& view) {
  NORMA_ASSERT(view.data == nullptr || view.dtype == dtype_of<T>());
  return static_cast<T*>(view.data);
}

}  // namespace norma
