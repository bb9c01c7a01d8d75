// y = x * rstd * weight (Zhang, Sennrich 2019, arXiv:1910.07467).  x, y: [rows, d]  weight: [d]  rstd: f64
// [rows]
//   inside:  rstd = 1 / sqrt(mean(x^2) + eps)      outside:  rstd = 1 / (R + eps),  R = sqrt(mean(x^2))
// Backward, with g = dy * weight and x_hat = x * rstd:
//   dx = rstd * (g - x_hat * mean(g * x_hat) * q),  q = 1 inside, 1 / (rstd R) outside (0 where R = 0)
//   dweight = sum over rows of dy * x_hat
// Partial (section 5 of the paper): R is the root mean square of the first k = `counted` entries of a row;
// then
//   dx_i = rstd * (g_i - [i < k] x_hat_i * sum(g * x_hat) / k * q).
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/sums.h"

namespace norma {

namespace {

template <class T>
double mean_square(const T* x, std::int64_t d) {
  double squares = block_sum<T>(d, [=](std::int64_t i) { return x[i] * x[i]; });
  if (!is_safe_square<T>(squares)) {
    squares = block_sum<double>(
        d, [=](std::int64_t i) { return static_cast<double>(x[i]) * static_cast<double>(x[i]); });
  }
  return squares / static_cast<double>(d);
}

template <class T>
void forward(Rows n, T* y, double* rstd, const T* x, const T* weight, double eps, bool inside,
             std::int64_t counted) {
  for_each_row(n, [=](std::int64_t r) {
    const T* from = x + r * n.d;
    T* to = y + r * n.d;
    const double square = mean_square(from, counted);
    rstd[r] = inside ? 1 / std::sqrt(square + eps) : 1 / (std::sqrt(square) + eps);
    const T scale = static_cast<T>(rstd[r]);
    if (weight != nullptr) {
      for (std::int64_t j = 0; j < n.d; ++j) to[j] = from[j] * scale * weight[j];
    } else {
      for (std::int64_t j = 0; j < n.d; ++j) to[j] = from[j] * scale;
    }
  });
}

/// 1 / (rstd R), the part of the second term that the outside form adds.
template <class T>
double outside_factor(const T* x, std::int64_t counted, double rstd) {
  const double root = std::sqrt(mean_square(x, counted));
  return root == 0 ? 0 : 1 / (rstd * root);
}

template <class T, class Weighted>
void backward_row(std::int64_t d, std::int64_t counted, T* dx, const T* x, T rstd, double factor,
                  Weighted weighted) {
  const double sum = block_sum<T>(d, [=](std::int64_t j) { return weighted(j) * (x[j] * rstd); });
  const T second = static_cast<T>(sum / static_cast<double>(counted) * factor);
  for (std::int64_t j = 0; j < counted; ++j) dx[j] = rstd * (weighted(j) - x[j] * rstd * second);
  for (std::int64_t j = counted; j < d; ++j) dx[j] = rstd * weighted(j);
}

template <class T>
void backward(Rows n, T* dx, T* dweight, const T* dy, const T* x, const double* rstd, const T* weight,
              bool inside, std::int64_t counted) {
  const auto input_row = [=](std::int64_t r) {
    const T *dy_row = dy + r * n.d, *x_row = x + r * n.d;
    const double factor = inside ? 1 : outside_factor(x_row, counted, rstd[r]);
    const T scale = static_cast<T>(rstd[r]);
    if (weight != nullptr) {
      backward_row(n.d, counted, dx + r * n.d, x_row, scale, factor,
                   [=](std::int64_t j) { return dy_row[j] * weight[j]; });
    } else {
      backward_row(n.d, counted, dx + r * n.d, x_row, scale, factor,
                   [=](std::int64_t j) { return dy_row[j]; });
    }
  };
  if (dweight == nullptr) return for_each_row(n, input_row);
  ColumnSums<T> sums(n, 1);
  sums.for_each_row([=](std::int64_t r, T* sum) {
    const T *dy_row = dy + r * n.d, *x_row = x + r * n.d;
    const T scale = static_cast<T>(rstd[r]);
#pragma omp simd
    for (std::int64_t j = 0; j < n.d; ++j) sum[j] += dy_row[j] * (x_row[j] * scale);
    if (dx != nullptr) input_row(r);
  });
  sums.total(0, dweight);
}

}  // namespace

bool CpuBackend::rms_norm(View y, View rstd, View x, View weight, double eps, bool inside,
                          std::int64_t counted) {
  for_float(x.dtype, "rms_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(rows_of(x), pointer<T>(y), pointer<double>(rstd), pointer<T>(x), pointer<T>(weight), eps,
               inside, counted);
  });
  return true;
}

bool CpuBackend::rms_norm_backward(View dx, View dweight, View dy, View x, View rstd, View weight,
                                   double /*eps*/, bool inside, std::int64_t counted) {
  for_float(x.dtype, "rms_norm", [&]<class T>() {
    backward<T>(rows_of(x), pointer<T>(dx), pointer<T>(dweight), pointer<T>(dy), pointer<T>(x),
                pointer<double>(rstd), pointer<T>(weight), inside, counted);
  });
  return true;
}

}  // namespace norma
