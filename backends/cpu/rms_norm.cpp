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
#include <array>
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/moments.h"
#include "backends/cpu/rows.h"

namespace norma {

namespace {

/// residual and sum: both or none.
template <class T>
void forward(Rows n, T* y, T* sum, double* rstd, const T* x, const T* residual, const T* weight, double eps,
             bool inside, std::int64_t counted) {
  const T* const in = residual != nullptr ? sum : x;
  for_rows(n, [=, d = n.d]<int count>(std::int64_t first, RowsAtOnce<count>) {
    for (std::int64_t r = first; r < first + count; ++r) {
      if (residual != nullptr) add_row(d, sum + r * d, x + r * d, residual + r * d);
    }
    const auto squares = sums_of_squares_of<count>(in + first * d, d, counted);
    for (int k = 0; k < count; ++k) {
      const double square = squares[static_cast<std::size_t>(k)] / static_cast<double>(counted);
      rstd[first + k] = inside ? 1 / std::sqrt(square + eps) : 1 / (std::sqrt(square) + eps);
    }
    for (std::int64_t r = first; r < first + count; ++r) {
      write_affine<T>(
          d, y + r * d, weight, nullptr,
          [row = in + r * d, scale = static_cast<T>(rstd[r])](std::int64_t j) { return row[j] * scale; });
    }
  });
}

/// The backward pass of one call.
template <class T>
struct Backward {
  Rows n;
  T* dx;
  const T *dy, *x, *weight;
  const double* rstd;
  double eps;
  bool inside;
  std::int64_t counted;

  void run(T* dweight) const {
    if (dweight == nullptr) {
      return for_rows(n,
                      [this](std::int64_t r, auto rows) { this->run_rows(r, rows, [](std::int64_t, T) {}); });
    }
    ColumnSums<T> sums(n, 1);
    sums.for_rows([this](std::int64_t r, auto rows, T* sum) {
      this->run_rows(r, rows, [=](std::int64_t j, T dy_x_hat) { sum[j] += dy_x_hat; });
    });
    sums.total(0, dweight);
  }

  template <int count, class Collect>
  void run_rows(std::int64_t first, RowsAtOnce<count>, Collect collect) const {
    if (dx == nullptr) return collect_rows<count>(first, collect);
    with_weight(weight, [=, this](auto g) { this->template input_rows<count>(first, g, collect); });
  }

  template <int count>
  std::array<T, count> scales(std::int64_t first) const {
    std::array<T, count> scale;
    for (int k = 0; k < count; ++k) scale[std::size_t(k)] = static_cast<T>(rstd[first + k]);
    return scale;
  }

  /// Only the weight has a gradient.
  template <int count, class Collect>
  void collect_rows(std::int64_t first, Collect collect) const {
    along_row(n.d, [=, d = n.d, scale = scales<count>(first), from = x + first * n.d,
                    gradient = dy + first * n.d](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t j = begin; j < end; ++j) {
        T products = 0;
#pragma GCC unroll 4
        for (int k = 0; k < count; ++k) {
          products += gradient[k * d + j] * (from[k * d + j] * scale[std::size_t(k)]);
        }
        collect(j, products);
      }
    });
  }

  /// g(dy, j) is dy * weight; collect(j, dy * x_hat) adds to the gradient of the weight.
  template <int count, class G, class Collect>
  void input_rows(std::int64_t first, G g, Collect collect) const {
    const std::int64_t d = n.d;
    const auto scale = scales<count>(first);
    const T *const from = x + first * d, *const gradient = dy + first * d;
    const auto sums = row_sums<T, count>(d, [=](std::int64_t j, auto sum) {
      T products = 0;
#pragma GCC unroll 4
      for (int k = 0; k < count; ++k) {
        const T slope = gradient[k * d + j], value = from[k * d + j] * scale[std::size_t(k)];
        sum(k) += g(slope, j) * value;
        products += slope * value;
      }
      collect(j, products);
    });
    for (int k = 0; k < count; ++k) {
      const double factor = inside ? 1 : outside_factor(rstd[first + k], eps);
      write_row(dx + (first + k) * d, gradient + k * d, from + k * d, scale[std::size_t(k)],
                static_cast<T>(sums[std::size_t(k)] / static_cast<double>(counted) * factor), g);
    }
  }

  template <class G>
  void write_row(T* to, const T* gradient, const T* from, T scale, T second, G g) const {
    along_row(n.d, [=, counted = counted](std::int64_t begin, std::int64_t end) {
      const std::int64_t middle = std::clamp(counted, begin, end);
#pragma omp simd
      for (std::int64_t j = begin; j < middle; ++j) {
        to[j] = scale * (g(gradient[j], j) - from[j] * scale * second);
      }
#pragma omp simd
      for (std::int64_t j = middle; j < end; ++j) to[j] = scale * g(gradient[j], j);
    });
  }
};

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
    const Backward<T> backward{
        rows_of(x), pointer<T>(dx), pointer<T>(dy), pointer<T>(x), pointer<T>(weight), pointer<double>(rstd),
        eps,        inside,         counted};
    backward.run(pointer<T>(dweight));
  });
  return true;
}

}  // namespace norma
