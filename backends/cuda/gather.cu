// gather: y[i][j][k] = x[i][index[i][j][k]][k]; scatter_add: y[i][index[i][j][k]][k] += x[i][j][k] (axis 1
// shown). An index out of range is noted (device_errors.h); its element of y is 0, or nothing is added.
// scatter_add has a thread for each line along the axis, which adds in order: equal indices need no atomics.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/device_errors.cuh"
#include "backends/cuda/elements.cuh"
#include "backends/elementwise.h"

namespace norma {
namespace {

/// elements: y, x without the axis, index; in row-major order, so that i is the position to report.
template <class T>
__global__ void gather_elements(std::int64_t count, Strided<3> elements, std::int64_t x_step,
                                DeviceCheck check, T* y, const T* x, const std::int64_t* index) {
  const std::int64_t i = flat_index();
  if (i >= count) return;
  std::int64_t offset[3];
  elements.locate(i, offset);
  const std::int64_t at = index[offset[2]];
  y[offset[0]] = check(at, i) ? x[offset[1] + at * x_step] : T(0);
}

/// Steps along the axis, whose extent is `length` in x and index; `inner`: elements of the axes behind it.
struct Axis {
  std::int64_t length, y_step, x_step, index_step, inner;
};

template <class T>
__global__ void scatter_lines(std::int64_t count, Strided<3> lines, Axis axis, DeviceCheck check, T* y,
                              const T* x, const std::int64_t* index) {
  const std::int64_t line = flat_index();
  if (line >= count) return;
  std::int64_t offset[3];
  lines.locate(line, offset);
  const std::int64_t position = line / axis.inner * axis.length * axis.inner + line % axis.inner;
  for (std::int64_t j = 0; j < axis.length; ++j) {
    const std::int64_t at = index[offset[2] + j * axis.index_step];
    if (!check(at, position + j * axis.inner)) continue;
    T& sum = y[offset[0] + at * axis.y_step];
    sum = arithmetic<Binary::add>(sum, x[offset[1] + j * axis.x_step]);
  }
}

}  // namespace

void CudaBackend::gather(View y, View x, View index, int axis, const char* op) {
  if (y.numel() == 0) return;
  const DeviceCheck check = errors_.indices(op, x.shape[axis]);
  const std::int64_t x_step = x.strides[axis];
  x.shape[axis] = y.shape[axis];
  x.strides[axis] = 0;
  const Loop<3> loop = make_row_major_loop(y, x, index);
  for_any(x.dtype, [&]<class T>() {
    launch_flat(gather_elements<T>, loop.numel(), stream_, loop.numel(), Strided<3>(loop), x_step, check,
                pointer<T>(y), pointer<T>(x), pointer<std::int64_t>(index));
  });
}

void CudaBackend::scatter_add(View y, View x, View index, int axis, const char* op) {
  if (x.numel() == 0) return;
  const DeviceCheck check = errors_.indices(op, y.shape[axis]);
  Axis along{x.shape[axis], y.strides[axis], x.strides[axis], index.strides[axis], 1};
  for (int behind = axis + 1; behind < x.rank; ++behind) along.inner *= x.shape[behind];
  y.shape[axis] = x.shape[axis] = index.shape[axis] = 1;
  const Loop<3> lines = make_row_major_loop(y, x, index);
  const auto run = [&]<class T>() {
    launch_flat(scatter_lines<T>, lines.numel(), stream_, lines.numel(), Strided<3>(lines), along, check,
                pointer<T>(y), pointer<T>(x), pointer<std::int64_t>(index));
  };
  if (x.dtype == i64) return run.template operator()<std::int64_t>();
  for_float(x.dtype, op, run);
}

}  // namespace norma
