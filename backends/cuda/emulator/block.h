// Runs blocks on one host thread. The threads of a block ("lanes" here, 32 of them a warp) are fibers that
// take turns; a lane leaves its turn only at a barrier, a warp operation or its end. Lanes that never wait
// run one after the other on the same fiber, so a kernel without barriers costs no switches.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "backends/cuda/emulator/fiber.h"
#include "backends/cuda/emulator/launch.h"
#include "backends/cuda/emulator/symbols.h"

namespace norma::emulator {

/// An order of the numbers 0 to 31; drawn anew for each turn of warps, and of lanes in a warp.
class Order {
 public:
  Order() = default;  // 0, 1, 2, ...
  explicit Order(std::uint64_t random)
      : factor_(static_cast<unsigned>(random >> 8) | 1u),
        offset_(static_cast<unsigned>(random >> 24)),
        flip_(static_cast<unsigned>(random >> 40)) {}
  unsigned operator[](unsigned i) const { return (((i * factor_ + offset_) & 31u) ^ flip_) & 31u; }

 private:
  unsigned factor_ = 1, offset_ = 0, flip_ = 0;
};

/// What a waiting lane waits for.
struct Operation {
  Site site;
  unsigned mask;  // of a warp operation
  bool is_shuffle;
  Vote vote;            // if not a shuffle
  int source;           // lane, of a shuffle
  std::uint64_t value;  // what this lane brings: the predicate or the value
};

enum class State : std::uint8_t { fresh, ready, at_block_barrier, at_warp_operation, done };

struct Lane {
  State state;
  Fiber* fiber;  // nullptr before the start and after the end
  uint3 index;
  Operation waits_for;
  std::uint64_t result;
};

class BlockRunner {
 public:
  BlockRunner();
  /// The calling host thread's.
  static BlockRunner& of_this_thread();
  /// The one whose kernel the calling thread is in, or nullptr.
  static BlockRunner* current();

  /// Runs all threads of one block. Throws KernelError, or what a thread threw, after all have been unwound.
  void run(const Launch& launch, const std::byte* values, const std::string& name, uint3 block_index,
           std::uint64_t seed);

  // What lanes call.
  std::uint64_t wait(State state, const Operation& operation);
  void give_way();
  void* shared_memory() const { return shared_; }
  void poison_shared_variables(std::uint64_t& marker);
  /// Throws KernelError, which names the kernel, the block and the thread that runs.
  [[noreturn]] void fail(const std::string& what) const;

  const char* kernel_name() const { return name_->c_str(); }
  bool is_guard(const void* address) const;

 private:
  static constexpr unsigned warp_lanes = 32;

  static void fiber_main();
  void run_lanes();
  void run_warps();
  Lane* next_lane();
  Fiber& enter(Lane& lane);
  void leave(Fiber& from);
  void stop_all();
  unsigned lanes_of(unsigned warp) const;
  bool finish_warp_operations(unsigned warp);
  bool finish_warp_operation(Lane* lanes, unsigned members);
  bool finish_block_barrier();
  std::string stuck() const;
  std::string place() const;
  std::uint64_t random();
  Order order();
  void prepare_shared_memory(std::size_t bytes);

  Fiber host_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::vector<Lane> lanes_;
  std::unordered_map<const void*, std::vector<SharedVariable>> shared_variables_;
  std::unique_ptr<unsigned char[]> shared_buffer_;
  std::size_t shared_capacity_ = 0;
  unsigned char* shared_ = nullptr;

  // The block that runs.
  const void* kernel_ = nullptr;
  RunThread run_thread_ = nullptr;
  const std::byte* values_ = nullptr;  // of the kernel's arguments
  const std::string* name_ = nullptr;
  unsigned count_ = 0;  // lanes
  unsigned done_ = 0;
  std::uint64_t seed_ = 0, random_ = 0;
  std::exception_ptr error_;
  bool stopping_ = false;

  // The turn: lanes of one warp in some order.
  unsigned warp_ = 0, position_ = 0;
  Order lane_order_;
  Lane* running_ = nullptr;
};

}  // namespace norma::emulator
