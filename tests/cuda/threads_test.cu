// Blocks, warps and shared memory: kernels whose answers are known. They run on a device as well.
#include <cmath>
#include <cstdint>

#include "backends/cuda/launch.h"
#include "tests/cuda/device.h"

namespace norma::tests {
namespace {

constexpr unsigned all_lanes = 0xffffffffu;

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int step = warpSize / 2; step > 0; step /= 2) value += __shfl_xor_sync(all_lanes, value, step);
  return value;
}

// Sum over the threads of a block whose size is a multiple of 32; all threads get it.
template <class T>
__device__ T block_sum(T value) {
  __shared__ T partial[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  value = warp_sum(value);
  __syncthreads();  // the previous sum has been read
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  return warp_sum(lane < warps ? partial[lane] : T(0));
}

// y[row] = sum of x[row, :] and its square, by one block for each row.
template <class T>
__global__ void __launch_bounds__(1024) row_sums(T* __restrict__ y, const T* __restrict__ x, int d) {
  T sum = 0, squares = 0;
  for (int j = threadIdx.x; j < d; j += blockDim.x) {
    const T value = __ldg(x + std::int64_t(blockIdx.x) * d + j);
    sum += value;
    squares += value * value;
  }
  sum = block_sum(sum);
  squares = block_sum(squares);
  if (threadIdx.x == 0) {
    y[2 * blockIdx.x] = sum;
    y[2 * blockIdx.x + 1] = squares;
  }
}

// Reverses each block's part of x.
template <class T>
__global__ void reverse(T* x) {
  NORMA_DYNAMIC_SHARED(T, tile);
  const int n = blockDim.x, i = threadIdx.x;
  tile[i] = x[blockIdx.x * n + i];
  __syncthreads();
  x[blockIdx.x * n + i] = tile[n - 1 - i];
}

__global__ void indices(int* y) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  y[block * threads + thread] = int(block * threads + thread);
}

template <class T>
__global__ void shuffles(T* y) {
  const int lane = threadIdx.x % 32;
  const T value = T(lane + 1);
  T* const out = y + threadIdx.x * 6;
  out[0] = __shfl_sync(all_lanes, value, 5);
  out[1] = __shfl_sync(all_lanes, value, lane + 1, 8);
  out[2] = __shfl_up_sync(all_lanes, value, 3);
  out[3] = __shfl_down_sync(all_lanes, value, 2, 16);
  out[4] = __shfl_xor_sync(all_lanes, value, 1);
  out[5] = T(-1);
  if (lane < 8) out[5] = __shfl_sync(0xffu, value, 7 - lane);
}

__global__ void votes(unsigned* y) {
  const int i = threadIdx.x, lane = i % 32;
  unsigned* const out = y + i * 8;
  out[0] = __ballot_sync(all_lanes, lane % 3 == 0);
  out[1] = unsigned(__any_sync(all_lanes, lane == 31));
  out[2] = unsigned(__any_sync(all_lanes, 0));
  out[3] = unsigned(__all_sync(all_lanes, lane >= 0));
  out[4] = unsigned(__all_sync(all_lanes, lane > 0));
  out[5] = unsigned(__syncthreads_count(i % 2));
  out[6] = unsigned(__syncthreads_and(i < 10000));
  out[7] = unsigned(__syncthreads_or(i == 70));
}

// A warp of which half takes another branch, and meets again.
__global__ void diverging(int* y) {
  __shared__ int seen[32];
  const int lane = threadIdx.x;
  if (lane % 2 == 0) {
    seen[lane] = __popc(__ballot_sync(0x55555555u, lane < 16));
  } else {
    seen[lane] = -1;
  }
  __syncwarp();
  y[lane] = seen[31 - lane];
}

__global__ void atomics(int* integers, unsigned long long* bits, float* real, double* wide) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(integers, 1);
  atomicMax(integers + 1, i);
  atomicMin(integers + 2, -i);
  if (atomicCAS(integers + 3, 0, i + 1) == 0) atomicExch(integers + 4, i + 1);
  atomicAdd(bits, 1ull << 33);
  atomicAdd(real, 0.5f);
  atomicAdd(wide, 0.25);
}

__global__ void counted_under_lock(int* lock, int* count) {
  bool done = false;
  while (!done) {
    if (atomicCAS(lock, 0, 1) == 0) {
      *count += 1;
      __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
  }
}

__global__ void vectors(float4* y, const float4* x, double2* z) {
  const float4 v = x[threadIdx.x];
  y[threadIdx.x] = make_float4(v.w, v.z, v.y, v.x);
  z[threadIdx.x] = make_double2(double(v.x), double(v.y));
}

__global__ void scalar_functions(float* y) {
  y[0] = rsqrtf(4.0f);
  y[1] = __expf(1.0f);
  y[2] = __fmaf_rn(2.0f, 3.0f, 4.0f);
  y[3] = float(__ffs(8) + __clz(1) * 100 + __popc(255u) * 10000);
  y[4] = __int_as_float(__float_as_int(1.5f));
  y[5] = max(min(1.0f, 2.0f), 0.5f) + float(max(3, 4));
  y[6] = tanhf(0.5f) + erff(0.25f);
  y[7] = float(rsqrt(0.25));
}

template <class T>
void check_row_sums(int rows, int d, int threads) {
  std::vector<T> x(std::size_t(rows) * std::size_t(d));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = T(int(i * 7 % 11) - 5);
  const DeviceArray<T> device(x), y(std::size_t(rows) * 2);
  launch(row_sums<T>, unsigned(rows), unsigned(threads), 0, nullptr, y.data(), device.data(), d);
  const std::vector<T> sums = y.values();
  for (int row = 0; row < rows; ++row) {
    T sum = 0, squares = 0;
    for (int j = 0; j < d; ++j) {
      const T value = x[std::size_t(row * d + j)];
      sum += value;
      squares += value * value;
    }
    CHECK(sums[std::size_t(2 * row)] == sum);  // small integers: exact in any order
    CHECK(sums[std::size_t(2 * row + 1)] == squares);
  }
}

}  // namespace

TEST_CASE("cuda: sums over rows by shuffles and shared memory" * doctest::skip(no_device())) {
  for (const int threads : {32, 64, 256, 1024}) {
    CAPTURE(threads);
    for (const int d : {1, 31, 33, 1000}) {
      check_row_sums<float>(5, d, threads);
      check_row_sums<double>(5, d, threads);
    }
  }
}

TEST_CASE("cuda: dynamic shared memory" * doctest::skip(no_device())) {
  std::vector<double> x(10 * 96), reversed(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = double(i);
    reversed[i / 96 * 96 + 95 - i % 96] = double(i);
  }
  const DeviceArray<double> device(x);
  launch(reverse<double>, 10, 96, 96 * sizeof(double), nullptr, device.data());
  CHECK(device.values() == reversed);
}

TEST_CASE("cuda: indices in three dimensions" * doctest::skip(no_device())) {
  const DeviceArray<int> y(2 * 3 * 4 * 5 * 6 * 7);
  launch(indices, dim3(2, 3, 4), dim3(5, 6, 7), 0, nullptr, y.data());
  std::vector<int> expected(y.size());
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = int(i);
  CHECK(y.values() == expected);
}

TEST_CASE_TEMPLATE("cuda: shuffles", T, int, unsigned, long long, unsigned long long, float, double) {
  if (no_device()) return;
  const DeviceArray<T> y(64 * 6);
  launch(shuffles<T>, 1, 64, 0, nullptr, y.data());
  const std::vector<T> out = y.values();
  for (int i = 0; i < 64; ++i) {
    const int lane = i % 32;
    const T* const got = out.data() + i * 6;
    CAPTURE(i);
    CHECK(got[0] == T(6));
    CHECK(got[1] == T(lane / 8 * 8 + (lane + 1) % 8 + 1));
    CHECK(got[2] == T(lane < 3 ? lane + 1 : lane - 2));
    CHECK(got[3] == T(lane % 16 < 14 ? lane + 3 : lane + 1));
    CHECK(got[4] == T((lane ^ 1) + 1));
    CHECK(got[5] == (lane < 8 ? T(8 - lane) : T(-1)));
  }
}

TEST_CASE("cuda: votes of warps and blocks" * doctest::skip(no_device())) {
  const DeviceArray<unsigned> y(96 * 8);
  launch(votes, 1, 96, 0, nullptr, y.data());
  const std::vector<unsigned> out = y.values();
  for (std::size_t i = 0; i < 96; ++i) {
    const unsigned* const got = out.data() + i * 8;
    CAPTURE(i);
    CHECK(got[0] == 0x49249249u);
    CHECK((got[1] != 0) == true);
    CHECK(got[2] == 0);
    CHECK((got[3] != 0) == true);
    CHECK(got[4] == 0);
    CHECK(got[5] == 48);
    CHECK((got[6] != 0) == true);
    CHECK((got[7] != 0) == true);
  }
}

TEST_CASE("cuda: a warp that diverges and meets again" * doctest::skip(no_device())) {
  const DeviceArray<int> y(32);
  launch(diverging, 1, 32, 0, nullptr, y.data());
  const std::vector<int> out = y.values();
  for (std::size_t lane = 0; lane < 32; ++lane) CHECK(out[lane] == (lane % 2 == 0 ? -1 : 8));
}

TEST_CASE("cuda: atomics across blocks" * doctest::skip(no_device())) {
  const DeviceArray<int> integers(std::vector<int>{0, 0, 0, 0, 0});
  const DeviceArray<unsigned long long> bits(std::vector<unsigned long long>{0});
  const DeviceArray<float> real(std::vector<float>{0});
  const DeviceArray<double> wide(std::vector<double>{0});
  launch(atomics, 40, 96, 0, nullptr, integers.data(), bits.data(), real.data(), wide.data());
  const int n = 40 * 96;
  const std::vector<int> out = integers.values();
  CHECK(out[0] == n);
  CHECK(out[1] == n - 1);
  CHECK(out[2] == 1 - n);
  CHECK(out[3] > 0);
  CHECK(out[4] == out[3]);
  CHECK(bits.values()[0] == std::uint64_t(n) << 33);
  CHECK(real.values()[0] == 0.5f * float(n));
  CHECK(wide.values()[0] == 0.25 * n);
}

TEST_CASE("cuda: threads that wait for a lock" * doctest::skip(no_device())) {
  const DeviceArray<int> lock(std::vector<int>{0}), count(std::vector<int>{0});
  launch(counted_under_lock, 3, 64, 0, nullptr, lock.data(), count.data());
  CHECK(count.values()[0] == 3 * 64);
}

TEST_CASE("cuda: vector types" * doctest::skip(no_device())) {
  static_assert(sizeof(float3) == 12 && alignof(float2) == 8 && alignof(float4) == 16 &&
                alignof(double2) == 16);
  std::vector<float4> x(32);
  for (int i = 0; i < 32; ++i) x[std::size_t(i)] = make_float4(float(i), 1, 2, 3);
  const DeviceArray<float4> device(x), y(32);
  const DeviceArray<double2> z(32);
  launch(vectors, 1, 32, 0, nullptr, y.data(), device.data(), z.data());
  const float4 last = y.values()[31];
  CHECK(last.x == 3);
  CHECK(last.w == 31);
  CHECK(z.values()[7].x == 7);
}

TEST_CASE("cuda: functions of numbers" * doctest::skip(no_device())) {
  const DeviceArray<float> y(8);
  launch(scalar_functions, 1, 1, 0, nullptr, y.data());
  const std::vector<float> out = y.values();
  const std::vector<double> expected = {
      0.5, std::exp(1.0), 10, 4 + 3100 + 80000, 1.5, 5, std::tanh(0.5) + std::erf(0.25), 2};
  for (std::size_t i = 0; i < out.size(); ++i)
    CHECK(double(out[i]) == doctest::Approx(expected[i]).epsilon(1e-6));
}

}  // namespace norma::tests
