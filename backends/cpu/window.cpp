// unfold and fold, the two halves of a convolution besides the matrix product (im2col and its adjoint).
//   columns[n, (c, i, j), (p, q)] = x[n, c, p * stride + i * dilation - padding, q * stride + j * dilation -
//   ..]
// Contiguous views. Parallel over (n, c): every plane of x and its rows of columns belong to one task, so
// fold adds in a fixed order. Per tap and row of places, the columns that fall inside x are one range.
#include <algorithm>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/windows.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {
namespace {

/// Calls body(plane, size) for each plane, in parallel; size: of its columns.
template <class Body>
void for_each_plane(const Planes& p, Body&& body) {
  const std::int64_t size = p.taps() * p.places();
  const std::int64_t block = std::max<std::int64_t>(1, block_elements / std::max<std::int64_t>(1, size));
  parallel_for(p.count, block, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t plane = begin; plane < end; ++plane) body(plane, size);
  });
}

template <class T>
void unfold_planes(const Planes& p, T* columns, const T* x) {
  for_each_plane(p, [&](std::int64_t plane, std::int64_t size) {
    unfold_plane(p, {0, p.rows}, columns + plane * size, x + plane * p.size());
  });
}

template <class T>
void fold_planes(const Planes& p, T* x, const T* columns) {
  for_each_plane(p, [&](std::int64_t plane, std::int64_t size) {
    fold_plane(p, x + plane * p.size(), columns + plane * size);
  });
}

}  // namespace

void CpuBackend::unfold(View columns, View x, const Window& window) {
  for_float(x.dtype, "unfold",
            [&]<class T>() { unfold_planes<T>(Planes(x, window), pointer<T>(columns), pointer<T>(x)); });
}

void CpuBackend::fold(View x, View columns, const Window& window) {
  for_float(x.dtype, "fold",
            [&]<class T>() { fold_planes<T>(Planes(x, window), pointer<T>(x), pointer<T>(columns)); });
}

}  // namespace norma
