// unfold and fold, the two halves of a convolution besides the matrix product (im2col and its adjoint).
//   columns[n, (c, i, j), (p, q)] = x[n, c, p * stride + i * dilation - padding, q * stride + j * dilation -
//   ..]
// Contiguous views. unfold has a thread for each element of columns, fold one for each of x, which adds up
// the places that read it tap by tap.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/elements.cuh"

namespace norma {
namespace {

/// Extents of a plane (one n, c) and of its places. All in words of 64 bits.
struct Planes {
  std::int64_t height, width, rows, columns;  // of x; of the places
  Window window;

  Planes(const View& x, const Window& w)
      : height(x.shape[2]),
        width(x.shape[3]),
        rows(w.places(0, height)),
        columns(w.places(1, width)),
        window(w) {}
};

template <class T>
__global__ void unfold_places(std::int64_t count, Planes p, T* columns, const T* x) {
  const std::int64_t i = flat_index();
  if (i >= count) return;
  const Window& w = p.window;
  std::int64_t rest = i;
  const auto take = [&](std::int64_t extent) {  // the innermost of the indices that are left
    const std::int64_t index = rest % extent;
    rest /= extent;
    return index;
  };
  const std::int64_t q = take(p.columns), r = take(p.rows), right = take(w.kernel[1]),
                     down = take(w.kernel[0]);
  const std::int64_t row = r * w.stride[0] + down * w.dilation[0] - w.padding[0];
  const std::int64_t column = q * w.stride[1] + right * w.dilation[1] - w.padding[1];
  const bool inside = row >= 0 && row < p.height && column >= 0 && column < p.width;
  columns[i] = inside ? x[(rest * p.height + row) * p.width + column] : T(0);
}

/// The place whose tap reads coordinate x; -1 for none.
__device__ std::int64_t place_of(std::int64_t x, std::int64_t tap, const Window& w, int axis,
                                 std::int64_t places) {
  const std::int64_t from = x + w.padding[axis] - tap * w.dilation[axis];
  if (from < 0 || from % w.stride[axis] != 0) return -1;
  const std::int64_t place = from / w.stride[axis];
  return place < places ? place : -1;
}

template <class T>
__global__ void fold_places(std::int64_t count, Planes p, T* x, const T* columns) {
  const std::int64_t i = flat_index();
  if (i >= count) return;
  const Window& w = p.window;
  const std::int64_t column = i % p.width, row = i / p.width % p.height, plane = i / p.width / p.height;
  T sum = 0;
  for (std::int64_t down = 0; down < w.kernel[0]; ++down) {
    const std::int64_t r = place_of(row, down, w, 0, p.rows);
    if (r < 0) continue;
    for (std::int64_t right = 0; right < w.kernel[1]; ++right) {
      const std::int64_t q = place_of(column, right, w, 1, p.columns);
      if (q < 0) continue;
      const std::int64_t tap = (plane * w.kernel[0] + down) * w.kernel[1] + right;
      sum += columns[(tap * p.rows + r) * p.columns + q];
    }
  }
  x[i] = sum;
}

}  // namespace

void CudaBackend::unfold(View columns, View x, const Window& window) {
  const std::int64_t count = columns.numel();
  if (count == 0) return;
  for_float(x.dtype, "unfold", [&]<class T>() {
    launch_flat(unfold_places<T>, count, stream_, count, Planes(x, window), pointer<T>(columns),
                pointer<T>(x));
  });
}

void CudaBackend::fold(View x, View columns, const Window& window) {
  const std::int64_t count = x.numel();
  if (count == 0) return;
  for_float(x.dtype, "fold", [&]<class T>() {
    launch_flat(fold_places<T>, count, stream_, count, Planes(x, window), pointer<T>(x), pointer<T>(columns));
  });
}

}  // namespace norma
