// The device that is emulated: the least of those that the backend is built for (compute capability 7.5), so
// that a launch which fits here fits on all.
#pragma once

#include <cstddef>

namespace norma::emulator {

constexpr int max_threads_per_block = 1024;
constexpr int multiprocessors = 8;
constexpr int max_threads_per_multiprocessor = 1024;
constexpr std::size_t shared_memory = 48 << 10;        // of a block
constexpr std::size_t shared_memory_optin = 64 << 10;  // after cudaFuncSetAttribute
constexpr int max_grid_x = 2147483647, max_grid_yz = 65535, max_block_z = 64;

}  // namespace norma::emulator
