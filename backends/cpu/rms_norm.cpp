// y = x * rstd * weight (Zhang, Sennrich 2019, arXiv:1910.07467).  x, y: [rows, d]  weight: [d]  rstd: f64
// [rows]
//   inside:  rstd = 1 / sqrt(mean(x^2) + eps)      outside:  rstd = 1 / (R + eps),  R = sqrt(mean(x^2))
// With a residual, x + residual takes the place of x and is also an output.
// Backward, with g = dy * weight and x_hat = x * rstd:
//   dx = rstd * (g - x_hat * mean(g * x_hat) * q),  q = 1 inside, 1 / (rstd R) outside (0 where R = 0)
//   dweight = sum over rows of dy * x_hat
// Partial (section 5 of the paper): R is the root mean square of the first k = `counted` entries of a row;
// then
//   dx_i = rstd * (g_i - [i < k] x_hat_i * sum(g * x_hat) / k * q).
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/moments.h"
#include "backends/cpu/rows.h"

namespace norma {

namespace {

template <class T>
void forward_row(std::int64_t d, T* y, double& rstd, const T* x, const T* weight, double eps, bool inside,
                 std::int64_t counted) {
  const double square = sum_of_squares_of(x, counted) / static_cast<double>(counted);
  rstd = inside ? 1 / std::sqrt(square + eps) : 1 / (std::sqrt(square) + eps);
  write_affine<T>(d, y, weight, nullptr,
                  [x, scale = static_cast<T>(rstd)](std::int64_t j) { return x[j] * scale; });
}

/// residual and sum: both or none.
template <class T>
void forward(Rows n, T* y, T* sum, double* rstd, const T* x, const T* residual, const T* weight, double eps,
             bool inside, std::int64_t counted) {
  for_each_row(n, [=](std::int64_t r) {
    const std::int64_t at = r * n.d;
    if (residual != nullptr) add_row(n.d, sum + at, x + at, residual + at);
    forward_row(n.d, y + at, rstd[r], residual != nullptr ? sum + at : x + at, weight, eps, inside, counted);
  });
}

/// g(j) is dy * weight; collect(j, x_hat) adds to the gradient of the weight.
template <class T, class G, class Collect>
void backward_row(std::int64_t d, std::int64_t counted, T* dx, const T* x, double rstd, double factor, G g,
                  Collect collect) {
  const T scale = static_cast<T>(rstd);
  const double sum = row_sum<T>(d, [=](std::int64_t j) {
    const T x_hat = x[j] * scale;
    collect(j, x_hat);
    return g(j) * x_hat;
  });
  const T second = static_cast<T>(sum / static_cast<double>(counted) * factor);
  along_row(d, [=](std::int64_t begin, std::int64_t end) {
    const std::int64_t middle = std::clamp(counted, begin, end);
#pragma omp simd
    for (std::int64_t j = begin; j < middle; ++j) dx[j] = scale * (g(j) - x[j] * scale * second);
#pragma omp simd
    for (std::int64_t j = middle; j < end; ++j) dx[j] = scale * g(j);
  });
}

template <class T>
void backward(Rows n, T* dx, T* dweight, const T* dy, const T* x, const double* rstd, const T* weight,
              double eps, bool inside, std::int64_t counted) {
  const auto row = [=](std::int64_t r, auto collect) {
    const T* x_row = x + r * n.d;
    if (dx == nullptr) {
      const T scale = static_cast<T>(rstd[r]);
      return collect_row(
          n.d, [=](std::int64_t j) { return x_row[j] * scale; }, collect);
    }
    with_weighted(dy + r * n.d, weight, [=](auto g) {
      backward_row(n.d, counted, dx + r * n.d, x_row, rstd[r], inside ? 1 : outside_factor(rstd[r], eps), g,
                   collect);
    });
  };
  if (dweight == nullptr) {
    return for_each_row(n, [=](std::int64_t r) { row(r, [](std::int64_t, T) {}); });
  }
  ColumnSums<T> sums(n, 1);
  sums.for_each_row([=](std::int64_t r, T* sum) {
    row(r, [=, dy_row = dy + r * n.d](std::int64_t j, T x_hat) { sum[j] += dy_row[j] * x_hat; });
  });
  sums.total(0, dweight);
}

}  // namespace

bool CpuBackend::rms_norm(View y, View rstd, View x, View weight, double eps, bool inside,
                          std::int64_t counted) {
  for_float(x.dtype, "rms_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(rows_of(x), pointer<T>(y), nullptr, pointer<double>(rstd), pointer<T>(x), nullptr,
               pointer<T>(weight), eps, inside, counted);
  });
  return true;
}

bool CpuBackend::add_rms_norm(View y, View sum, View rstd, View x, View residual, View weight, double eps,
                              bool inside) {
  for_float(x.dtype, "rms_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(rows_of(x), pointer<T>(y), pointer<T>(sum), pointer<double>(rstd), pointer<T>(x),
               pointer<T>(residual), pointer<T>(weight), eps, inside, x.shape[1]);
  });
  return true;
}

bool CpuBackend::rms_norm_backward(View dx, View dweight, View dy, View x, View rstd, View weight, double eps,
                                   bool inside, std::int64_t counted) {
  for_float(x.dtype, "rms_norm", [&]<class T>() {
    backward<T>(rows_of(x), pointer<T>(dx), pointer<T>(dweight), pointer<T>(dy), pointer<T>(x),
                pointer<double>(rstd), pointer<T>(weight), eps, inside, counted);
  });
  return true;
}

}  // namespace norma
