// gather: y[i][j][k] = x[i][index[i][j][k]][k]; scatter_add: y[i][index[i][j][k]][k] += x[i][j][k] (axis 1
// shown). Indices are checked before anything is written. scatter_add is parallel over the other axes only,
// so equal indices are added in order.
#include "backends/cpu/cpu_backend.h"
#include "backends/elementwise.h"
#include "backends/indices.h"
#include "backends/strided.h"

namespace norma {

namespace {

template <class T>
void gather_views(const View& y_view, View x_view, const View& index_view, int axis) {
  const std::int64_t step = x_view.strides[axis];
  x_view.shape[axis] = y_view.shape[axis];  // the loop covers y; the index moves x along the axis
  x_view.strides[axis] = 0;
  const Loop<3> loop = make_loop(y_view, x_view, index_view);
  T* y = pointer<T>(y_view);
  const T* x = pointer<T>(x_view);
  const std::int64_t* index = pointer<std::int64_t>(index_view);
  const std::int64_t ys = loop.inner_stride(0), xs = loop.inner_stride(1), is = loop.inner_stride(2);
  parallel_rows(loop, [&](std::int64_t n, const std::int64_t* offset) {
    T* to = y + offset[0];
    const T* from = x + offset[1];
    const std::int64_t* at = index + offset[2];
    if (is == 0 && xs == 1 && ys == 1) {  // whole rows, as in an embedding
      std::copy_n(from + at[0] * step, n, to);
    } else if (ys == 1 && xs == 0 && is == 1 && step == 1) {  // within rows
      for (std::int64_t i = 0; i < n; ++i) to[i] = from[at[i]];
    } else {
      for (std::int64_t i = 0; i < n; ++i) to[i * ys] = from[i * xs + at[i * is] * step];
    }
  });
}

template <class T>
void scatter_views(View y_view, View x_view, View index_view, int axis) {
  const std::int64_t length = x_view.shape[axis];
  const std::int64_t y_step = y_view.strides[axis], x_step = x_view.strides[axis],
                     i_step = index_view.strides[axis];
  y_view.shape[axis] = x_view.shape[axis] = index_view.shape[axis] = 1;
  const Loop<3> slices = make_loop(y_view, x_view, index_view);
  T* y = pointer<T>(y_view);
  const T* x = pointer<T>(x_view);
  const std::int64_t* index = pointer<std::int64_t>(index_view);
  const std::int64_t ys = slices.inner_stride(0), xs = slices.inner_stride(1), is = slices.inner_stride(2);
  const bool along = std::abs(x_step) < std::abs(xs);  // the axis is the inner one in memory
  const auto add = [](T& sum, T value) { sum = arithmetic<Binary::add>(sum, value); };
  const auto body = [&](std::int64_t n, const std::int64_t* offset) {
    T* const to = y + offset[0];
    for (std::int64_t i = 0; along && i < n; ++i) {
      const T* from = x + offset[1] + i * xs;
      const std::int64_t* at = index + offset[2] + i * is;
      for (std::int64_t j = 0; j < length; ++j) add(to[i * ys + at[j * i_step] * y_step], from[j * x_step]);
    }
    for (std::int64_t j = 0; !along && j < length; ++j) {
      const T* from = x + offset[1] + j * x_step;
      const std::int64_t* at = index + offset[2] + j * i_step;
      if (is == 0 && xs == 1 && ys == 1) {
        T* row = to + at[0] * y_step;
        for (std::int64_t i = 0; i < n; ++i) add(row[i], from[i]);
      } else {
        for (std::int64_t i = 0; i < n; ++i) add(to[i * ys + at[i * is] * y_step], from[i * xs]);
      }
    }
  };
  const std::int64_t narrowest = is == 0 ? 64 : 16;  // whole cache lines of rows
  parallel_rows(slices, body, even_block(slices.numel(), std::max(narrowest, block_elements / length)));
}

}  // namespace

void CpuBackend::gather(View y, View x, View index, int axis, const char* op) {
  check_indices(index, x.shape[axis], op);
  if (y.numel() == 0) return;
  for_any(x.dtype, [&]<class T>() { gather_views<T>(y, x, index, axis); });
}

void CpuBackend::scatter_add(View y, View x, View index, int axis, const char* op) {
  check_indices(index, y.shape[axis], op);
  if (x.numel() == 0) return;
  if (x.dtype == i64) return scatter_views<std::int64_t>(y, x, index, axis);
  for_float(x.dtype, op, [&]<class T>() { scatter_views<T>(y, x, index, axis); });
}

}  // namespace norma
