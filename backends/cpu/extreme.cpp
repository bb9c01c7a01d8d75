// Backward of the largest or smallest value y of each row, shared equally among equals:
//   dx = dy (x == y) / n, n the number of these in the row.  x, dx: [rows, d]  y, dy: [rows]
// Where y is NaN nothing equals it, and dx = dy 0 / 0.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/exponentials.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/turned_rows.h"

namespace norma {

namespace {

template <class T>
void backward_of_row(std::int64_t d, T* dx, T dy, T y, const T* x) {
  const double count = lane_sum<T>(d, [=](std::int64_t j) { return x[j] == y ? T(1) : T(0); });
  const T part = static_cast<T>(1 / count);
  for (std::int64_t j = 0; j < d; ++j) dx[j] = dy * ((x[j] == y ? T(1) : T(0)) * part);
}

template <class T>
void backward_of_short_rows(std::int64_t count, std::int64_t d, T* dx, const T* dy, const T* y, const T* x) {
  using Vector = LaneVector<T>;
  TurnedRows<T> turned(count, d, x);
  Vector top{}, slope{}, number;
  for (int k = 0; k < count; ++k) top.set(k, y[k]), slope.set(k, dy[k]);
  const Vector one = T(1);
  const auto is_top = [&](Vector & equal, std::int64_t j) __attribute__((always_inline)) {
    load(equal, turned.at(j));
    equal = pick(equal == top, one, Vector{});
  };
  turned.sum(number, is_top);
  const Vector part = one / number;
  turned.set([&](Vector & value, std::int64_t j) __attribute__((always_inline)) {
    is_top(value, j);
    value = slope * (value * part);
  });
  turned.write(dx);
}

}  // namespace

bool CpuBackend::extreme_backward(View dx_view, View dy_view, View y_view, View x_view) {
  const Rows n = rows_of(x_view);
  if (!is_floating(x_view.dtype) || shares_rows(n)) return false;
  for_float(x_view.dtype, "amax", [&]<class T>() {
    T* const dx = pointer<T>(dx_view);
    const T *const dy = pointer<T>(dy_view), *const y = pointer<T>(y_view), *const x = pointer<T>(x_view);
    if (!TurnedRows<T>::fit(n.d)) {
      return for_each_row(
          n, [=](std::int64_t r) { backward_of_row(n.d, dx + r * n.d, dy[r], y[r], x + r * n.d); });
    }
    for_turned_rows(n, [=](std::int64_t r, std::int64_t count) {
      backward_of_short_rows(count, n.d, dx + r * n.d, dy + r, y + r, x + r * n.d);
    });
  });
  return true;
}

}  // namespace norma
