// softmax: y = exp(x - max) / sum(exp(x - max)) along rows; log: y = x - max - ln(sum(exp(x - max))). x, y:
// [rows, d] Backward: dx = y (dy - sum(y dy)); log: dx = dy - exp(y) sum(dy). As in PyTorch, a row of -inf
// alone, or with NaN or +inf, is NaN.
// Short rows: softmax_rows.h. Of [outer, d, inner] the same along d: softmax_columns.h.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/exponentials.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/softmax_columns.h"
#include "backends/cpu/softmax_rows.h"

namespace norma {

namespace {

template <class T>
void softmax_row(std::int64_t d, T* y, const T* x) {
  const T largest = lane_max(d, x);
  const double sum =
      lane_sum<T>(d, [=](std::int64_t j) { return y[j] = vector_exp_negative(x[j] - largest); });
  const T scale = static_cast<T>(1 / sum);
  for (std::int64_t j = 0; j < d; ++j) y[j] *= scale;
}

template <class T>
void log_softmax_row(std::int64_t d, T* y, const T* x) {
  const auto [largest, sum] = exp_sum(d, x);
  const T log_sum = static_cast<T>(std::log(sum));
  for (std::int64_t j = 0; j < d; ++j) y[j] = x[j] - largest - log_sum;
}

template <class T>
void softmax_backward_row(std::int64_t d, T* dx, const T* y, const T* dy) {
  const T sum = static_cast<T>(lane_sum<T>(d, [=](std::int64_t j) { return y[j] * dy[j]; }));
  for (std::int64_t j = 0; j < d; ++j) dx[j] = y[j] * (dy[j] - sum);
}

template <class T>
void log_softmax_backward_row(std::int64_t d, T* dx, const T* y, const T* dy) {
  const T sum = static_cast<T>(lane_sum<T>(d, [=](std::int64_t j) { return dy[j]; }));
  for (std::int64_t j = 0; j < d; ++j) dx[j] = dy[j] - vector_exp_negative(y[j]) * sum;
}

}  // namespace

bool CpuBackend::softmax(View y_view, View x_view, bool log) {
  if (x_view.rank == 3) {
    const Channels shape = channels_of(x_view);
    if (!ColumnTiles::fit(shape)) return false;
    for_float(x_view.dtype, "softmax", [&]<class T>() {
      softmax_columns<T>(ColumnTiles(shape), pointer<T>(y_view), pointer<T>(x_view), log);
    });
    return true;
  }
  const Rows n = rows_of(x_view);
  for_float(x_view.dtype, "softmax", [&]<class T>() {
    T* y = pointer<T>(y_view);
    const T* x = pointer<T>(x_view);
    if (TurnedRows<T>::fit(n.d)) {
      return for_turned_rows(n, [=](std::int64_t r, std::int64_t count) {
        softmax_short_rows(count, n.d, y + r * n.d, x + r * n.d, log);
      });
    }
    for_each_row(n, [=](std::int64_t r) {
      (log ? log_softmax_row<T> : softmax_row<T>)(n.d, y + r * n.d, x + r * n.d);
    });
  });
  return true;
}

bool CpuBackend::softmax_backward(View dx_view, View y_view, View dy_view, bool log) {
  if (y_view.rank == 3) {
    const Channels shape = channels_of(y_view);
    if (!ColumnTiles::fit(shape)) return false;
    for_float(y_view.dtype, "softmax", [&]<class T>() {
      softmax_columns_backward<T>(ColumnTiles(shape), pointer<T>(dx_view), pointer<T>(y_view),
                                  pointer<T>(dy_view), log);
    });
    return true;
  }
  const Rows n = rows_of(y_view);
  for_float(y_view.dtype, "softmax", [&]<class T>() {
    T* dx = pointer<T>(dx_view);
    const T *y = pointer<T>(y_view), *dy = pointer<T>(dy_view);
    if (TurnedRows<T>::fit(n.d)) {
      return for_turned_rows(n, [=](std::int64_t r, std::int64_t count) {
        softmax_short_rows_backward(count, n.d, dx + r * n.d, y + r * n.d, dy + r * n.d, log);
      });
    }
    for_each_row(n, [=](std::int64_t r) {
      (log ? log_softmax_backward_row<T> : softmax_backward_row<T>)(n.d, dx + r * n.d, y + r * n.d,
                                                                    dy + r * n.d);
    });
  });
  return true;
}

}  // namespace norma
