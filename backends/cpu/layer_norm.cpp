// y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(var + eps), var the mean square of x - mean
// (Ba, Kiros, Hinton 2016, arXiv:1607.06450).  x, y: [rows, d]  weight, bias: [d]  mean, rstd: f64 [rows]
//
// Forward: three passes over a row, which stays in L1 between them: mean in f64, centred squares, output.
// Backward, with g = dy * weight and x_hat = (x - mean) * rstd:
//   dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat)),  dweight = sum over rows of dy * x_hat,  dbias = sum
//   of dy. A detached mean drops the second term of dx, a detached deviation the third.
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/moments.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/sums.h"

namespace norma {

namespace {

template <class T>
void forward(Rows n, T* y, double* mean, double* rstd, const T* x, const T* weight, const T* bias,
             double eps) {
  for_each_row(n, [=](std::int64_t r) {
    const T* from = x + r * n.d;
    T* to = y + r * n.d;
    mean[r] = mean_of(from, n.d);
    rstd[r] = 1 / std::sqrt(variance_of(from, n.d, mean[r]) + eps);
    const Centre<T> centre(mean[r]);
    const T scale = static_cast<T>(rstd[r]);
    if (weight != nullptr && bias != nullptr) {
      for (std::int64_t j = 0; j < n.d; ++j) to[j] = centre(from[j]) * scale * weight[j] + bias[j];
    } else if (weight != nullptr) {
      for (std::int64_t j = 0; j < n.d; ++j) to[j] = centre(from[j]) * scale * weight[j];
    } else if (bias != nullptr) {
      for (std::int64_t j = 0; j < n.d; ++j) to[j] = centre(from[j]) * scale + bias[j];
    } else {
      for (std::int64_t j = 0; j < n.d; ++j) to[j] = centre(from[j]) * scale;
    }
  });
}

/// dx of one row; weighted(j) is g[j].
template <class T, class Weighted>
void backward_row(std::int64_t d, T* dx, const T* x, Centre<T> centre, T rstd, Detached constants,
                  Weighted weighted) {
  const auto [sum_g, sum_gx] = block_sums<T>(d, [=](std::int64_t j, T& a, T& b) {
    const T g = weighted(j);
    a += g;
    b += g * (centre(x[j]) * rstd);
  });
  const T mean_g = constants.mean ? T(0) : static_cast<T>(sum_g / static_cast<double>(d));
  const T mean_gx = constants.std ? T(0) : static_cast<T>(sum_gx / static_cast<double>(d));
  for (std::int64_t j = 0; j < d; ++j) {
    dx[j] = rstd * (weighted(j) - mean_g - centre(x[j]) * rstd * mean_gx);
  }
}

template <class T>
void backward(Rows n, T* dx, T* dweight, T* dbias, const T* dy, const T* x, const double* mean,
              const double* rstd, const T* weight, Detached constants) {
  const auto input_row = [=](std::int64_t r) {
    const T *dy_row = dy + r * n.d, *x_row = x + r * n.d;
    const Centre<T> centre(mean[r]);
    const T scale = static_cast<T>(rstd[r]);
    if (weight != nullptr) {
      backward_row(n.d, dx + r * n.d, x_row, centre, scale, constants,
                   [=](std::int64_t j) { return dy_row[j] * weight[j]; });
    } else {
      backward_row(n.d, dx + r * n.d, x_row, centre, scale, constants,
                   [=](std::int64_t j) { return dy_row[j]; });
    }
  };
  if (dweight == nullptr && dbias == nullptr) return for_each_row(n, input_row);
  ColumnSums<T> sums(n, 2);
  sums.for_each_row([=](std::int64_t r, T* sum) {
    const T *dy_row = dy + r * n.d, *x_row = x + r * n.d;
    const Centre<T> centre(mean[r]);
    const T scale = static_cast<T>(rstd[r]);
    T *weight_sum = sum, *bias_sum = sum + n.d;
#pragma omp simd
    for (std::int64_t j = 0; j < n.d; ++j) {
      weight_sum[j] += dy_row[j] * (centre(x_row[j]) * scale);
      bias_sum[j] += dy_row[j];
    }
    if (dx != nullptr) input_row(r);
  });
  if (dweight != nullptr) sums.total(0, dweight);
  if (dbias != nullptr) sums.total(1, dbias);
}

}  // namespace

bool CpuBackend::layer_norm(View y, View mean, View rstd, View x, View weight, View bias, double eps) {
  for_float(x.dtype, "layer_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(rows_of(x), pointer<T>(y), pointer<double>(mean), pointer<double>(rstd), pointer<T>(x),
               pointer<T>(weight), pointer<T>(bias), eps);
  });
  return true;
}

bool CpuBackend::layer_norm_backward(View dx, View dweight, View dbias, View dy, View x, View mean, View rstd,
                                     View weight, Detached constants) {
  for_float(x.dtype, "layer_norm", [&]<class T>() {
    backward<T>(rows_of(x), pointer<T>(dx), pointer<T>(dweight), pointer<T>(dbias), pointer<T>(dy),
                pointer<T>(x), pointer<double>(mean), pointer<double>(rstd), pointer<T>(weight), constants);
  });
  return true;
}

}  // namespace norma
