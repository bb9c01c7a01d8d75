// The signal handler that says in words what happened when the host touched device memory, or a kernel's
// thread ran out of stack. Then the handler that was there before takes over, or the process ends.
#pragma once

namespace norma::emulator {

/// Installs the handler. Called for every allocation, since others may have replaced it.
void watch_faults();

/// Gives the calling thread a stack for the handler, since a fiber's may be full.
void give_signal_stack();

}  // namespace norma::emulator
