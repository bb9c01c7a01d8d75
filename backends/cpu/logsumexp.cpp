// logsumexp: y = max + ln(sum(exp(x - max))) of each row.  x: [rows, d]  y: [rows]
// Backward: dx = dy exp(x - max) / sum(exp(x - max)), normalized anew: y, rounded to T, would cost the
// quotients their digits where it is large.
// A row whose largest value is infinite is taken as it stands, without max: y = +-inf, or NaN.
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/exponentials.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/softmax_rows.h"

namespace norma {

namespace {

/// Of a row without a finite largest value: that, or NaN where the row has one.
template <class T>
T infinite_value(std::int64_t d, const T* x) {
  T y = lane_max(d, x);
  for (std::int64_t j = 0; j < d; ++j) y = x[j] != x[j] ? x[j] : y;
  return y;
}

/// Of -inf alone the sum is 0, and so is the gradient.
template <class T>
void infinite_backward(std::int64_t d, T* dx, T dy, const T* x) {
  T sum = 0;
  for (std::int64_t j = 0; j < d; ++j) sum += std::exp(x[j]);
  if (sum == 0) sum = 1;
  for (std::int64_t j = 0; j < d; ++j) dx[j] = dy * (std::exp(x[j]) / sum);
}

template <class T>
T value_of_row(std::int64_t d, const T* x) {
  const auto [largest, sum] = exp_sum(d, x);
  if (!std::isfinite(largest)) return infinite_value(d, x);
  return static_cast<T>(static_cast<double>(largest) + std::log(sum));
}

template <class T>
void backward_of_row(std::int64_t d, T* dx, T dy, const T* x) {
  const T largest = lane_max(d, x);
  if (!std::isfinite(largest)) return infinite_backward(d, dx, dy, x);
  const double sum =
      lane_sum<T>(d, [=](std::int64_t j) { return dx[j] = vector_exp_negative(x[j] - largest); });
  const T scale = static_cast<T>(1 / sum);
  for (std::int64_t j = 0; j < d; ++j) dx[j] = dy * (dx[j] * scale);
}

template <class T>
void values_of_short_rows(std::int64_t count, std::int64_t d, T* y, const T* x) {
  TurnedRows<T> turned(count, d, x);
  LaneVector<T> top, sum;
  raised_exp_sum<T, false>(turned, top, sum);
  sum *= T(0x1p-64);
  log_of_lanes<T>(sum);
  sum += top;
  for (int k = 0; k < count; ++k) y[k] = std::isfinite(top[k]) ? sum[k] : infinite_value(d, x + k * d);
}

template <class T>
void backward_of_short_rows(std::int64_t count, std::int64_t d, T* dx, const T* dy, const T* x) {
  TurnedRows<T> turned(count, d, x);
  LaneVector<T> top, sum, slope{};
  raised_exp_sum<T, true>(turned, top, sum);
  for (int k = 0; k < count; ++k) slope.set(k, dy[k]);
  const LaneVector<T> scale = T(1) / sum;
  turned.set([&](LaneVector<T> & value, std::int64_t j) __attribute__((always_inline)) {
    load(value, turned.at(j));
    value = slope * (value * scale);
  });
  turned.write(dx);
  for (int k = 0; k < count; ++k) {
    if (!std::isfinite(top[k])) infinite_backward(d, dx + k * d, dy[k], x + k * d);
  }
}

}  // namespace

bool CpuBackend::logsumexp(View y_view, View x_view) {
  const Rows n = rows_of(x_view);
  if (shares_rows(n)) return false;
  for_float(x_view.dtype, "logsumexp", [&]<class T>() {
    T* const y = pointer<T>(y_view);
    const T* const x = pointer<T>(x_view);
    if (!TurnedRows<T>::fit(n.d))
      return for_each_row(n, [=](std::int64_t r) { y[r] = value_of_row(n.d, x + r * n.d); });
    for_turned_rows(
        n, [=](std::int64_t r, std::int64_t count) { values_of_short_rows(count, n.d, y + r, x + r * n.d); });
  });
  return true;
}

bool CpuBackend::logsumexp_backward(View dx_view, View dy_view, View x_view) {
  const Rows n = rows_of(x_view);
  if (shares_rows(n)) return false;
  for_float(x_view.dtype, "logsumexp", [&]<class T>() {
    T* const dx = pointer<T>(dx_view);
    const T *const dy = pointer<T>(dy_view), *const x = pointer<T>(x_view);
    if (!TurnedRows<T>::fit(n.d))
      return for_each_row(n, [=](std::int64_t r) { backward_of_row(n.d, dx + r * n.d, dy[r], x + r * n.d); });
    for_turned_rows(n, [=](std::int64_t r, std::int64_t count) {
      backward_of_short_rows(count, n.d, dx + r * n.d, dy + r, x + r * n.d);
    });
  });
  return true;
}

}  // namespace norma
