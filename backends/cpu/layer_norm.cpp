// y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(var + eps), var the mean square of x - mean
// (Ba, Kiros, Hinton 2016, arXiv:1607.06450).  x, y: [rows, d]  weight, bias: [d]  mean, rstd: f64 [rows]
//
// Forward: three passes over a row, which stays in L1 between them: mean in f64, centred squares, output.
// With a residual one more in front, x + residual, which is also an output. Backward, with g = dy * weight
// and x_hat = (x - mean) * rstd:
//   dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat)),  dweight = sum over rows of dy * x_hat,  dbias = sum
//   of dy. A detached mean drops the second term of dx, a detached deviation the third. Two passes over a
//   row: sums along it and down the columns, then dx.
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/moments.h"
#include "backends/cpu/rows.h"

namespace norma {

namespace {

/// x_hat of a row, element by element.
template <class T>
auto normalized(const T* x, double mean, double rstd) {
  return [x, centre = Centre<T>(mean), scale = static_cast<T>(rstd)](std::int64_t j) {
    return centre(x[j]) * scale;
  };
}

template <class T>
void forward_row(std::int64_t d, T* y, double& mean, double& rstd, const T* x, const T* weight, const T* bias,
                 double eps) {
  mean = mean_of(x, d);
  rstd = 1 / std::sqrt(variance_of(x, d, mean) + eps);
  write_affine(d, y, weight, bias, normalized(x, mean, rstd));
}

/// residual and sum: both or none.
template <class T>
void forward(Rows n, T* y, T* sum, double* mean, double* rstd, const T* x, const T* residual, const T* weight,
             const T* bias, double eps) {
  for_each_row(n, [=](std::int64_t r) {
    const std::int64_t at = r * n.d;
    if (residual != nullptr) add_row(n.d, sum + at, x + at, residual + at);
    forward_row(n.d, y + at, mean[r], rstd[r], residual != nullptr ? sum + at : x + at, weight, bias, eps);
  });
}

/// g(j) is dy * weight; collect(j, x_hat) adds to the gradients of the parameters. dx holds g between the two
/// passes: rounded once, so that g - mean(g) is zero where all g are equal (a row of one entry).
template <class T, class G, class Collect>
void backward_row(std::int64_t d, T* dx, const T* x, double mean, double rstd, Detached constants, G g,
                  Collect collect) {
  const auto x_hat = normalized(x, mean, rstd);
  const auto sums = row_sums<T>(d, [=](std::int64_t j, T& a, T& b) {
    const T slope = g(j), value = x_hat(j);
    dx[j] = slope;
    a += slope;
    b += slope * value;
    collect(j, value);
  });
  const T mean_g = constants.mean ? T(0) : static_cast<T>(sums.first / static_cast<double>(d));
  const T mean_gx = constants.std ? T(0) : static_cast<T>(sums.second / static_cast<double>(d));
  along_row(d, [=, scale = static_cast<T>(rstd)](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t j = begin; j < end; ++j) dx[j] = scale * (dx[j] - mean_g - x_hat(j) * mean_gx);
  });
}

template <class T>
void backward(Rows n, T* dx, T* dweight, T* dbias, const T* dy, const T* x, const double* mean,
              const double* rstd, const T* weight, Detached constants) {
  const auto row = [=](std::int64_t r, auto collect) {
    if (dx == nullptr) return collect_row(n.d, normalized(x + r * n.d, mean[r], rstd[r]), collect);
    with_weighted(dy + r * n.d, weight, [=](auto g) {
      backward_row(n.d, dx + r * n.d, x + r * n.d, mean[r], rstd[r], constants, g, collect);
    });
  };
  if (dweight == nullptr && dbias == nullptr) {
    return for_each_row(n, [=](std::int64_t r) { row(r, [](std::int64_t, T) {}); });
  }
  ColumnSums<T> sums(n, 2);
  sums.for_each_row([=](std::int64_t r, T* sum) {
    row(r, [=, dy_row = dy + r * n.d, bias_sum = sum + n.d](std::int64_t j, T x_hat) {
      sum[j] += dy_row[j] * x_hat;
      bias_sum[j] += dy_row[j];
    });
  });
  if (dweight != nullptr) sums.total(0, dweight);
  if (dbias != nullptr) sums.total(1, dbias);
}

}  // namespace

bool CpuBackend::layer_norm(View y, View mean, View rstd, View x, View weight, View bias, double eps) {
  return add_layer_norm(y, {}, mean, rstd, x, {}, weight, bias, eps);
}

bool CpuBackend::add_layer_norm(View y, View sum, View mean, View rstd, View x, View residual, View weight,
                                View bias, double eps) {
  for_float(x.dtype, "layer_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(rows_of(x), pointer<T>(y), pointer<T>(sum), pointer<double>(mean), pointer<double>(rstd),
               pointer<T>(x), pointer<T>(residual), pointer<T>(weight), pointer<T>(bias), eps);
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
