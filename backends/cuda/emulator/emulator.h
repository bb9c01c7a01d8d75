// The emulator's own interface: what tests ask it, and what they set. See docs/cuda_emulator.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/check.h"

namespace norma::emulator {

/// A kernel did what no kernel may do, or was given what no kernel may have. what() names the kernel, and the
/// block and threads or the argument. Thrown in the host thread that launched it.
class KernelError : public Error {
 public:
  using Error::Error;
};

/// What happened since the start or the latest reset_counters().
struct Counters {
  std::map<std::string, std::int64_t>
      launches;                       // by kernel, as in `norma::block_sum<float>`; replays count too
  std::int64_t synchronizations = 0;  // of device, stream or event, blocking copies, cudaFree
  std::int64_t copies_to_device = 0, bytes_to_device = 0;
  std::int64_t copies_to_host = 0, bytes_to_host = 0;
  std::int64_t copies_on_device = 0, bytes_on_device = 0;
  std::int64_t allocations = 0, frees = 0;
  std::int64_t matrix_products = 0;  // calls of cuBLAS, a batch counts once
  std::int64_t graph_launches = 0;
};
Counters counters();
void reset_counters();
/// Launches of all kernels whose name contains `part`.
std::int64_t launches(std::string_view part);

/// The order in which the threads of a block run: 0 is the order of their indices, any other seed shuffles
/// it, for each block and launch anew. Starts as the environment's NORMA_FIBER_SEED, or 1.
void set_fiber_seed(std::uint64_t seed);
std::uint64_t fiber_seed();

/// Bytes that cudaMalloc hands out in all; starts as 16 GiB.
void set_memory_limit(std::size_t bytes);

/// Fills memory of the device with 0xFF bytes: NaN as f32 and f64, as if it had just been allocated. For
/// caching allocators, which hand out memory again without asking the runtime.
void poison(void* device_memory, std::size_t bytes);

/// Why the latest call in this thread returned an error, in words; empty if there is no more to say.
std::string last_error_detail();

}  // namespace norma::emulator
