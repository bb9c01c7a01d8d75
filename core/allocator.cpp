// Sizes are multiples of 512 bytes. Free blocks of up to 64 KiB lie in one list per size. Larger ones are, on
// a host, cut from segments and joined with their free neighbours again, so that what the forward pass leaves
// serves gradients of other sizes. On a GPU they stay as the system gave them, above 1 MiB in multiples of
// 2 MiB: the smallest that fits is taken, if it is less than twice the size asked for.
#include "core/allocator.h"

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "core/backend.h"
#include "core/check.h"
#include "core/sanitizer.h"
#include "core/segments.h"

#if NORMA_ASAN
#  include <sanitizer/asan_interface.h>
#endif

namespace norma {
namespace {

constexpr std::int64_t small_step = 512, small_limit = 64 << 10;
constexpr std::int64_t large_from = 1 << 20, large_step = 2 << 20, segment = 256 << 20;

std::int64_t round_up(std::int64_t bytes, std::int64_t step) { return (bytes + step - 1) / step * step; }

// Under AddressSanitizer, memory that no array owns may not be touched: cached blocks, and a block's slack.
void forbid([[maybe_unused]] void* data, [[maybe_unused]] std::int64_t bytes,
            [[maybe_unused]] std::int64_t allowed, [[maybe_unused]] Device device) {
#if NORMA_ASAN
  if (!is_host(device)) return;
  ASAN_UNPOISON_MEMORY_REGION(data, static_cast<std::size_t>(bytes));
  ASAN_POISON_MEMORY_REGION(static_cast<char*>(data) + allowed, static_cast<std::size_t>(bytes - allowed));
#endif
}

class Allocator {
 public:
  explicit Allocator(Device device) : device_(device) {}

  // bytes > 0. block_bytes is the size of the block given, which release needs.
  void* allocate(std::int64_t bytes, std::int64_t& block_bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes > std::numeric_limits<std::int64_t>::max() - large_step) throw_out_of_memory(bytes);
    block_bytes = round_up(bytes, bytes > large_from && !is_host(device_) ? large_step : small_step);
    void* data = take_cached(block_bytes);
    if (data == nullptr) data = take_new(bytes, block_bytes);
    stats_.live_bytes += block_bytes;
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
    ++stats_.live_blocks;
    if (open_reservation_ != 0) handed_out_.emplace(data, block_bytes);
    forbid(data, block_bytes, bytes, device_);
    return data;
  }

  void release(void* data, std::int64_t block_bytes) noexcept {
    const std::lock_guard lock(mutex_);
    stats_.live_bytes -= block_bytes;
    --stats_.live_blocks;
    const auto found = reserved_.empty() ? reserved_.end() : reserved_.find(data);
    if (found == reserved_.end()) return cache(data, block_bytes);
    found->second.free = true;
    stats_.reserved_bytes += block_bytes;
  }

  // Blocks handed out from here to close_reservation belong to the reservation of this number.
  std::int64_t open_reservation() {
    const std::lock_guard lock(mutex_);
    NORMA_CHECK(open_reservation_ == 0, "capture: work of ", device_, " is being captured already");
    return open_reservation_ = ++reservations_;
  }

  void close_reservation(std::int64_t number) {
    const std::lock_guard lock(mutex_);
    if (open_reservation_ != number) return;
    open_reservation_ = 0;
    for (const auto& [data, bytes] : handed_out_) {
      const bool free = uncache(data, bytes);
      reserved_.emplace(data, Reserved{number, bytes, free});
      if (free) stats_.reserved_bytes += bytes;
    }
    handed_out_.clear();
  }

  void end_reservation(std::int64_t number) noexcept {
    const std::lock_guard lock(mutex_);
    for (auto block = reserved_.begin(); block != reserved_.end();) {
      if (block->second.reservation != number) {
        ++block;
        continue;
      }
      if (block->second.free) {
        stats_.reserved_bytes -= block->second.bytes;
        cache(block->first, block->second.bytes);
      }
      block = reserved_.erase(block);
    }
  }

  void drop_cached() {
    const std::lock_guard lock(mutex_);
    drop();
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak_bytes = stats_.live_bytes;
  }

  void set_cap(std::int64_t bytes) {
    NORMA_CHECK(bytes >= 0, "set_memory_cap: needs bytes >= 0 (0: no cap), got ", bytes);
    const std::lock_guard lock(mutex_);
    cap_ = bytes;
  }

 private:
  struct Reserved {
    std::int64_t reservation, bytes;
    bool free;
  };

  void cache(void* data, std::int64_t block_bytes) noexcept {
    try {
      if (block_bytes <= small_limit) {
        small_[small_index(block_bytes)].push_back(data);
      } else {
        if (!large_.give_back(data, open_reservation_ == 0)) return;  // it is lost
      }
    } catch (const std::bad_alloc&) {  // no room for a list entry
      return_to_system(data, block_bytes);
      return;
    }
    stats_.cached_bytes += block_bytes;
    forbid(data, block_bytes, 0, device_);
  }

  // Takes a block out of the cache; false when it is not there.
  bool uncache(void* data, std::int64_t block_bytes) {
    if (block_bytes <= small_limit) {
      auto& blocks = small_[small_index(block_bytes)];
      const auto found = std::find(blocks.begin(), blocks.end(), data);
      if (found == blocks.end()) return false;
      blocks.erase(found);
    } else if (!large_.take_at(data, block_bytes)) {
      return false;
    }
    stats_.cached_bytes -= block_bytes;
    return true;
  }

  static std::size_t small_index(std::int64_t block_bytes) {
    return static_cast<std::size_t>(block_bytes / small_step - 1);
  }

  // A free block of at least block_bytes, which is set to its size; nullptr when there is none.
  void* take_cached(std::int64_t& block_bytes) {
    void* data = nullptr;
    if (block_bytes <= small_limit) {
      auto& blocks = small_[small_index(block_bytes)];
      if (blocks.empty()) return nullptr;
      data = blocks.back();
      blocks.pop_back();
    } else {
      data = cuts() ? large_.take(block_bytes) : large_.take_whole(block_bytes);
      if (data == nullptr) return nullptr;
    }
    stats_.cached_bytes -= block_bytes;
    return data;
  }

  // Memory that was not touched before.
  void* take_new(std::int64_t bytes, std::int64_t block_bytes) {
    if (exceeds_cap(block_bytes)) drop();
    if (exceeds_cap(block_bytes)) throw_out_of_memory(bytes);
    void* data = block_bytes > small_limit && cuts() ? take_fresh(block_bytes) : nullptr;
    if (data == nullptr) data = ask_system(block_bytes);
    if (data == nullptr && stats_.cached_bytes > 0) {
      drop();
      data = ask_system(block_bytes);
    }
    if (data == nullptr) throw_out_of_memory(bytes);
    ++stats_.system_allocations;
    return data;
  }

  void* take_fresh(std::int64_t block_bytes) {
    if (void* const data = large_.take_fresh(block_bytes)) return data;
    const std::int64_t asked = std::max(segment, round_up(block_bytes, large_step));
    void* const data = backend(device_).allocate(asked);
    if (data == nullptr) return nullptr;
    large_.add(data, asked);
    return large_.take_fresh(block_bytes);
  }

  void* ask_system(std::int64_t block_bytes) {
    void* const data = backend(device_).allocate(block_bytes);
    if (data != nullptr && block_bytes > small_limit) large_.add_whole(data, block_bytes);
    return data;
  }

  bool exceeds_cap(std::int64_t block_bytes) const {
    return cap_ > 0 && block_bytes > cap_ - stats_.live_bytes - stats_.cached_bytes - stats_.reserved_bytes;
  }

  void drop() {
    if (open_reservation_ != 0) return;  // captured work may use what is cached now
    for (std::size_t i = 0; i < small_.size(); ++i) {
      for (void* data : small_[i]) return_cached(data, static_cast<std::int64_t>(i + 1) * small_step);
      small_[i].clear();
    }
    large_.remove_free([this](void* data, std::int64_t bytes) { return_cached(data, bytes); });
  }

  void return_cached(void* data, std::int64_t block_bytes) {
    stats_.cached_bytes -= block_bytes;
    return_to_system(data, block_bytes);
  }

  void return_to_system(void* data, std::int64_t block_bytes) {
    forbid(data, block_bytes, block_bytes, device_);
    backend(device_).release(data, block_bytes);
  }

  [[noreturn]] void throw_out_of_memory(std::int64_t bytes) const {
    throw OutOfMemory(detail::concat("out of memory on ", device_, ": asked for ", bytes, " bytes with ",
                                     stats_.live_bytes, " in use",
                                     cap_ > 0 ? detail::concat(" and a cap of ", cap_) : std::string()));
  }

  // Captured work keeps its blocks as they are: each replay writes there again. Under a cap, each block can
  // go back to the system. AddressSanitizer watches the borders of what the system gave.
  bool cuts() const { return is_host(device_) && open_reservation_ == 0 && cap_ == 0 && !NORMA_ASAN; }

  const Device device_;
  std::mutex mutex_;
  std::array<std::vector<void*>, small_limit / small_step> small_;
  Segments large_;
  std::int64_t open_reservation_ = 0, reservations_ = 0;  // 0: none
  std::unordered_map<void*, std::int64_t> handed_out_;    // in the open reservation: address -> bytes
  std::unordered_map<void*, Reserved> reserved_;
  MemoryStats stats_;
  std::int64_t cap_ = 0;
};

// Never destroyed: arrays may be freed by destructors that run after main.
Allocator& allocator(Device device) {
  static Allocator* const allocators[device_count] = {new Allocator(cpu), new Allocator(cuda),
                                                      new Allocator(reference)};
  const auto index = static_cast<std::size_t>(device);
  NORMA_CHECK(index < device_count, "allocator: unknown device number ", index);
  return *allocators[index];
}

}  // namespace

MemoryStats memory_stats(Device device) { return allocator(device).stats(); }
void reset_peak_memory(Device device) { allocator(device).reset_peak(); }
void release_cached_memory(Device device) { allocator(device).drop_cached(); }
void set_memory_cap(Device device, std::int64_t bytes) { allocator(device).set_cap(bytes); }

MemoryReservation::MemoryReservation(Device device)
    : device_(device), number_(allocator(device).open_reservation()) {}
MemoryReservation::~MemoryReservation() {
  allocator(device_).close_reservation(number_);
  allocator(device_).end_reservation(number_);
}
void MemoryReservation::close() { allocator(device_).close_reservation(number_); }

Storage::Storage(std::int64_t bytes, Device device) : bytes_(bytes), device_(device) {
  NORMA_CHECK(bytes >= 0, "storage: needs bytes >= 0, got ", bytes);
  if (bytes > 0) data_ = allocator(device).allocate(bytes, block_bytes_);
}

Storage::~Storage() {
  if (data_ != nullptr) allocator(device_).release(data_, block_bytes_);
}

}  // namespace norma
