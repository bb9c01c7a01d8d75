// One caching allocator per device: freed blocks are kept and handed out again, so that a training step in
// steady state asks the system for nothing. A freed block may be reused at once, because on every device
// the order of work is the order of use.
#pragma once

#include <cstdint>
#include <memory>

#include "core/device.h"

namespace norma {

/// Counters of one device's allocator.
struct MemoryStats {
  std::int64_t live_bytes = 0;          // in blocks that are in use
  std::int64_t peak_bytes = 0;          // largest live_bytes since start or reset_peak
  std::int64_t cached_bytes = 0;        // in free blocks kept for reuse
  std::int64_t reserved_bytes = 0;      // in free blocks kept for captured work
  std::int64_t system_allocations = 0;  // how often memory was new from the system
  std::int64_t live_blocks = 0;
};

MemoryStats memory_stats(Device device);
void reset_peak_memory(Device device);
/// Returns cached blocks to the system: on a host all that share no segment of memory with one in use.
void release_cached_memory(Device device);
/// Largest number of bytes that live and cached blocks may take together; 0 lifts the cap.
/// An allocation above it first drops cached blocks, then throws OutOfMemory.
void set_memory_cap(Device device, std::int64_t bytes);

/// Keeps the memory of captured work (core/captured_work.h) apart: no block handed out while it lasted goes
/// to others before this object ends, since each replay writes there again.
class MemoryReservation {
 public:
  /// One at a time for each device.
  explicit MemoryReservation(Device device);
  ~MemoryReservation();
  MemoryReservation(const MemoryReservation&) = delete;
  MemoryReservation& operator=(const MemoryReservation&) = delete;
  /// The end of the capture: what is handed out from here on is not reserved.
  void close();

 private:
  Device device_;
  std::int64_t number_;
};

/// A block of device memory shared by all arrays that look into it, with the counter of in-place changes.
class Storage {
 public:
  /// Uninitialized memory of `bytes` bytes (>= 0), aligned to 64 bytes. Throws OutOfMemory.
  Storage(std::int64_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  /// Counts in-place changes; the engine compares it to notice a value changed between forward and backward.
  std::int64_t version = 0;
  /// The version after the latest in-place change that was recorded in a graph.
  std::int64_t recorded_version = 0;

 private:
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
  std::int64_t block_bytes_ = 0;  // size class of the block, >= bytes_
  Device device_;
};

}  // namespace norma
