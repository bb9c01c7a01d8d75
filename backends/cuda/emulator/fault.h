// The signal handler that says in words what happened when the host touched device memory, or a kernel's
// thread ran out of stack. Then the handler that was there before takes over, or the process ends.
#pragma once

#include <cstddef>

namespace norma::emulator {

/// Reports faults in this range of addresses. Called for every allocation, since the handler may be replaced.
void watch_device_range(const void* begin, std::size_t bytes);

/// Gives the calling thread a stack for the handler, since a fiber's may be full.
void give_signal_stack();

}  // namespace norma::emulator
