// Device memory. It is mapped twice: at the address that cudaMalloc returns, closed to everybody, and at
// another one that only kernels and copies are given. So the host cannot touch it by accident, and no launch
// has to open anything. Addresses are never handed out twice, so a freed pointer stays recognizable. An
// allocation ends at a closed page. Fresh memory is full of NaN.
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
/// `freed` is any address in the device's ranges outside of live allocations; the end of one is inside.
Memory memory_at(const void* address);
/// Empty when the bytes lie in one live allocation, else what is wrong, as in "0x7f.. is host memory".
std::string device_range_fault(const void* address, std::size_t bytes);
/// The same for the host's side of a copy.
std::string host_range_fault(const void* address);

/// Where the memory behind an address can be reached; an address that is not the device's is returned as it
/// is.
void* reachable(const void* address);
template <class T>
T* reachable(T* address) {
  return static_cast<T*>(reachable(static_cast<const void*>(address)));
}

/// A kernel runs while it lives. Pointers that the kernel finds in memory are the host's closed ones:
/// open_for_kernel, called by the signal handler, opens what they point to until the last kernel ends.
class KernelScope {
 public:
  KernelScope();
  ~KernelScope();
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;
};

enum class Fault : std::uint8_t { elsewhere, device_memory, opened };
/// What an access to this address met. Opens a live allocation if the access is a kernel's.
Fault resolve_fault(const void* address, bool by_kernel);

}  // namespace norma::emulator
