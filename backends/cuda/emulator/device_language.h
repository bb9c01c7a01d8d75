// What device code is written in: qualifiers, indices, barriers, warp operations. One host thread runs a
// block, each of its threads a fiber (block.h); the thread_locals below belong to the fiber that runs.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "backends/cuda/emulator/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) alignas(n)
#define __grid_constant__

// Static shared memory is thread-local: a block stays on one host thread. The first thread of a block to pass
// here fills the function's shared variables with NaN; they are found by the marker's name in the symbol
// table (symbols.h). A statement, so `__shared__` stands where a statement may.
#define __shared__ NORMA_EMULATOR_SHARED(__LINE__)
#define NORMA_EMULATOR_SHARED(line) NORMA_EMULATOR_SHARED_AT(line)
#define NORMA_EMULATOR_SHARED_AT(line)                                     \
  static thread_local std::uint64_t norma_shared_##line;                   \
  if (norma_shared_##line != ::norma::emulator::block_serial) [[unlikely]] \
    ::norma::emulator::poison_shared(norma_shared_##line);                 \
  static thread_local

extern constinit thread_local uint3 threadIdx, blockIdx;
extern constinit thread_local dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace norma::emulator {

extern constinit thread_local std::uint64_t block_serial;  // of the block that runs on this host thread
void poison_shared(std::uint64_t& marker);

/// Where in the source a thread waits.
struct Site {
  const char* call;
  const char* file;
  int line;
};

enum class Vote : std::uint8_t { none, count, all, any, ballot };
/// Waits for all threads of the block; the result is the vote on their predicates.
int block_barrier(Vote vote, bool predicate, Site site);
/// Waits for the lanes in the mask; the same.
unsigned warp_barrier(unsigned mask, Vote vote, bool predicate, Site site);
/// Waits for the lanes in the mask; the result is the value that lane `source` brought, or all ones if that
/// lane is not in the mask.
std::uint64_t shuffle(unsigned mask, std::uint64_t value, int source, Site site);
/// Lets other threads of the block run.
void yield();
[[noreturn]] void trap(Site site);

inline int lane() {
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32u);
}

template <class T>
T shuffle_value(unsigned mask, T value, int source, Site site) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "shuffles move numbers of up to 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, source, site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace norma::emulator

// The last two parameters of what follows say where the call stands; kernels leave them out.
#define NORMA_EMULATOR_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define NORMA_EMULATOR_HERE \
  { __func__, file, line }

inline void __syncthreads(NORMA_EMULATOR_SITE) {
  norma::emulator::block_barrier(norma::emulator::Vote::none, false, NORMA_EMULATOR_HERE);
}
inline int __syncthreads_count(int predicate, NORMA_EMULATOR_SITE) {
  return norma::emulator::block_barrier(norma::emulator::Vote::count, predicate != 0, NORMA_EMULATOR_HERE);
}
inline int __syncthreads_and(int predicate, NORMA_EMULATOR_SITE) {
  return norma::emulator::block_barrier(norma::emulator::Vote::all, predicate != 0, NORMA_EMULATOR_HERE);
}
inline int __syncthreads_or(int predicate, NORMA_EMULATOR_SITE) {
  return norma::emulator::block_barrier(norma::emulator::Vote::any, predicate != 0, NORMA_EMULATOR_HERE);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, NORMA_EMULATOR_SITE) {
  norma::emulator::warp_barrier(mask, norma::emulator::Vote::none, false, NORMA_EMULATOR_HERE);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, NORMA_EMULATOR_SITE) {
  return norma::emulator::warp_barrier(mask, norma::emulator::Vote::ballot, predicate != 0,
                                       NORMA_EMULATOR_HERE);
}
inline int __any_sync(unsigned mask, int predicate, NORMA_EMULATOR_SITE) {
  return norma::emulator::warp_barrier(mask, norma::emulator::Vote::any, predicate != 0,
                                       NORMA_EMULATOR_HERE) != 0;
}
inline int __all_sync(unsigned mask, int predicate, NORMA_EMULATOR_SITE) {
  return norma::emulator::warp_barrier(mask, norma::emulator::Vote::all, predicate != 0,
                                       NORMA_EMULATOR_HERE) != 0;
}
/// The calling lane alone: the device promises no more, and code that needs more is wrong there as well.
inline unsigned __activemask() { return 1u << norma::emulator::lane(); }

// Shuffles within groups of `width` lanes, a power of two. `+value` promotes small integers as overloads
// would.
template <class T>
auto __shfl_sync(unsigned mask, T value, int source, int width = 32, NORMA_EMULATOR_SITE) {
  const int first = norma::emulator::lane() & ~(width - 1);
  return norma::emulator::shuffle_value(mask, +value, first + (source & (width - 1)), NORMA_EMULATOR_HERE);
}
template <class T>
auto __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, NORMA_EMULATOR_SITE) {
  const int lane = norma::emulator::lane(), source = lane - static_cast<int>(delta);
  const int from = source < (lane & ~(width - 1)) ? lane : source;
  return norma::emulator::shuffle_value(mask, +value, from, NORMA_EMULATOR_HERE);
}
template <class T>
auto __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, NORMA_EMULATOR_SITE) {
  const int lane = norma::emulator::lane(), source = lane + static_cast<int>(delta);
  const int from = source > (lane | (width - 1)) ? lane : source;
  return norma::emulator::shuffle_value(mask, +value, from, NORMA_EMULATOR_HERE);
}
template <class T>
auto __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, NORMA_EMULATOR_SITE) {
  const int lane = norma::emulator::lane(), source = lane ^ lane_mask;
  const int from = source > (lane | (width - 1)) ? lane : source;
  return norma::emulator::shuffle_value(mask, +value, from, NORMA_EMULATOR_HERE);
}

[[noreturn]] inline void __trap(NORMA_EMULATOR_SITE) { norma::emulator::trap(NORMA_EMULATOR_HERE); }
inline void __nanosleep(unsigned) { norma::emulator::yield(); }

#undef NORMA_EMULATOR_SITE
#undef NORMA_EMULATOR_HERE
