// Sums and maxima over the threads of a warp and of a block. The order in which values are combined depends
// on the number of threads alone, so every run gives the same bits, and all threads get the same result.
#pragma once

#include "backends/cuda/launch.h"

namespace norma {

/// Place of the calling thread in its warp.
__device__ inline int lane_index() {
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32u);
}

/// The mask of the calling lane's group; groups are `Lanes` neighbours, a power of two up to 32.
template <int Lanes>
__device__ unsigned group_mask() {
  static_assert(Lanes > 0 && Lanes <= 32 && (Lanes & (Lanes - 1)) == 0);
  if constexpr (Lanes == 32) {
    return 0xffffffffu;
  } else {
    return ((1u << Lanes) - 1u) << (lane_index() & ~(Lanes - 1));
  }
}

/// Combines the values of a group of lanes; all lanes of the group call, others need not.
/// combine: commutative.
template <int Lanes = 32, class T, class Combine>
__device__ T warp_reduce(T value, Combine combine) {
  const unsigned mask = group_mask<Lanes>();
#pragma unroll
  for (int step = Lanes / 2; step > 0; step /= 2) {
    value = combine(value, __shfl_xor_sync(mask, value, step));
  }
  return value;
}

/// The larger one; a NaN loses against a number.
struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b == b ? b : a;
  }
};
struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

template <int Lanes = 32, class T>
__device__ T warp_sum(T value) {
  return warp_reduce<Lanes>(value, Plus());
}
template <int Lanes = 32, class T>
__device__ T warp_max(T value) {
  return warp_reduce<Lanes>(value, Larger());
}

/// The same over a block of dim3(Threads), a multiple of 32. All threads of the block call. Two barriers: the
/// first keeps a call from overwriting what others still read of the call before.
template <int Threads, class T, class Combine>
__device__ T block_reduce(T value, Combine combine) {
  static_assert(Threads % 32 == 0 && Threads <= 1024);
  __shared__ T of_warp[Threads / 32];
  value = warp_reduce(value, combine);
  __syncthreads();
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  value = of_warp[0];
#pragma unroll
  for (int warp = 1; warp < Threads / 32; ++warp) value = combine(value, of_warp[warp]);
  return value;
}

template <int Threads, class T>
__device__ T block_sum(T value) {
  return block_reduce<Threads>(value, Plus());
}
template <int Threads, class T>
__device__ T block_max(T value) {
  return block_reduce<Threads>(value, Larger());
}
/// Two sums for the barriers of one.
template <int Threads, class T>
__device__ void block_sum(T& a, T& b) {
  static_assert(Threads % 32 == 0 && Threads <= 1024);
  __shared__ T of_warp[2][Threads / 32];
  a = warp_sum(a), b = warp_sum(b);
  __syncthreads();
  if (threadIdx.x % 32 == 0) of_warp[0][threadIdx.x / 32] = a, of_warp[1][threadIdx.x / 32] = b;
  __syncthreads();
  a = of_warp[0][0], b = of_warp[1][0];
#pragma unroll
  for (int warp = 1; warp < Threads / 32; ++warp) a += of_warp[0][warp], b += of_warp[1][warp];
}

}  // namespace norma
