#include "backends/cuda/emulator/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "backends/cuda/emulator/emulator.h"
#include "backends/cuda/emulator/fault.h"
#include "backends/cuda/emulator/sanitizers.h"
#include "core/check.h"

namespace norma::emulator {
namespace {

constexpr std::size_t alignment = 256;  // cudaMalloc's
constexpr std::size_t redzone = 1024;   // between allocations; AddressSanitizer reports accesses to it
constexpr std::size_t page = 4096;
constexpr std::size_t region_bytes = std::size_t{16} << 30;

std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }
std::uintptr_t number(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

// Addresses from which allocations are cut one after the other; memory comes when it is first written.
struct Region {
  char* begin;
  std::size_t bytes;
  std::size_t used;
  std::size_t live;  // allocations
};

class DeviceMemory {
 public:
  void* allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes > limit_ || live_bytes_ > limit_ - bytes) return nullptr;
    const std::size_t extent = round_up(bytes, alignment) + redzone;
    if (regions_.empty() || regions_.back().bytes - regions_.back().used < extent) {
      if (!add_region(extent)) return nullptr;
    }
    Region& region = regions_.back();
    char* const address = region.begin + region.used;
    region.used += extent;
    ++region.live;
    watch_device_range(region.begin, region.bytes);
    if (opened_ > 0) protect(region, PROT_READ | PROT_WRITE);
    allow(address, bytes);
    forbid(address + bytes, extent - bytes);
    live_.emplace(number(address), bytes);
    live_bytes_ += bytes;
    return address;
  }

  bool free(void* address) {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(number(address));
    if (found == live_.end()) return false;
    const std::size_t bytes = found->second;
    live_.erase(found);
    live_bytes_ -= bytes;
    forbid(address, bytes);
    const std::uintptr_t first = round_up(number(address), page),
                         last = (number(address) + bytes) / page * page;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
    --region_of(address)->live;
    return true;
  }

  void open() {
    const std::lock_guard lock(mutex_);
    if (++opened_ == 1)
      for (const Region& region : regions_) protect(region, PROT_READ | PROT_WRITE);
  }
  void close() {
    const std::lock_guard lock(mutex_);
    if (--opened_ == 0)
      for (const Region& region : regions_) protect(region, PROT_NONE);
  }

  void* pin(std::size_t bytes) {
    void* const address = std::aligned_alloc(page, round_up(std::max<std::size_t>(bytes, 1), page));
    const std::lock_guard lock(mutex_);
    if (address != nullptr) pinned_.emplace(number(address), bytes);
    return address;
  }
  bool unpin(void* address) {
    const std::lock_guard lock(mutex_);
    if (pinned_.erase(number(address)) == 0) return false;
    std::free(address);
    return true;
  }

  Memory at(const void* address) {
    const std::lock_guard lock(mutex_);
    if (holder(live_, address) != live_.end()) return Memory::device;
    if (region_of(address) != nullptr) return Memory::freed;
    return holder(pinned_, address) != pinned_.end() ? Memory::pinned : Memory::other;
  }

  /// Bytes from the address to the end of its allocation, and that allocation's size.
  std::pair<std::size_t, std::size_t> room(const void* address) {
    const std::lock_guard lock(mutex_);
    const auto found = holder(live_, address);
    if (found == live_.end()) return {0, 0};
    return {found->first + found->second - number(address), found->second};
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
  using Blocks = std::map<std::uintptr_t, std::size_t>;  // start -> bytes

  static Blocks::const_iterator holder(const Blocks& blocks, const void* address) {
    auto after = blocks.upper_bound(number(address));
    if (after == blocks.begin()) return blocks.end();
    --after;
    return number(address) - after->first <= after->second ? after : blocks.end();
  }

  Region* region_of(const void* address) {
    for (Region& region : regions_)
      if (number(address) - number(region.begin) < region.bytes) return &region;
    return nullptr;
  }

  bool add_region(std::size_t at_least) {
    // A region without live allocations has had its time.
    std::erase_if(regions_, [](const Region& old) {
      if (old.live == 0) {
        allow(old.begin, old.used);
        munmap(old.begin, old.bytes);
      }
      return old.live == 0;
    });
    const std::size_t bytes = std::max(region_bytes, round_up(at_least + redzone, page));
    void* const begin = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (begin == MAP_FAILED) return false;
    regions_.push_back({static_cast<char*>(begin), bytes, redzone, 0});
    forbid(begin, redzone);
    return true;
  }

  static void protect(const Region& region, int protection) {
    NORMA_CHECK(mprotect(region.begin, round_up(region.used, page), protection) == 0,
                "cuda emulator: the system refused to change the protection of device memory");
  }

  std::mutex mutex_;
  std::vector<Region> regions_;
  Blocks live_, pinned_;
  std::size_t live_bytes_ = 0, limit_ = default_memory;
  int opened_ = 0;
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
  void* const address = memory().allocate(bytes);
  if (address != nullptr) {
    const DeviceAccess access;
    std::memset(address, poison_byte, bytes);
  }
  return address;
}

bool free_device(void* address) { return memory().free(address); }
void* allocate_pinned(std::size_t bytes) { return memory().pin(bytes); }
bool free_pinned(void* address) { return memory().unpin(address); }
std::size_t free_bytes() { return memory().available(); }
std::size_t memory_limit() { return memory().limit(); }
void set_memory_limit(std::size_t bytes) { memory().set_limit(bytes); }
Memory memory_at(const void* address) { return memory().at(address); }

std::string device_range_fault(const void* address, std::size_t bytes) {
  switch (memory_at(address)) {
    case Memory::device: {
      const auto [left, size] = memory().room(address);
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

DeviceAccess::DeviceAccess() { memory().open(); }
DeviceAccess::~DeviceAccess() { memory().close(); }

void poison(void* device_memory, std::size_t bytes) {
  const std::string fault = bytes == 0 ? std::string() : device_range_fault(device_memory, bytes);
  NORMA_CHECK(fault.empty(), "emulator::poison: ", fault);
  const DeviceAccess access;
  std::memset(device_memory, poison_byte, bytes);
}

}  // namespace norma::emulator
