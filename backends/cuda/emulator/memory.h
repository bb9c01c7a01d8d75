// Device memory: a range of addresses of its own, closed to everybody except while a kernel or a copy runs.
// Addresses are never handed out twice, so a freed pointer stays recognizable. Fresh memory is full of NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace norma::emulator {

constexpr int poison_byte = 0xff;  // four or eight of them are a NaN
constexpr std::size_t default_memory = std::size_t{16} << 30;

/// nullptr when the limit is reached or the system refuses.
void* allocate_device(std::size_t bytes);
/// False when the address is not the start of a live allocation.
bool free_device(void* address);
void* allocate_pinned(std::size_t bytes);
bool free_pinned(void* address);
std::size_t free_bytes();
std::size_t memory_limit();

enum class Memory : std::uint8_t { device, freed, pinned, other };
/// `freed` is any address in the device's range outside of live allocations; the end of one is inside.
Memory memory_at(const void* address);
/// Empty when the bytes lie in one live allocation, else what is wrong, as in "0x7f.. is host memory".
std::string device_range_fault(const void* address, std::size_t bytes);
/// The same for the host's side of a copy.
std::string host_range_fault(const void* address);

/// Opens device memory while it lives. Any number at a time, in any threads.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace norma::emulator
