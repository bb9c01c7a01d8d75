#include "backends/cuda/emulator/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "backends/cuda/emulator/emulator.h"
#include "backends/cuda/emulator/fault.h"
#include "backends/cuda/emulator/sanitizers.h"
#include "core/check.h"

namespace norma::emulator {
namespace {

constexpr std::size_t alignment = 256;  // cudaMalloc's
constexpr std::size_t region_bytes = std::size_t{16} << 30;
constexpr std::uintptr_t nowhere = 0;

std::size_t page_bytes() {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}
std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }
std::uintptr_t number(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }
void* pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

void protect(std::uintptr_t begin, std::size_t bytes, int protection) {
  NORMA_CHECK(mprotect(pointer(begin), bytes, protection) == 0,
              "cuda emulator: the system refused to change the protection of memory");
}

// A range of addresses from which allocations are cut one after the other, and its twin that can be reached.
struct Region {
  std::uintptr_t closed, open;
  std::size_t bytes, used;
  std::size_t live;  // allocations
};

struct Block {
  std::size_t bytes;
  std::uintptr_t pages;  // first page of those it is cut from, at the closed address
  std::size_t extent;    // bytes of these pages, without the guard page behind
};

class DeviceMemory {
 public:
  // [ pages of the block: unused, then the block up to 256 bytes before the end ][ guard page ]
  std::uintptr_t allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes > limit_ || live_bytes_ > limit_ - bytes) return nowhere;
    const std::size_t extent = round_up(bytes, page_bytes()), needed = extent + page_bytes();
    if (regions_.empty() || regions_.back().bytes - regions_.back().used < needed) {
      if (!add_region(needed)) return nowhere;
    }
    Region& region = regions_.back();
    const std::uintptr_t pages = region.closed + region.used,
                         address = pages + extent - round_up(bytes, alignment);
    if (mprotect(pointer(pages - region.closed + region.open), extent, PROT_READ | PROT_WRITE) != 0)
      return nowhere;
    region.used += needed;
    ++region.live;
    for (const std::uintptr_t twin : {std::uintptr_t{0}, region.open - region.closed}) {
      forbid(pointer(pages + twin), address - pages);
      allow(pointer(address + twin), bytes);
      forbid(pointer(address + twin + bytes), pages + needed - address - bytes);
    }
    live_.emplace(address, Block{bytes, pages, extent});
    live_bytes_ += bytes;
    return address;
  }

  bool free(std::uintptr_t address) {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(address);
    if (found == live_.end()) return false;
    const Block block = found->second;
    live_.erase(found);
    live_bytes_ -= block.bytes;
    Region& region = *region_of(address);
    --region.live;
    void* const open = pointer(block.pages - region.closed + region.open);
    madvise(open, block.extent, MADV_REMOVE);
    protect(number(open), block.extent, PROT_NONE);
    for (const std::uintptr_t twin : {std::uintptr_t{0}, region.open - region.closed})
      forbid(pointer(block.pages + twin), block.extent);
    return true;
  }

  void* pin(std::size_t bytes) {
    void* const address = std::aligned_alloc(4096, round_up(std::max<std::size_t>(bytes, 1), 4096));
    const std::lock_guard lock(mutex_);
    if (address != nullptr) pinned_.emplace(number(address), Block{bytes, nowhere, 0});
    return address;
  }
  bool unpin(void* address) {
    const std::lock_guard lock(mutex_);
    if (pinned_.erase(number(address)) == 0) return false;
    std::free(address);
    return true;
  }

  Memory at(std::uintptr_t address) {
    const std::lock_guard lock(mutex_);
    if (holder(live_, closed(address)) != live_.end()) return Memory::device;
    if (region_of(address) != nullptr) return Memory::freed;
    return holder(pinned_, address) != pinned_.end() ? Memory::pinned : Memory::other;
  }

  /// Bytes from the address to the end of its allocation, and that allocation's size.
  std::pair<std::size_t, std::size_t> room(std::uintptr_t address) {
    const std::lock_guard lock(mutex_);
    const auto found = holder(live_, closed(address));
    if (found == live_.end()) return {0, 0};
    return {found->first + found->second.bytes - closed(address), found->second.bytes};
  }

  std::uintptr_t reachable(std::uintptr_t address) {
    const std::lock_guard lock(mutex_);
    const Region* const region = region_of(address);
    return region != nullptr && address - region->closed < region->bytes
               ? address - region->closed + region->open
               : address;
  }

  // From a signal handler. The lock is not this thread's: nothing that it guards touches device memory.
  Fault resolve(std::uintptr_t address, bool by_kernel) {
    const std::lock_guard lock(mutex_);
    if (region_of(address) == nullptr) return Fault::elsewhere;
    const auto found = holder(live_, address);
    if (!by_kernel || found == live_.end()) return Fault::device_memory;
    if (mprotect(pointer(found->second.pages), found->second.extent, PROT_READ | PROT_WRITE) != 0)
      return Fault::device_memory;
    some_opened_.store(true);
    return Fault::opened;
  }

  void enter_kernel() { ++kernels_; }
  void leave_kernel() {
    if (--kernels_ > 0 || !some_opened_.load()) return;
    const std::lock_guard lock(mutex_);
    some_opened_.store(false);
    for (const Region& region : regions_)
      protect(region.closed, round_up(region.used, page_bytes()), PROT_NONE);
  }

  void set_limit(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    limit_ = bytes;
  }
  std::size_t limit() {
    const std::lock_guard lock(mutex_);
    return limit_;
  }
  std::size_t available() {
    const std::lock_guard lock(mutex_);
    return limit_ > live_bytes_ ? limit_ - live_bytes_ : 0;
  }

 private:
  using Blocks = std::map<std::uintptr_t, Block>;  // by start

  static Blocks::const_iterator holder(const Blocks& blocks, std::uintptr_t address) {
    auto after = blocks.upper_bound(address);
    if (after == blocks.begin()) return blocks.end();
    --after;
    return address - after->first <= after->second.bytes ? after : blocks.end();
  }

  Region* region_of(std::uintptr_t address) {
    for (Region& region : regions_)
      if (address - region.closed < region.bytes || address - region.open < region.bytes) return &region;
    return nullptr;
  }

  std::uintptr_t closed(std::uintptr_t address) {
    const Region* const region = region_of(address);
    return region != nullptr && address - region->open < region->bytes
               ? address - region->open + region->closed
               : address;
  }

  bool add_region(std::size_t at_least) {
    std::erase_if(regions_, [](const Region& old) { return old.live == 0 && give_back(old); });
    const std::size_t bytes = std::max(region_bytes, at_least + page_bytes());
    const int file = memfd_create("cuda emulator", MFD_CLOEXEC);
    if (file < 0) return false;
    void* twins[2] = {MAP_FAILED, MAP_FAILED};
    if (ftruncate(file, static_cast<off_t>(bytes)) == 0)
      for (void*& twin : twins) twin = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
    close(file);
    if (twins[0] == MAP_FAILED || twins[1] == MAP_FAILED) return false;
    regions_.push_back({number(twins[0]), number(twins[1]), bytes, page_bytes(), 0});
    for (void* const twin : twins) forbid(twin, page_bytes());
    return true;
  }

  static bool give_back(const Region& region) {
    for (const std::uintptr_t twin : {region.closed, region.open}) {
      allow(pointer(twin), region.used);
      munmap(pointer(twin), region.bytes);
    }
    return true;
  }

  std::mutex mutex_;
  std::vector<Region> regions_;
  Blocks live_, pinned_;
  std::size_t live_bytes_ = 0, limit_ = default_memory;
  std::atomic<int> kernels_{0};
  std::atomic<bool> some_opened_{false};
};

// Never destroyed: arrays may be freed by destructors that run after main.
DeviceMemory& memory() {
  static DeviceMemory* const made = new DeviceMemory;
  return *made;
}

std::string hexadecimal(const void* address) {
  char text[32];
  std::snprintf(text, sizeof text, "%p", address);
  return text;
}

}  // namespace

void* allocate_device(std::size_t bytes) {
  watch_faults();
  void* const address = pointer(memory().allocate(bytes));
  if (address != nullptr) std::memset(reachable(address), poison_byte, bytes);
  return address;
}

bool free_device(void* address) { return memory().free(number(address)); }
void* allocate_pinned(std::size_t bytes) { return memory().pin(bytes); }
bool free_pinned(void* address) { return memory().unpin(address); }
std::size_t free_bytes() { return memory().available(); }
std::size_t memory_limit() { return memory().limit(); }
void set_memory_limit(std::size_t bytes) { memory().set_limit(bytes); }
Memory memory_at(const void* address) { return memory().at(number(address)); }
void* reachable(const void* address) { return pointer(memory().reachable(number(address))); }
Fault resolve_fault(const void* address, bool by_kernel) {
  return memory().resolve(number(address), by_kernel);
}

std::string device_range_fault(const void* address, std::size_t bytes) {
  switch (memory_at(address)) {
    case Memory::device: {
      const auto [left, size] = memory().room(number(address));
      if (bytes <= left) return {};
      return detail::concat(hexadecimal(address), " is ", left, " bytes before the end of its allocation of ",
                            size, " bytes, ", bytes, " are needed");
    }
    case Memory::freed:
      return hexadecimal(address) + " is freed device memory, or lies between allocations";
    case Memory::pinned:
      return hexadecimal(address) + " is pinned host memory";
    case Memory::other:
      break;
  }
  return address == nullptr ? std::string("is null") : hexadecimal(address) + " is host memory";
}

std::string host_range_fault(const void* address) {
  if (address == nullptr) return "is null";
  switch (memory_at(address)) {
    case Memory::device:
    case Memory::freed:
      return hexadecimal(address) + " is device memory";
    case Memory::pinned:
    case Memory::other:
      break;
  }
  return {};
}

KernelScope::KernelScope() { memory().enter_kernel(); }
KernelScope::~KernelScope() { memory().leave_kernel(); }

void poison(void* device_memory, std::size_t bytes) {
  const std::string fault = bytes == 0 ? std::string() : device_range_fault(device_memory, bytes);
  NORMA_CHECK(fault.empty(), "emulator::poison: ", fault);
  std::memset(reachable(device_memory), poison_byte, bytes);
}

}  // namespace norma::emulator
