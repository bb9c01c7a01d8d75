// y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(var + eps), var the mean square of x - mean
// (Ba, Kiros, Hinton 2016, arXiv:1607.06450).  x, y: [rows, d]  weight, bias: [d]  mean, rstd: f64 [rows]
//
// Forward: three passes over a row, which stays in L1 between them: mean in f64, centred squares, output.
// With a residual one more in front, x + residual, which is also an output. Backward, with g = dy * weight
// and x_hat = (x - mean) * rstd:
//   dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat)),  dweight = sum over rows of dy * x_hat,  dbias = sum
//   of dy. A detached mean drops the second term of dx, a detached deviation the third. Two passes over a
//   row: sums along it and down the columns, then dx.
#include <array>
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/moments.h"
#include "backends/cpu/rows.h"

namespace norma {

namespace {

/// residual and sum: both or none.
template <class T>
void forward(Rows n, T* y, T* sum, double* mean, double* rstd, const T* x, const T* residual, const T* weight,
             const T* bias, double eps) {
  const T* const in = residual != nullptr ? sum : x;
  for_rows(n, [=, d = n.d]<int count>(std::int64_t first, RowsAtOnce<count>) {
    for (std::int64_t r = first; r < first + count; ++r) {
      if (residual != nullptr) add_row(d, sum + r * d, x + r * d, residual + r * d);
    }
    const std::array<Moments, count> moments = moments_of_rows<count>(in + first * d, d);
    for (int k = 0; k < count; ++k) {
      const Moments& row = moments[static_cast<std::size_t>(k)];
      mean[first + k] = row.mean;
      rstd[first + k] = 1 / std::sqrt(row.squares / row.count + eps);
    }
    for (std::int64_t r = first; r < first + count; ++r) {
      const Standard<T> x_hat(mean[r], rstd[r]);
      write_affine(d, y + r * d, weight, bias,
                   [=, row = in + r * d](std::int64_t j) { return x_hat(row[j]); });
    }
  });
}

/// The backward pass of one call.
template <class T>
struct Backward {
  Rows n;
  T* dx;
  const T *dy, *x, *weight;
  const double *mean, *rstd;
  Detached constants;

  void run(T* dweight, T* dbias) const {
    if (dweight == nullptr && dbias == nullptr) {
      return for_rows(
          n, [this](std::int64_t r, auto rows) { this->run_rows(r, rows, [](std::int64_t, T, T) {}); });
    }
    ColumnSums<T> sums(n, 2);
    sums.for_rows([this](std::int64_t r, auto rows, T* sum) {
      this->run_rows(r, rows, [=, bias_sum = sum + n.d](std::int64_t j, T dy_x_hat, T gradient) {
        sum[j] += dy_x_hat;
        bias_sum[j] += gradient;
      });
    });
    if (dweight != nullptr) sums.total(0, dweight);
    if (dbias != nullptr) sums.total(1, dbias);
  }

  template <int count, class Collect>
  void run_rows(std::int64_t first, RowsAtOnce<count>, Collect collect) const {
    if (dx == nullptr) return collect_rows<count>(first, collect);
    with_weight(weight, [=, this](auto g) { this->template input_rows<count>(first, g, collect); });
  }

  template <int count>
  std::array<Standard<T>, count> standards(std::int64_t first) const {
    std::array<Standard<T>, count> x_hat;
    for (int k = 0; k < count; ++k) x_hat[std::size_t(k)] = Standard<T>(mean[first + k], rstd[first + k]);
    return x_hat;
  }

  /// Only the parameters have gradients.
  template <int count, class Collect>
  void collect_rows(std::int64_t first, Collect collect) const {
    along_row(n.d, [=, d = n.d, x_hat = standards<count>(first), from = x + first * n.d,
                    gradient = dy + first * n.d](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t j = begin; j < end; ++j) {
        T products = 0, gradients = 0;
#pragma GCC unroll 4
        for (int k = 0; k < count; ++k) {
          products += gradient[k * d + j] * x_hat[std::size_t(k)](from[k * d + j]);
          gradients += gradient[k * d + j];
        }
        collect(j, products, gradients);
      }
    });
  }

  /// g(dy, j) is dy * weight; collect(j, dy * x_hat, dy) adds to the gradients of the parameters. dx holds g
  /// between the two passes: rounded once, so that g - mean(g) is zero where all g are equal (a row of one
  /// entry).
  template <int count, class G, class Collect>
  void input_rows(std::int64_t first, G g, Collect collect) const {
    const std::int64_t d = n.d;
    const auto x_hat = standards<count>(first);
    const T *const from = x + first * d, *const gradient = dy + first * d;
    T* const to = dx + first * d;
    const auto sums = row_sums<T, 2 * count>(d, [=](std::int64_t j, auto sum) {
      T products = 0, gradients = 0;
#pragma GCC unroll 4
      for (int k = 0; k < count; ++k) {
        const T slope = gradient[k * d + j], value = x_hat[std::size_t(k)](from[k * d + j]);
        const T weighted = g(slope, j);
        to[k * d + j] = weighted;
        sum(2 * k) += weighted;
        sum(2 * k + 1) += weighted * value;
        products += slope * value;
        gradients += slope;
      }
      collect(j, products, gradients);
    });
    const double part = 1 / static_cast<double>(d);
    for (int k = 0; k < count; ++k) {
      const T mean_g = constants.mean ? T(0) : static_cast<T>(sums[std::size_t(2 * k)] * part);
      const T mean_gx = constants.std ? T(0) : static_cast<T>(sums[std::size_t(2 * k + 1)] * part);
      along_row(d, [=, x_hat = x_hat[std::size_t(k)], row = from + k * d, dx_row = to + k * d](
                       std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t j = begin; j < end; ++j) {
          dx_row[j] = x_hat.scale * (dx_row[j] - mean_g - x_hat(row[j]) * mean_gx);
        }
      });
    }
  }
};

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
    const Backward<T> backward{
        rows_of(x),         pointer<T>(dx),        pointer<T>(dy),        pointer<T>(x),
        pointer<T>(weight), pointer<double>(mean), pointer<double>(rstd), constants};
    backward.run(pointer<T>(dweight), pointer<T>(dbias));
  });
  return true;
}

}  // namespace norma
