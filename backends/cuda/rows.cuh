// What the kernels over rows share: a team of threads for each row, loads of 16 bytes, rows staged in shared
// memory, so that later passes do not read them from the device again, and parameters along a row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "backends/cuda/elements.cuh"
#include "backends/cuda/reduce.cuh"
#include "backends/statistics.h"

namespace norma {

/// Blocks of this size that a multiprocessor is to hold: 768 threads, so a thread may have 85 registers. Left
/// to itself the compiler takes 48 for some of these kernels, and spills a few bytes.
constexpr int blocks_held(int block_size) { return 768 / block_size; }

/// The threads that share a row: some lanes, a warp, or a block. Blocks are (Threads, per_block); a team
/// without a row returns at once.
template <int Threads>
struct Team {
  static constexpr int per_block = Threads < 128 ? 128 / Threads : 1;
  static constexpr int block_size = Threads * per_block;

  static dim3 block() { return dim3(Threads, per_block); }
  static dim3 grid(std::int64_t rows) {
    return dim3(static_cast<unsigned>((rows + per_block - 1) / per_block));
  }
  __device__ static std::int64_t row() {
    return static_cast<std::int64_t>(blockIdx.x) * per_block + threadIdx.y;
  }
  __device__ static bool is_first() { return threadIdx.x == 0; }

  /// Over the threads of the team, the same bits in all of them.
  template <class T>
  __device__ static T sum(T value) {
    if constexpr (Threads <= 32) {
      return warp_sum<Threads>(value);
    } else {
      return block_sum<Threads>(value);
    }
  }
  template <class T>
  __device__ static void sum(T& a, T& b) {
    if constexpr (Threads <= 32) {
      a = warp_sum<Threads>(a), b = warp_sum<Threads>(b);
    } else {
      block_sum<Threads>(a, b);
    }
  }
  template <class T>
  __device__ static T max(T value) {
    if constexpr (Threads <= 32) {
      return warp_max<Threads>(value);
    } else {
      return block_max<Threads>(value);
    }
  }
};

template <int Width, class T>
__device__ Pack<T, Width> load(const T* from) {
  return *reinterpret_cast<const Pack<T, Width>*>(from);
}
template <int Width, class T>
__device__ void store(T* to, const Pack<T, Width>& pack) {
  *reinterpret_cast<Pack<T, Width>*>(to) = pack;
}

/// What an element adds to the sum behind a mean. Relative to `origin`, an element of the row, so that the
/// mean of a constant row is exact; sums of f32 are exact in f64 without it.
template <class T>
__device__ double mean_term(T value, double origin) {
  return sizeof(T) == 4 ? static_cast<double>(value) : static_cast<double>(value) - origin;
}
template <class T>
__device__ double mean_from(double sum, double count, double origin) {
  return sizeof(T) == 4 ? sum / count : origin + sum / count;
}

/// Calls body(j) for the packs of a row that are the calling thread's: always the same ones, so what a thread
/// has put into memory it finds again without a barrier.
template <int Threads, int Width, class Body>
__device__ __forceinline__ void along_row(std::int64_t d, Body&& body) {
#pragma unroll 2
  for (std::int64_t j = static_cast<std::int64_t>(threadIdx.x) * Width; j < d; j += Threads * Width) body(j);
}

/// Bytes of shared memory in which the teams of a block keep `count` rows each; 0: too many.
template <class T, int Threads>
std::size_t staged_bytes(std::int64_t d, int count) {
  constexpr std::size_t most = 32768;
  const std::size_t bytes =
      static_cast<std::size_t>(d) * sizeof(T) * Team<Threads>::per_block * static_cast<std::size_t>(count);
  return bytes <= most ? bytes : 0;
}
/// The calling team's part of it.
template <class T>
__device__ T* staged_rows(T* shared, std::int64_t d, int count) {
  return shared + static_cast<std::int64_t>(threadIdx.y) * d * count;
}

/// Whether rows of length d from these addresses (absent ones do not count) are walked in packs of 16 bytes.
template <class T, class... Addresses>
bool walks_packs(std::int64_t d, const Addresses*... rows) {
  return d % static_cast<std::int64_t>(16 / sizeof(T)) == 0 &&
         ((reinterpret_cast<std::uintptr_t>(rows) % 16 == 0) && ...);
}

/// Calls use.operator()<Threads, Width>() as suits rows of length d.
template <class T, class Use>
void with_team(std::int64_t d, bool packs, Use&& use) {
  const auto with_width = [&]<int Threads>() {
    if (packs) {
      use.template operator()<Threads, static_cast<int>(16 / sizeof(T))>();
    } else {
      use.template operator()<Threads, 1>();
    }
  };
  if (d <= 64) {
    with_width.template operator()<8>();
  } else if (d <= 1024) {
    with_width.template operator()<32>();
  } else {
    with_width.template operator()<256>();
  }
}

/// a / b of non-negative numbers; 32-bit division, where that is enough, takes a fraction of the time.
__device__ inline std::int64_t quotient(std::int64_t a, std::int64_t b) {
  if (((a | b) >> 32) == 0) return static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
  return a / b;
}

/// Parameters [d]: one for each column.
struct ByColumn {
  template <int Width, class T>
  __device__ Pack<T, Width> at(const T* parameters, std::int64_t, std::int64_t j) const {
    return load<Width>(parameters + j);
  }
};

/// Parameters [groups * channels]: row r is group r % groups, its elements lie in `channels` channels of
/// `inner` each.
struct ByChannel {
  std::int64_t groups, channels, inner;

  template <int Width, class T>
  __device__ Pack<T, Width> at(const T* parameters, std::int64_t r, std::int64_t j) const {
    const std::int64_t channel = quotient(j, inner);
    const T* from = parameters + (r - quotient(r, groups) * groups) * channels + channel;
    std::int64_t left = (channel + 1) * inner - j;
    Pack<T, Width> pack;
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      pack.values[k] = *from;
      if (--left == 0) ++from, left = inner;
    }
    return pack;
  }
};

/// pack * weight + bias at element j of row r; weight and bias may be absent.
template <class Places, int Width, class T>
__device__ void apply_affine(Pack<T, Width>& pack, const Places& places, const T* weight, const T* bias,
                             std::int64_t r, std::int64_t j) {
  if (weight != nullptr) {
    const auto w = places.template at<Width>(weight, r, j);
#pragma unroll
    for (int k = 0; k < Width; ++k) pack.values[k] *= w.values[k];
  }
  if (bias != nullptr) {
    const auto b = places.template at<Width>(bias, r, j);
#pragma unroll
    for (int k = 0; k < Width; ++k) pack.values[k] += b.values[k];
  }
}

/// Pack j of x + residual, which goes into sum as well, or of x where there is no residual.
template <int Width, class T>
__device__ Pack<T, Width> load_sum(T* sum, const T* x, const T* residual, std::int64_t j) {
  Pack<T, Width> pack = load<Width>(x + j);
  if (residual != nullptr) {
    const auto other = load<Width>(residual + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) pack.values[k] += other.values[k];
    store(sum + j, pack);
  }
  return pack;
}

/// The sum of squares of the first `counted` entries of a row around a mean, in f64 throughout: for f32 rows
/// whose squares overflow, or are so small that they lose terms (is_safe_square).
template <class T, int Threads, int Width>
__device__ double exact_squares(std::int64_t d, std::int64_t counted, const T* row, double mean = 0) {
  double sum = 0;
  along_row<Threads, Width>(d, [&](std::int64_t j) {
    const auto pack = load<Width>(row + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      const double value = static_cast<double>(pack.values[k]) - mean;
      if (j + k < counted) sum += value * value;
    }
  });
  return Team<Threads>::sum(sum);
}

}  // namespace norma
