#include "backends/cuda/emulator/launch.h"

#include <cxxabi.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "backends/cuda/emulator/block.h"
#include "backends/cuda/emulator/device.h"
#include "backends/cuda/emulator/memory.h"
#include "backends/cuda/emulator/state.h"
#include "core/parallel.h"

namespace norma::emulator {
namespace {

std::uint64_t seed_of_environment() {
  const char* const text = std::getenv("NORMA_FIBER_SEED");
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

std::atomic<std::uint64_t>& seed() {
  static std::atomic<std::uint64_t> value{seed_of_environment()};
  return value;
}
std::atomic<std::uint64_t> launch_number{0};

const std::string& name_of(const void* kernel) {
  static std::mutex mutex;
  static std::unordered_map<const void*, std::string>& names =
      *new std::unordered_map<const void*, std::string>;
  const std::lock_guard lock(mutex);
  auto found = names.find(kernel);
  if (found == names.end()) found = names.emplace(kernel, readable_name(kernel)).first;
  return found->second;
}

std::string type_name(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(
      abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), std::free);
  return readable ? readable.get() : type.name();
}

// True for a word that can hardly be anything but a pointer into the host's memory: programs and their heaps,
// stacks and libraries lie above 2^46, and something is mapped there.
bool is_host_address(std::uintptr_t word) {
  if (word < std::uintptr_t{1} << 46 || word >= std::uintptr_t{1} << 48) return false;
  unsigned char resident = 0;
  return mincore(reinterpret_cast<void*>(word & ~std::uintptr_t{4095}), 1, &resident) == 0;
}

// Why a kernel may not have this pointer; empty if it may.
std::string pointer_fault(const void* pointer) {
  if (pointer == nullptr || memory_at(pointer) == Memory::pinned) return {};
  return device_range_fault(pointer, 0);
}

// Replaces a word that is a device pointer by where the kernel can reach the memory. Returns why the kernel
// may not have the word; empty if it may.
std::string translate(std::byte* word, bool is_pointer) {
  const void* value = nullptr;
  std::memcpy(&value, word, sizeof value);
  if (is_pointer) {
    if (std::string fault = pointer_fault(value); !fault.empty()) return fault;
  } else {
    const Memory where = memory_at(value);
    if (where == Memory::freed ||
        (where == Memory::other && is_host_address(reinterpret_cast<std::uintptr_t>(value))))
      return pointer_fault(value) + " (or a part that was not initialized)";
    if (where != Memory::device) return {};
  }
  value = reachable(value);
  std::memcpy(word, &value, sizeof value);
  return {};
}

// The arguments for one run: device pointers, also those in structs, lead to where the kernel can reach the
// memory.
ArgumentValues prepared_values(const Launch& launch, const std::string& name) {
  ArgumentValues values = launch.values;
  for (std::size_t i = 0; i < launch.arguments.size(); ++i) {
    const Argument& argument = launch.arguments[i];
    if (!argument.is_pointer && !argument.is_struct) continue;
    std::byte* const bytes = values.data() + argument.offset;
    for (std::size_t at = 0; at + sizeof(void*) <= argument.bytes; at += sizeof(void*)) {
      const std::string fault = translate(bytes + at, argument.is_pointer);
      if (fault.empty()) continue;
      throw KernelError(detail::concat("kernel ", name, ": argument ", i + 1, " of ", launch.arguments.size(),
                                       " (", type_name(*argument.type),
                                       "): ", argument.is_struct ? detail::concat("at byte ", at, ", ") : "",
                                       fault));
    }
  }
  return values;
}

std::string configuration_fault(const Launch& launch) {
  const dim3 grid = launch.grid, block = launch.block;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return "an extent of the grid is 0";
  if (grid.x > max_grid_x || grid.y > max_grid_yz || grid.z > max_grid_yz)
    return detail::concat("the grid has more than ", max_grid_x, " x ", max_grid_yz, " x ", max_grid_yz,
                          " blocks");
  if (block.x == 0 || block.y == 0 || block.z == 0) return "an extent of the block is 0";
  if (block.z > max_block_z || std::uint64_t{block.x} * block.y * block.z > max_threads_per_block ||
      std::uint64_t{block.x} * block.y > max_threads_per_block)
    return detail::concat("the block has more than ", max_threads_per_block, " threads, or more than ",
                          max_block_z, " along z");
  return {};
}

// Runs the blocks on the host's threads, a bounded number of pieces whatever the number of threads.
void run_grid(const Launch& launch, const ArgumentValues& values, const std::string& name) {
  const std::uint64_t first_seed = seed().load();
  const std::uint64_t mixed =
      first_seed == 0 ? 0 : first_seed * 0x2545f4914f6cdd1du + launch_number.fetch_add(1) * 977;
  const auto blocks = static_cast<std::int64_t>(std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z);
  const KernelScope scope;
  parallel_for(blocks, blocks / 256 + 1, [&](std::int64_t begin, std::int64_t end) {
    BlockRunner& runner = BlockRunner::of_this_thread();
    for (std::int64_t i = begin; i < end; ++i) {
      const auto linear = static_cast<std::uint64_t>(i);
      const std::uint64_t row = linear / launch.grid.x;
      const uint3 index = {static_cast<unsigned>(linear % launch.grid.x),
                           static_cast<unsigned>(row % launch.grid.y),
                           static_cast<unsigned>(row / launch.grid.y)};
      runner.run(launch, values.data(), name, index,
                 mixed == 0 ? 0 : (mixed ^ linear * 0x9e3779b97f4a7c15u) | 1u);
    }
  });
}

}  // namespace

void set_fiber_seed(std::uint64_t value) {
  seed().store(value);
  launch_number.store(0);
}
std::uint64_t fiber_seed() { return seed().load(); }

cudaError_t submit(Launch launch, cudaStream_t stream, std::initializer_list<const void*> sources) {
  if (std::string fault = configuration_fault(launch); !fault.empty())
    return fail(cudaErrorInvalidConfiguration, std::move(fault));
  if (launch.shared_bytes > shared_memory_limit(launch.kernel))
    return fail(cudaErrorInvalidValue, detail::concat("at most ", shared_memory_limit(launch.kernel),
                                                      " bytes of dynamic shared memory (",
                                                      shared_memory_optin, " after cudaFuncSetAttribute)"));
  if (const auto& all = launch.arguments; !all.empty())
    launch.values.resize(all.back().offset + all.back().bytes);
  for (std::size_t i = 0; i < launch.arguments.size(); ++i)
    std::memcpy(launch.values.data() + launch.arguments[i].offset, sources.begin()[i],
                launch.arguments[i].bytes);
  return enqueue(stream, "launch", [launch = std::move(launch)] {
    const std::string& name = name_of(launch.kernel);
    const ArgumentValues values = prepared_values(launch, name);
    count([&](Counters& c) { ++c.launches[name]; });
    run_grid(launch, values, name);
    return cudaSuccess;
  });
}

}  // namespace norma::emulator
