// y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(var + eps), var the mean square of x - mean
// (Ba, Kiros, Hinton 2016, arXiv:1607.06450).  x, y: [rows, d]  weight, bias: [d]  mean, rstd: f64 [rows]
//
// Forward: two passes over a row, which stays in L1 between them: mean and centred squares, then the output.
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

/// The forward pass of one call. residual and sum: both or none.
template <class T>
struct Forward {
  Rows n;
  T *y, *sum;
  double *mean, *rstd;
  const T *x, *residual, *weight, *bias;
  double eps;

  void run() const {
    for_rows(n, [this](std::int64_t first, auto rows) {
      const T* const from = with_residual(first * n.d, rows.count * n.d, sum, x, residual);
      this->normalize(rows, y + first * n.d, from, mean + first, rstd + first);
    });
  }

  void normalize(OneRow, T* to, const T* from, double* mean_of_row, double* rstd_of_row) const {
    const Moments row = moments_of_row(from, n.d);
    *mean_of_row = row.mean;
    *rstd_of_row = 1 / std::sqrt(row.squares / row.count + eps);
    const Standard<T> x_hat(*mean_of_row, *rstd_of_row);
    write_affine(n.d, to, weight, bias, [=](std::int64_t j) { return x_hat(from[j]); });
  }

  void normalize(ShortRows rows, T* to, const T* from, double* means, double* rstds) const {
    const ShortMoments moments = moments_of(rows, from, n.d);
#pragma omp simd simdlen(4)
    for (int k = 0; k < rows.count; ++k) {
      means[k] = moments.mean[k];
      rstds[k] = 1 / std::sqrt(moments.squares[k] / static_cast<double>(n.d) + eps);
    }
    const Standards<T> x_hat(rows, means, rstds);
    write_affine(
        rows, n.d, to, weight, bias,
        [ =, d = n.d, &x_hat ](int k, std::int64_t j, auto at)
            __attribute__((always_inline)) { return x_hat(k, at.load(from + k * d + j)); });
  }
};

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
      return for_rows(n, [this](std::int64_t r, auto rows) { this->run_rows(r, rows, [](auto...) {}); });
    }
    ColumnSums<T> sums(n, 2);
    sums.for_rows([this](std::int64_t r, auto rows, T* sum) {
      this->run_rows(r, rows,
                     [=, bias_sum = sum + n.d](std::int64_t j, auto at, auto dy_x_hat, auto gradient) {
                       add_to(sum + j, at, dy_x_hat);
                       add_to(bias_sum + j, at, gradient);
                     });
    });
    if (dweight != nullptr) sums.total(0, dweight);
    if (dbias != nullptr) sums.total(1, dbias);
  }

  /// collect(j, dy * x_hat, dy) adds to the gradients of the parameters, a column or a pack at a time.
  template <class R, class Collect>
  void run_rows(std::int64_t first, R rows, Collect collect) const {
    if (dx == nullptr) return collect_rows(first, rows, collect);
    with_weight(weight, [=, this](auto g) { this->input_rows(first, rows, g, collect); });
  }

  /// Only the parameters have gradients.
  template <class Collect>
  void collect_rows(std::int64_t r, OneRow, Collect collect) const {
    along_row(n.d, [=, x_hat = Standard<T>(mean[r], rstd[r]), from = x + r * n.d, gradient = dy + r * n.d](
                       std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t j = begin; j < end; ++j)
        collect(j, AtElement(), gradient[j] * x_hat(from[j]), gradient[j]);
    });
  }

  /// By fours, as input_rows: the bits are not to depend on which gradients are wanted.
  template <class Collect>
  void collect_rows(std::int64_t first, ShortRows rows, Collect collect) const {
    const std::int64_t d = n.d;
    const Standards<T> x_hat(rows, mean + first, rstd + first);
    const T *const from = x + first * d, *const gradient = dy + first * d;
    for (int four = 0; four < rows.count; four += 4) {
      for_packs<T>(
          d, [&](std::int64_t j, auto at) __attribute__((always_inline)) {
            Pack<T> products = {}, gradients = {};
#pragma GCC unroll 4
            for (int k = four; k < four + 4; ++k) {
              const Pack<T> slope = at.load(gradient + k * d + j);
              products += slope * x_hat(k, at.load(from + k * d + j));
              gradients += slope;
            }
            collect(j, at, at.only(products), at.only(gradients));
          });
    }
  }

  /// g is held between the two passes: rounded once, so that g - mean(g) is zero where all g are equal (a row
  /// of one entry). Not in dx: its lines may lie in another core's caches, and stores that wait for them,
  /// among others, hold those up; in the second pass many are on their way at once.
  template <class G, class Collect>
  void input_rows(std::int64_t r, OneRow, G g, Collect collect) const {
    const std::int64_t d = n.d;
    const Standard<T> x_hat(mean[r], rstd[r]);
    const T *const from = x + r * d, *const gradient = dy + r * d;
    T* const to = dx + r * d;
    constexpr std::int64_t most = 1024;
    T memory[most];
    T* const held = d <= most ? memory : to;
    const auto [sum, product] = row_sums<T, 2>(d, [=](std::int64_t j, auto sum) {
      const T slope = gradient[j], value = x_hat(from[j]);
      held[j] = g(slope, j, AtElement());
      sum(0) += held[j];
      sum(1) += held[j] * value;
      collect(j, AtElement(), slope * value, slope);
    });
    const T mean_g = constants.mean ? T(0) : static_cast<T>(sum / static_cast<double>(d));
    const T mean_gx = constants.std ? T(0) : static_cast<T>(product / static_cast<double>(d));
    along_row(d, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t j = begin; j < end; ++j) {
        to[j] = x_hat.scale * (held[j] - mean_g - x_hat(from[j]) * mean_gx);
      }
    });
  }

  template <class G, class Collect>
  void input_rows(std::int64_t first, ShortRows rows, G g, Collect collect) const {
    const Standards<T> x_hat(rows, mean + first, rstd + first);
    for (int four = 0; four < rows.count; four += 4) input_four(first, four, x_hat, g, collect);
  }

  /// Rows first + four, .. + 3. Both passes multiply dy by the weight: that is less than to keep the product.
  template <class G, class Collect>
  void input_four(std::int64_t first, int four, const Standards<T>& x_hat, G g, Collect collect) const {
    const std::int64_t d = n.d;
    const T *const from = x + (first + four) * d, *const gradient = dy + (first + four) * d;
    T* const to = dx + (first + four) * d;
    Pack<T> sum[4] = {}, product[4] = {};
    for_packs<T>(
        d, [&](std::int64_t j, auto at) __attribute__((always_inline)) {
          Pack<T> products = {}, gradients = {};
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) {
            const Pack<T> slope = at.load(gradient + k * d + j);
            const Pack<T> value = x_hat(four + k, at.load(from + k * d + j));
            const Pack<T> weighted = at.only(g(slope, j, at));
            sum[k] += weighted;
            product[k] += at.only(weighted * value);
            products += slope * value;
            gradients += slope;
          }
          collect(j, at, at.only(products), at.only(gradients));
        });
    T mean_g[4], mean_gx[4];
    sum_lanes<T>(sum, mean_g);
    sum_lanes<T>(product, mean_gx);
    const double part = 1 / static_cast<double>(d);
    for (int k = 0; k < 4; ++k) {
      mean_g[k] = constants.mean ? T(0) : static_cast<T>(mean_g[k] * part);
      mean_gx[k] = constants.std ? T(0) : static_cast<T>(mean_gx[k] * part);
    }
    for_packs<T>(
        d, [&](std::int64_t j, auto at) __attribute__((always_inline)) {
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) {
            const Pack<T> value = x_hat(four + k, at.load(from + k * d + j));
            const Pack<T> weighted = g(at.load(gradient + k * d + j), j, at);
            at.store(to + k * d + j, x_hat.scale[four + k] * (weighted - mean_g[k] - value * mean_gx[k]));
          }
        });
  }
};

void run_forward(const View& y, const View& sum, const View& mean, const View& rstd, const View& x,
                 const View& residual, const View& weight, const View& bias, double eps) {
  for_float(x.dtype, "layer_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    Forward<T>{
        rows_of(x),    pointer<T>(y),        pointer<T>(sum),    pointer<double>(mean), pointer<double>(rstd),
        pointer<T>(x), pointer<T>(residual), pointer<T>(weight), pointer<T>(bias),      eps}
        .run();
  });
}

}  // namespace

bool CpuBackend::layer_norm(View y, View mean, View rstd, View x, View weight, View bias, double eps) {
  run_forward(y, {}, mean, rstd, x, {}, weight, bias, eps);
  return true;
}

bool CpuBackend::add_layer_norm(View y, View sum, View mean, View rstd, View x, View residual, View weight,
                                View bias, double eps) {
  run_forward(y, sum, mean, rstd, x, residual, weight, bias, eps);
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
