// embedding: y[r] = table[index[r]].  y: [rows, d]  table: [entries, d]  index: i64 [rows]
// An index out of range is noted (device_errors.h), and its row of y is 0.
//
// Backward: dtable[index[r]] += dy[r]. A block for each row r goes on if no earlier row has the same index,
// and then adds all later rows that have it, in order: each row of dtable has one writer, and no sum depends
// on the order in which blocks run. Work: at most rows^2 comparisons of indices (all different), which stay
// in the cache, and each row of dy read once.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/device_errors.cuh"
#include "backends/cuda/elements.cuh"

namespace norma {
namespace {

constexpr int threads = 128;

template <class T>
__global__ void look_up(std::int64_t count, std::int64_t d, DeviceCheck check, T* y, const T* table,
                        const std::int64_t* index) {
  const std::int64_t i = flat_index();
  if (i >= count) return;
  const std::int64_t row = i / d, column = i % d, entry = index[row];
  y[i] = check(entry, row) ? table[entry * d + column] : T(0);
}

/// Adds one column of the rows that are marked.
template <class T>
__device__ void add_matches(const unsigned* matches, std::int64_t d, T* sum, const T* dy) {
  unsigned any = 0;
  for (int warp = 0; warp < threads / 32; ++warp) any |= matches[warp];
  if (any == 0) return;
  T total = *sum;
  for (int warp = 0; warp < threads / 32; ++warp) {
    for (unsigned left = matches[warp]; left != 0; left &= left - 1) {
      total += dy[(warp * 32 + __ffs(static_cast<int>(left)) - 1) * d];
    }
  }
  *sum = total;
}

template <class T>
__global__ void add_rows(std::int64_t rows, std::int64_t d, DeviceCheck check, T* dtable, const T* dy,
                         const std::int64_t* index) {
  __shared__ unsigned matches[threads / 32];  // a bit for each of the rows that the threads look at
  const std::int64_t row = blockIdx.x, thread = threadIdx.x, entry = index[row];
  if (!check(entry, row)) return;
  for (std::int64_t first = 0; first < row; first += threads) {
    const bool earlier = first + thread < row && index[first + thread] == entry;
    if (__syncthreads_or(earlier)) return;
  }
  for (std::int64_t first = row; first < rows; first += threads) {
    const bool match = first + thread < rows && index[first + thread] == entry;
    const unsigned of_warp = __ballot_sync(~0u, match);
    if (threadIdx.x % 32 == 0) matches[threadIdx.x / 32] = of_warp;
    __syncthreads();
    for (std::int64_t j = thread; j < d; j += threads)
      add_matches(matches, d, dtable + entry * d + j, dy + first * d + j);
    __syncthreads();
  }
}

}  // namespace

bool CudaBackend::embedding(View y, View table, View index) {
  const std::int64_t count = y.numel();
  if (count == 0) return true;
  const DeviceCheck check = errors_.indices("embedding", table.shape[0]);
  for_float(table.dtype, "embedding", [&]<class T>() {
    launch_flat(look_up<T>, count, stream_, count, y.shape[1], check, pointer<T>(y), pointer<T>(table),
                pointer<std::int64_t>(index));
  });
  return true;
}

bool CudaBackend::embedding_backward(View dtable, View dy, View index) {
  if (dy.numel() == 0) return true;
  const DeviceCheck check = errors_.indices("embedding", dtable.shape[0]);
  const std::int64_t rows = dy.shape[0];
  NORMA_CHECK(rows <= 2147483647, "embedding: ", rows, " rows are more than one launch can have");
  for_float(dy.dtype, "embedding", [&]<class T>() {
    launch(add_rows<T>, dim3(static_cast<unsigned>(rows)), dim3(threads), 0, stream_, rows, dy.shape[1],
           check, pointer<T>(dtable), pointer<T>(dy), pointer<std::int64_t>(index));
  });
  return true;
}

}  // namespace norma
