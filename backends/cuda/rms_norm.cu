// y = x * rstd * weight (Zhang, Sennrich 2019, arXiv:1910.07467).  x, y: [rows, d]  weight: [d]  rstd: f64
// [rows]
//   inside:  rstd = 1 / sqrt(mean(x^2) + eps)      outside:  rstd = 1 / (R + eps),  R = sqrt(mean(x^2))
// With a residual, x + residual takes the place of x and is also an output.
// Backward, with g = dy * weight and x_hat = x * rstd, the mean over the first k = `counted` entries:
//   dx_i = rstd * (g_i - [i < k] x_hat_i * sum(g * x_hat) / k * q),  q = 1 inside, 1 / (rstd R) outside
//   dweight = sum over rows of dy * x_hat
//
// Forward: squares, then the output from the copy of the row in shared memory, or from the cache. Backward:
// the sum, then dx, likewise; dweight is a sum over columns (channel_sums.cuh). Bytes of an element, forward:
// 2 sizeof(T), with a residual 4 sizeof(T); dx 3 sizeof(T); dweight 2 sizeof(T).
#include "backends/cuda/channel_sums.cuh"
#include "backends/cuda/cuda_backend.h"

namespace norma {

namespace {

/// residual and sum: both or none.
template <class T, int Threads, int Width>
__global__ void __launch_bounds__(Team<Threads>::block_size, blocks_held(Team<Threads>::block_size))
    rms_norm_rows(Rows n, T* y, T* sum, double* rstd, const T* x, const T* residual, const T* weight,
                  double eps, bool inside, std::int64_t counted, bool is_staged) {
  NORMA_DYNAMIC_SHARED(T, shared);
  using Row = Team<Threads>;
  const std::int64_t r = Row::row(), at = r * n.d;
  if (r >= n.rows) return;
  T* const stage = staged_rows(shared, n.d, 1);
  const T* const row = is_staged ? stage : (residual != nullptr ? sum : x) + at;

  double squares = 0;
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    const auto pack = load_sum<Width>(sum + at, x + at, residual == nullptr ? nullptr : residual + at, j);
    if (is_staged) store(stage + j, pack);
    T partial = 0;
#pragma unroll
    for (int k = 0; k < Width; ++k) partial += j + k < counted ? pack.values[k] * pack.values[k] : T(0);
    squares += static_cast<double>(partial);
  });
  squares = Row::sum(squares);
  if (!is_safe_square<T>(squares)) squares = exact_squares<T, Threads, Width>(n.d, counted, row);
  const double mean = squares / static_cast<double>(counted);
  const double inverse = inside ? 1 / std::sqrt(mean + eps) : 1 / (std::sqrt(mean) + eps);
  if (Row::is_first()) rstd[r] = inverse;

  const T scale = static_cast<T>(inverse);
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    auto pack = load<Width>(row + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) pack.values[k] *= scale;
    apply_affine<ByColumn, Width, T>(pack, ByColumn(), weight, nullptr, r, j);
    store(y + at + j, pack);
  });
}

template <class T, int Threads, int Width>
__global__ void __launch_bounds__(Team<Threads>::block_size, blocks_held(Team<Threads>::block_size))
    rms_norm_rows_backward(Rows n, T* dx, const T* dy, const T* x, const double* rstd, const T* weight,
                           double eps, bool inside, std::int64_t counted, bool is_staged) {
  NORMA_DYNAMIC_SHARED(T, shared);
  using Row = Team<Threads>;
  const std::int64_t r = Row::row(), at = r * n.d;
  if (r >= n.rows) return;
  T* const stage = staged_rows(shared, n.d, 2);
  T* const slopes = is_staged ? stage : dx + at;  // g
  const T* const row = is_staged ? stage + n.d : x + at;
  const T scale = static_cast<T>(rstd[r]);

  double product = 0;
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    auto g = load<Width>(dy + at + j);
    const auto pack = load<Width>(x + at + j);
    apply_affine<ByColumn, Width, T>(g, ByColumn(), weight, nullptr, r, j);
    store(slopes + j, g);
    if (is_staged) store(stage + n.d + j, pack);
    T partial = 0;
#pragma unroll
    for (int k = 0; k < Width; ++k) partial += g.values[k] * (pack.values[k] * scale);
    product += static_cast<double>(partial);
  });
  const double factor = inside ? 1 : outside_factor(rstd[r], eps);
  const T second = static_cast<T>(Row::sum(product) / static_cast<double>(counted) * factor);
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    auto g = load<Width>(slopes + j);
    const auto pack = load<Width>(row + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      const T along = j + k < counted ? pack.values[k] * scale * second : T(0);
      g.values[k] = scale * (g.values[k] - along);
    }
    store(dx + at + j, g);
  });
}

template <class T>
void forward(cudaStream_t stream, Rows n, T* y, T* sum, double* rstd, const T* x, const T* residual,
             const T* weight, double eps, bool inside, std::int64_t counted) {
  with_team<T>(n.d, walks_packs<T>(n.d, y, sum, x, residual, weight), [&]<int Threads, int Width>() {
    const std::size_t bytes = staged_bytes<T, Threads>(n.d, 1);
    launch(rms_norm_rows<T, Threads, Width>, Team<Threads>::grid(n.rows), Team<Threads>::block(), bytes,
           stream, n, y, sum, rstd, x, residual, weight, eps, inside, counted, bytes > 0);
  });
}

template <class T>
void backward(cudaStream_t stream, Rows n, T* dx, const T* dy, const T* x, const double* rstd,
              const T* weight, double eps, bool inside, std::int64_t counted) {
  with_team<T>(n.d, walks_packs<T>(n.d, dx, dy, x, weight), [&]<int Threads, int Width>() {
    const std::size_t bytes = staged_bytes<T, Threads>(n.d, 2);
    launch(rms_norm_rows_backward<T, Threads, Width>, Team<Threads>::grid(n.rows), Team<Threads>::block(),
           bytes, stream, n, dx, dy, x, rstd, weight, eps, inside, counted, bytes > 0);
  });
}

}  // namespace

bool CudaBackend::rms_norm(View y, View rstd, View x, View weight, double eps, bool inside,
                           std::int64_t counted) {
  for_float(x.dtype, "rms_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(stream_, rows_of(x), pointer<T>(y), nullptr, pointer<double>(rstd), pointer<T>(x), nullptr,
               pointer<T>(weight), eps, inside, counted);
  });
  return true;
}

bool CudaBackend::add_rms_norm(View y, View sum, View rstd, View x, View residual, View weight, double eps,
                               bool inside) {
  for_float(x.dtype, "rms_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(stream_, rows_of(x), pointer<T>(y), pointer<T>(sum), pointer<double>(rstd), pointer<T>(x),
               pointer<T>(residual), pointer<T>(weight), eps, inside, x.shape[1]);
  });
  return true;
}

bool CudaBackend::rms_norm_backward(View dx, View dweight, View dy, View x, View rstd, View weight,
                                    double eps, bool inside, std::int64_t counted) {
  for_float(x.dtype, "rms_norm", [&]<class T>() {
    const Rows n = rows_of(x);
    if (dx.defined() && x.numel() > 0) {
      backward<T>(stream_, n, pointer<T>(dx), pointer<T>(dy), pointer<T>(x), pointer<double>(rstd),
                  pointer<T>(weight), eps, inside, counted);
    }
    launch_parameter_gradients<T>(stream_, {n.rows, n.d, 1}, pointer<T>(dweight), nullptr, pointer<T>(dy),
                                  pointer<T>(x), nullptr, pointer<double>(rstd), n.rows, 1,
                                  std::max<std::int64_t>(1, n.d));
  });
  return true;
}

}  // namespace norma
