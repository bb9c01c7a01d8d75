// softmax: y = exp(x - max) / sum(exp(x - max)) along rows; log: y = x - max - ln(sum(exp(x - max))). x, y:
// [rows, d] Backward: dx = y (dy - sum(y dy)); log: dx = dy - exp(y) sum(dy). As in PyTorch, a row of -inf
// alone, or with NaN or +inf, is NaN.
//
// Two passes over a row: max and sum together, then the output; backward: the sum, then dx. The second pass
// reads the copies in shared memory, or, where the row is too long, the cache. Bytes of an element, forward:
// 2 sizeof(T), backward: 3 sizeof(T).
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/softmax_rows.cuh"

namespace norma {

namespace {

template <class T, int Threads, int Width>
__global__ void __launch_bounds__(Team<Threads>::block_size, blocks_held(Team<Threads>::block_size))
    softmax_rows(Rows n, T* y, const T* x, bool log, bool is_staged) {
  NORMA_DYNAMIC_SHARED(T, shared);
  const std::int64_t r = Team<Threads>::row(), at = r * n.d;
  if (r >= n.rows) return;
  T* const stage = is_staged ? staged_rows(shared, n.d, 1) : nullptr;
  const ExpSum<T> total = exp_sum<Threads, Width>(n.d, x + at, stage);
  const T* const row = is_staged ? stage : x + at;
  const T factor = static_cast<T>(log ? std::log(total.sum) : 1 / total.sum);
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    auto pack = load<Width>(row + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      const T shifted = pack.values[k] - total.largest;
      pack.values[k] = log ? shifted - factor : std::exp(shifted) * factor;
    }
    store(y + at + j, pack);
  });
}

template <class T, int Threads, int Width>
__global__ void __launch_bounds__(Team<Threads>::block_size, blocks_held(Team<Threads>::block_size))
    softmax_rows_backward(Rows n, T* dx, const T* y, const T* dy, bool log, bool is_staged) {
  NORMA_DYNAMIC_SHARED(T, shared);
  const std::int64_t r = Team<Threads>::row(), at = r * n.d;
  if (r >= n.rows) return;
  T* const stage = staged_rows(shared, n.d, 2);
  double total = 0;
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    const auto value = load<Width>(y + at + j), slope = load<Width>(dy + at + j);
    if (is_staged) store(stage + j, value), store(stage + n.d + j, slope);
    T partial = 0;
#pragma unroll
    for (int k = 0; k < Width; ++k) partial += log ? slope.values[k] : value.values[k] * slope.values[k];
    total += static_cast<double>(partial);
  });
  const T sum = static_cast<T>(Team<Threads>::sum(total));
  const T *values = is_staged ? stage : y + at, *slopes = is_staged ? stage + n.d : dy + at;
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    const auto value = load<Width>(values + j);
    auto slope = load<Width>(slopes + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      slope.values[k] =
          log ? slope.values[k] - std::exp(value.values[k]) * sum : value.values[k] * (slope.values[k] - sum);
    }
    store(dx + at + j, slope);
  });
}

}  // namespace

bool CudaBackend::softmax(View y, View x, bool log) {
  if (x.rank != 2) return false;
  for_float(x.dtype, "softmax", [&]<class T>() {
    if (x.numel() == 0) return;
    const Rows n = rows_of(x);
    with_team<T>(n.d, walks_packs<T>(n.d, pointer<T>(y), pointer<T>(x)), [&]<int Threads, int Width>() {
      const std::size_t bytes = staged_bytes<T, Threads>(n.d, 1);
      launch(softmax_rows<T, Threads, Width>, Team<Threads>::grid(n.rows), Team<Threads>::block(), bytes,
             stream_, n, pointer<T>(y), pointer<T>(x), log, bytes > 0);
    });
  });
  return true;
}

bool CudaBackend::softmax_backward(View dx, View y, View dy, bool log) {
  if (y.rank != 2) return false;
  for_float(y.dtype, "softmax", [&]<class T>() {
    if (y.numel() == 0) return;
    const Rows n = rows_of(y);
    const bool packs = walks_packs<T>(n.d, pointer<T>(dx), pointer<T>(y), pointer<T>(dy));
    with_team<T>(n.d, packs, [&]<int Threads, int Width>() {
      const std::size_t bytes = staged_bytes<T, Threads>(n.d, 2);
      launch(softmax_rows_backward<T, Threads, Width>, Team<Threads>::grid(n.rows), Team<Threads>::block(),
             bytes, stream_, n, pointer<T>(dx), pointer<T>(y), pointer<T>(dy), log, bytes > 0);
    });
  });
  return true;
}

}  // namespace norma
