// Normalization of rows by mean and deviation, forward and with respect to x: layer norm and group norm,
// which differ in where the parameters of an element are (Places: ByColumn, ByChannel).
//   y = (x - mean) * rstd * weight + bias;  with g = dy * weight, x_hat = (x - mean) * rstd:
//   dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat))
//
// Forward: mean (f64), centred squares, output: three passes, of which the first alone reads the device's
// memory where the row fits the shared one (8192 f32; longer rows come from the cache). With a residual the
// first pass writes x + residual. Backward: sums, then dx; g is rounded once, into shared memory or dx, so
// that g - mean(g) is zero where all g are equal. Bytes of an element, forward: 2 sizeof(T); with a residual
// 4 sizeof(T); backward 3 sizeof(T).
#pragma once

#include "backends/cuda/long_rows.cuh"
#include "backends/cuda/rows.cuh"

namespace norma {

/// residual and sum: both or none.
template <class T, int Threads, int Width, class Places>
__global__ void __launch_bounds__(Team<Threads>::block_size, blocks_held(Team<Threads>::block_size))
    normalize_rows(Rows n, Places places, T* y, T* sum, double* mean, double* rstd, const T* x,
                   const T* residual, const T* weight, const T* bias, double eps, bool is_staged) {
  NORMA_DYNAMIC_SHARED(T, shared);
  using Row = Team<Threads>;
  const std::int64_t r = Row::row(), at = r * n.d;
  if (r >= n.rows) return;
  T* const stage = staged_rows(shared, n.d, 1);
  const T* const row = is_staged ? stage : (residual != nullptr ? sum : x) + at;

  const T first = residual != nullptr ? x[at] + residual[at] : x[at];
  const double origin = static_cast<double>(first);
  double total = 0;
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    const auto pack = load_sum<Width>(sum + at, x + at, residual == nullptr ? nullptr : residual + at, j);
    if (is_staged) store(stage + j, pack);
#pragma unroll
    for (int k = 0; k < Width; ++k) total += mean_term(pack.values[k], origin);
  });
  const double d = static_cast<double>(n.d), centre_of_row = mean_from<T>(Row::sum(total), d, origin);
  const Centre<T> centre(centre_of_row);
  double squares = 0;
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    const auto pack = load<Width>(row + j);
    T partial = 0;
#pragma unroll
    for (int k = 0; k < Width; ++k) partial += centre(pack.values[k]) * centre(pack.values[k]);
    squares += static_cast<double>(partial);
  });
  squares = Row::sum(squares);
  if (!is_safe_square<T>(squares)) squares = exact_squares<T, Threads, Width>(n.d, n.d, row, centre_of_row);
  const double deviation = 1 / std::sqrt(squares / d + eps);
  if (Row::is_first()) mean[r] = centre_of_row, rstd[r] = deviation;

  const T scale = static_cast<T>(deviation);
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    auto pack = load<Width>(row + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) pack.values[k] = centre(pack.values[k]) * scale;
    apply_affine(pack, places, weight, bias, r, j);
    store(y + at + j, pack);
  });
}

template <class T, int Threads, int Width, class Places>
__global__ void __launch_bounds__(Team<Threads>::block_size, blocks_held(Team<Threads>::block_size))
    normalize_rows_backward(Rows n, Places places, T* dx, const T* dy, const T* x, const double* mean,
                            const double* rstd, const T* weight, bool mean_is_constant,
                            bool deviation_is_constant, bool is_staged) {
  NORMA_DYNAMIC_SHARED(T, shared);
  using Row = Team<Threads>;
  const std::int64_t r = Row::row(), at = r * n.d;
  if (r >= n.rows) return;
  T* const stage = staged_rows(shared, n.d, 2);
  T* const slopes = is_staged ? stage : dx + at;  // g
  const T* const row = is_staged ? stage + n.d : x + at;
  const Centre<T> centre(mean[r]);
  const T scale = static_cast<T>(rstd[r]);

  double sum = 0, product = 0;
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    auto g = load<Width>(dy + at + j);
    const auto pack = load<Width>(x + at + j);
    apply_affine<Places, Width, T>(g, places, weight, nullptr, r, j);
    store(slopes + j, g);
    if (is_staged) store(stage + n.d + j, pack);
    T a = 0, b = 0;
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      a += g.values[k];
      b += g.values[k] * (centre(pack.values[k]) * scale);
    }
    sum += static_cast<double>(a), product += static_cast<double>(b);
  });
  Row::sum(sum, product);
  const double d = static_cast<double>(n.d);
  const T mean_g = mean_is_constant ? T(0) : static_cast<T>(sum / d);
  const T mean_gx = deviation_is_constant ? T(0) : static_cast<T>(product / d);
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    auto g = load<Width>(slopes + j);
    const auto pack = load<Width>(row + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      g.values[k] = scale * (g.values[k] - mean_g - centre(pack.values[k]) * scale * mean_gx);
    }
    store(dx + at + j, g);
  });
}

template <class T, class Places>
void launch_normalize_rows(cudaStream_t stream, Rows n, const Places& places, T* y, T* sum, double* mean,
                           double* rstd, const T* x, const T* residual, const T* weight, const T* bias,
                           double eps) {
  if (are_long(n)) {
    if (residual != nullptr)
      launch_flat(add_elements<T>, n.rows * n.d, stream, n.rows * n.d, sum, x, residual);
    return launch_normalize_long_rows(stream, n, places, y, mean, rstd, residual != nullptr ? sum : x, weight,
                                      bias, eps);
  }
  with_team<T>(n.d, walks_packs<T>(n.d, y, sum, x, residual, weight, bias), [&]<int Threads, int Width>() {
    const std::size_t bytes = staged_bytes<T, Threads>(n.d, 1);
    launch(normalize_rows<T, Threads, Width, Places>, Team<Threads>::grid(n.rows), Team<Threads>::block(),
           bytes, stream, n, places, y, sum, mean, rstd, x, residual, weight, bias, eps, bytes > 0);
  });
}

template <class T, class Places>
void launch_normalize_rows_backward(cudaStream_t stream, Rows n, const Places& places, T* dx, const T* dy,
                                    const T* x, const double* mean, const double* rstd, const T* weight,
                                    Detached constants) {
  if (are_long(n)) {
    return launch_normalize_long_rows_backward(stream, n, places, dx, dy, x, mean, rstd, weight, constants);
  }
  with_team<T>(n.d, walks_packs<T>(n.d, dx, dy, x, weight), [&]<int Threads, int Width>() {
    const std::size_t bytes = staged_bytes<T, Threads>(n.d, 2);
    launch(normalize_rows_backward<T, Threads, Width, Places>, Team<Threads>::grid(n.rows),
           Team<Threads>::block(), bytes, stream, n, places, dx, dy, x, mean, rstd, weight, constants.mean,
           constants.std, bytes > 0);
  });
}

}  // namespace norma
