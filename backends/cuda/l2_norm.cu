// y = w x / D, D = max(|x|, eps), |x| the 2-norm of a row.  x, y: [rows, d]  w: [1], or absent: 1  norm: f64
// [rows]
// Backward, with u = x / D and s = sum(dy * u):
//   dx = w / D * (dy - u s), without the second term where |x| < eps;  dw = sum of s over the rows
//
// Forward: squares, then the output from the copy of the row in shared memory, or from the cache. Backward:
// s, then dx, likewise; dw is added up from blocks of rows. Bytes of an element, forward: 2 sizeof(T),
// backward: 3 sizeof(T).
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/rows.cuh"
#include "backends/cuda/scratch.h"

namespace norma {

namespace {

/// max(|x|, eps); NaN stays NaN.
__device__ double floored(double norm, double eps) { return norm < eps ? eps : norm; }

template <class T>
__device__ T weight_or_one(const T* weight) {
  return weight == nullptr ? T(1) : weight[0];
}

template <class T, int Threads, int Width>
__global__ void __launch_bounds__(Team<Threads>::block_size, blocks_held(Team<Threads>::block_size))
    l2_norm_rows(Rows n, T* y, double* norm, const T* x, const T* weight, double eps, bool is_staged) {
  NORMA_DYNAMIC_SHARED(T, shared);
  using Row = Team<Threads>;
  const std::int64_t r = Row::row(), at = r * n.d;
  if (r >= n.rows) return;
  T* const stage = staged_rows(shared, n.d, 1);
  const T* const row = is_staged ? stage : x + at;
  double squares = 0;
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    const auto pack = load<Width>(x + at + j);
    if (is_staged) store(stage + j, pack);
    T partial = 0;
#pragma unroll
    for (int k = 0; k < Width; ++k) partial += pack.values[k] * pack.values[k];
    squares += static_cast<double>(partial);
  });
  squares = Row::sum(squares);
  if (!is_safe_square<T>(squares)) squares = exact_squares<T, Threads, Width>(n.d, n.d, row);
  const double length = std::sqrt(squares);
  if (Row::is_first()) norm[r] = length;

  const T inverse = static_cast<T>(1 / floored(length, eps)), w = weight_or_one(weight);
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    auto pack = load<Width>(row + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) pack.values[k] = pack.values[k] * inverse * w;
    store(y + at + j, pack);
  });
}

/// dx and along (s of every row) may be absent.
template <class T, int Threads, int Width>
__global__ void __launch_bounds__(Team<Threads>::block_size, blocks_held(Team<Threads>::block_size))
    l2_norm_rows_backward(Rows n, T* dx, double* along, const T* dy, const T* x, const double* norm,
                          const T* weight, double eps, bool is_staged) {
  NORMA_DYNAMIC_SHARED(T, shared);
  using Row = Team<Threads>;
  const std::int64_t r = Row::row(), at = r * n.d;
  if (r >= n.rows) return;
  T* const stage = staged_rows(shared, n.d, 2);
  const T inverse = static_cast<T>(1 / floored(norm[r], eps));
  double s = 0;
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    const auto slope = load<Width>(dy + at + j), pack = load<Width>(x + at + j);
    if (is_staged) store(stage + j, slope), store(stage + n.d + j, pack);
    T partial = 0;
#pragma unroll
    for (int k = 0; k < Width; ++k) partial += slope.values[k] * (pack.values[k] * inverse);
    s += static_cast<double>(partial);
  });
  s = Row::sum(s);
  if (along != nullptr && Row::is_first()) along[r] = s;
  if (dx == nullptr) return;
  const T *slopes = is_staged ? stage : dy + at, *row = is_staged ? stage + n.d : x + at;
  const T second = norm[r] < eps ? T(0) : static_cast<T>(s), scale = weight_or_one(weight) * inverse;
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    auto slope = load<Width>(slopes + j);
    const auto pack = load<Width>(row + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      slope.values[k] = scale * (slope.values[k] - pack.values[k] * inverse * second);
    }
    store(dx + at + j, slope);
  });
}

constexpr int sum_threads = 256;
constexpr std::int64_t summed_by_block = 8192;

/// sums[b] = the sum of the b-th summed_by_block of the values.
template <class T>
__global__ void __launch_bounds__(sum_threads) sum_blocks(std::int64_t count, T* sums, const double* values) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * summed_by_block;
  const std::int64_t last = min(count, first + summed_by_block);
  double sum = 0;
  for (std::int64_t i = first + threadIdx.x; i < last; i += sum_threads) sum += values[i];
  sum = block_sum<sum_threads>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = static_cast<T>(sum);
}

/// result = the sum of the values, in steps that depend on their number alone.
template <class T>
void sum_all(cudaStream_t stream, T* result, const double* values, std::int64_t count) {
  const std::int64_t blocks = (count + summed_by_block - 1) / summed_by_block;
  if (blocks <= 1) return launch(sum_blocks<T>, dim3(1), dim3(sum_threads), 0, stream, count, result, values);
  const DeviceScratch<double> sums(blocks);
  launch(sum_blocks<double>, dim3(static_cast<unsigned>(blocks)), dim3(sum_threads), 0, stream, count,
         sums.data(), values);
  sum_all(stream, result, sums.data(), blocks);
}

}  // namespace

bool CudaBackend::l2_norm(View y, View norm, View x, View weight, double eps) {
  for_float(x.dtype, "l2_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    const Rows n = rows_of(x);
    with_team<T>(n.d, walks_packs<T>(n.d, pointer<T>(y), pointer<T>(x)), [&]<int Threads, int Width>() {
      const std::size_t bytes = staged_bytes<T, Threads>(n.d, 1);
      launch(l2_norm_rows<T, Threads, Width>, Team<Threads>::grid(n.rows), Team<Threads>::block(), bytes,
             stream_, n, pointer<T>(y), pointer<double>(norm), pointer<T>(x), pointer<T>(weight), eps,
             bytes > 0);
    });
  });
  return true;
}

bool CudaBackend::l2_norm_backward(View dx, View dweight, View dy, View x, View norm, View weight,
                                   double eps) {
  for_float(x.dtype, "l2_norm", [&]<class T>() {
    const Rows n = rows_of(x);
    const DeviceScratch<double> scratch(dweight.defined() ? n.rows : 0);
    double* const along = dweight.defined() ? scratch.data() : nullptr;
    if (n.rows > 0) {
      const bool packs = walks_packs<T>(n.d, pointer<T>(dx), pointer<T>(dy), pointer<T>(x));
      with_team<T>(n.d, packs, [&]<int Threads, int Width>() {
        const std::size_t bytes = staged_bytes<T, Threads>(n.d, 2);
        launch(l2_norm_rows_backward<T, Threads, Width>, Team<Threads>::grid(n.rows), Team<Threads>::block(),
               bytes, stream_, n, pointer<T>(dx), along, pointer<T>(dy), pointer<T>(x), pointer<double>(norm),
               pointer<T>(weight), eps, bytes > 0);
      });
    }
    if (dweight.defined()) sum_all(stream_, pointer<T>(dweight), along, n.rows);
  });
  return true;
}

}  // namespace norma
