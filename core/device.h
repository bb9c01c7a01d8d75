// Where an array lives, and so which backend works on it.
#pragma once

#include <cstdint>

namespace norma {

/// cpu: OpenBLAS and OpenMP. cuda: a GPU. reference: plain loops in host memory, the oracle of the tests.
enum class Device : std::uint8_t { cpu, cuda, reference };

inline constexpr Device cpu = Device::cpu;
inline constexpr Device cuda = Device::cuda;
inline constexpr Device reference = Device::reference;
inline constexpr int device_count = 3;

const char* name(Device device);

/// True where the host may read the device's memory through a pointer.
constexpr bool is_host(Device device) { return device != Device::cuda; }

}  // namespace norma
