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

/// The forward pass of one call. residual and sum: both or none.
template <class T>
struct Forward {
  Rows n;
  T *y, *sum;
  double* rstd;
  const T *x, *residual, *weight;
  double eps;
  bool inside;
  std::int64_t counted;

  void run() const {
    for_rows(n, [this](std::int64_t first, auto rows) {
      const T* const from = with_residual(first * n.d, rows.count * n.d, sum, x, residual);
      this->normalize(rows, y + first * n.d, from, rstd + first);
    });
  }

  double rstd_of(double squares) const {
    const double square = squares / static_cast<double>(counted);
    return inside ? 1 / std::sqrt(square + eps) : 1 / (std::sqrt(square) + eps);
  }

  void normalize(OneRow, T* to, const T* from, double* rstd_of_row) const {
    *rstd_of_row = rstd_of(squares_of(from, counted));
    write_affine<T>(n.d, to, weight, nullptr,
                    [=, scale = static_cast<T>(*rstd_of_row)](std::int64_t j) { return from[j] * scale; });
  }

  void normalize(ShortRows rows, T* to, const T* from, double* rstds) const {
    PerRow<double> squares;
    if (counted == n.d) {
      squares_of(rows, from, n.d, squares);
    } else {
      for (int k = 0; k < rows.count; ++k) squares[k] = squares_of(from + k * n.d, counted);
    }
#pragma omp simd
    for (int k = 0; k < rows.count; ++k) rstds[k] = rstd_of(squares[k]);
    PerRow<T> scale;
    for (int k = 0; k < rows.count; ++k) scale[k] = static_cast<T>(rstds[k]);
    write_affine<T>(
        rows, n.d, to, weight, nullptr,
        [ =, d = n.d, &scale ](int k, std::int64_t j, auto at)
            __attribute__((always_inline)) { return at.load(from + k * d + j) * scale[k]; });
  }
};

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
      return for_rows(n, [this](std::int64_t r, auto rows) { this->run_rows(r, rows, [](auto...) {}); });
    }
    ColumnSums<T> sums(n, 1);
    sums.for_rows([this](std::int64_t r, auto rows, T* sum) {
      this->run_rows(r, rows, [=](std::int64_t j, auto at, auto dy_x_hat) { add_to(sum + j, at, dy_x_hat); });
    });
    sums.total(0, dweight);
  }

  /// collect(j, dy * x_hat) adds to the gradient of the weight, a column or a pack at a time.
  template <class R, class Collect>
  void run_rows(std::int64_t first, R rows, Collect collect) const {
    if (dx == nullptr) return collect_rows(first, rows, collect);
    with_weight(weight, [=, this](auto g) { this->input_rows(first, rows, g, collect); });
  }

  /// Only the weight has a gradient.
  template <class Collect>
  void collect_rows(std::int64_t r, OneRow, Collect collect) const {
    along_row(n.d, [=, scale = static_cast<T>(rstd[r]), from = x + r * n.d, gradient = dy + r * n.d](
                       std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t j = begin; j < end; ++j) collect(j, AtElement(), gradient[j] * (from[j] * scale));
    });
  }

  /// Grouped as in input_rows: the bits are not to depend on which gradients are wanted.
  template <class Collect>
  void collect_rows(std::int64_t first, ShortRows rows, Collect collect) const {
    if (counted != n.d) {
      for (int k = 0; k < rows.count; ++k) collect_rows(first + k, OneRow(), collect);
      return;
    }
    for (std::int64_t four = first; four < first + rows.count; four += 4) {
      for_packs<T>(
          n.d, [&, d = n.d ](std::int64_t j, auto at) __attribute__((always_inline)) {
            Pack<T> products = {};
#pragma GCC unroll 4
            for (std::int64_t r = four; r < four + 4; ++r) {
              products += at.load(dy + r * d + j) * (at.load(x + r * d + j) * static_cast<T>(rstd[r]));
            }
            collect(j, at, at.only(products));
          });
    }
  }

  double factor_of(std::int64_t r) const {
    return (inside ? 1 : outside_factor(rstd[r], eps)) / static_cast<double>(counted);
  }

  template <class G, class Collect>
  void input_rows(std::int64_t r, OneRow, G g, Collect collect) const {
    const std::int64_t d = n.d;
    const T *const from = x + r * d, *const gradient = dy + r * d;
    T* const to = dx + r * d;
    const T scale = static_cast<T>(rstd[r]);
    const double sum = row_sums<T>(d, [=](std::int64_t j, auto sums) {
      const T slope = gradient[j], value = from[j] * scale;
      sums(0) += g(slope, j, AtElement()) * value;
      collect(j, AtElement(), slope * value);
    })[0];
    const T second = static_cast<T>(sum * factor_of(r));
    along_row(d, [=, counted = counted](std::int64_t begin, std::int64_t end) {
      const std::int64_t middle = std::clamp(counted, begin, end);
#pragma omp simd
      for (std::int64_t j = begin; j < middle; ++j) {
        to[j] = scale * (g(gradient[j], j, AtElement()) - from[j] * scale * second);
      }
#pragma omp simd
      for (std::int64_t j = middle; j < end; ++j) to[j] = scale * g(gradient[j], j, AtElement());
    });
  }

  template <class G, class Collect>
  void input_rows(std::int64_t first, ShortRows rows, G g, Collect collect) const {
    if (counted == n.d) {
      for (int k = 0; k < rows.count; k += 4) input_four(first + k, g, collect);
    } else {
      for (int k = 0; k < rows.count; ++k) input_rows(first + k, OneRow(), g, collect);
    }
  }

  template <class G, class Collect>
  void input_four(std::int64_t first, G g, Collect collect) const {
    const std::int64_t d = n.d;
    const T *const from = x + first * d, *const gradient = dy + first * d;
    T* const to = dx + first * d;
    T scale[4], second[4];
    for (int k = 0; k < 4; ++k) scale[k] = static_cast<T>(rstd[first + k]);
    Pack<T> sum[4] = {};
    for_packs<T>(
        d, [&](std::int64_t j, auto at) __attribute__((always_inline)) {
          Pack<T> products = {};
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) {
            const Pack<T> slope = at.load(gradient + k * d + j), value = at.load(from + k * d + j) * scale[k];
            sum[k] += at.only(g(slope, j, at) * value);
            products += slope * value;
          }
          collect(j, at, at.only(products));
        });
    sum_lanes<T>(sum, second);
    for (int k = 0; k < 4; ++k) second[k] = static_cast<T>(second[k] * factor_of(first + k));
    for_packs<T>(
        d, [&](std::int64_t j, auto at) __attribute__((always_inline)) {
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) {
            const Pack<T> weighted = g(at.load(gradient + k * d + j), j, at);
            at.store(to + k * d + j,
                     scale[k] * (weighted - at.load(from + k * d + j) * scale[k] * second[k]));
          }
        });
  }
};

}  // namespace

bool CpuBackend::rms_norm(View y, View rstd, View x, View weight, double eps, bool inside,
                          std::int64_t counted) {
  for_float(x.dtype, "rms_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    Forward<T>{
        rows_of(x), pointer<T>(y), nullptr, pointer<double>(rstd), pointer<T>(x), nullptr, pointer<T>(weight),
        eps,        inside,        counted}
        .run();
  });
  return true;
}

bool CpuBackend::add_rms_norm(View y, View sum, View rstd, View x, View residual, View weight, double eps,
                              bool inside) {
  for_float(x.dtype, "rms_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    Forward<T>{rows_of(x),
               pointer<T>(y),
               pointer<T>(sum),
               pointer<double>(rstd),
               pointer<T>(x),
               pointer<T>(residual),
               pointer<T>(weight),
               eps,
               inside,
               x.shape[1]}
        .run();
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
