#include "backends/cuda/emulator/fault.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>

#include "backends/cuda/emulator/block.h"
#include "backends/cuda/emulator/memory.h"

namespace norma::emulator {
namespace {

struct sigaction previous;

// What happened, in words; 0 characters for a fault that is none of the emulator's business.
int describe(const BlockRunner* runner, const void* address, char* text, std::size_t room) {
  if (runner == nullptr)
    return std::snprintf(text, room,
                         "cuda emulator: host code touched device memory at %p; copy it with cudaMemcpy\n",
                         address);
  return std::snprintf(
      text, room,
      "cuda emulator: kernel %s, thread (%u, %u, %u) of block (%u, %u, %u): nothing is allocated "
      "at %p\n",
      runner->kernel_name(), threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z,
      address);
}

void report(int signal, siginfo_t* info, void*) {
  const BlockRunner* const runner = BlockRunner::current();
  char text[512];
  int length = 0;
  if (runner != nullptr && runner->is_guard(info->si_addr)) {
    length = std::snprintf(text, sizeof text, "cuda emulator: kernel %s: a thread ran out of stack\n",
                           runner->kernel_name());
  } else {
    const Fault fault = resolve_fault(info->si_addr, runner != nullptr);
    if (fault == Fault::opened) return;  // the access is tried again
    if (fault == Fault::device_memory) length = describe(runner, info->si_addr, text, sizeof text);
  }
  if (length > 0) {
    const auto bytes = std::min(static_cast<std::size_t>(length), sizeof text - 1);
    if (write(STDERR_FILENO, text, bytes) < 0) _exit(1);
  }
  sigaction(signal, &previous, nullptr);  // the access is tried again, and meets the previous handler
}

}  // namespace

void watch_faults() {
  struct sigaction present = {};
  sigaction(SIGSEGV, nullptr, &present);
  if ((present.sa_flags & SA_SIGINFO) != 0 && present.sa_sigaction == report) return;
  previous = present;
  struct sigaction action = {};
  action.sa_sigaction = report;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGSEGV, &action, nullptr);
}

// On the heap: memory of thread_local variables is taken from the stack of every thread.
void give_signal_stack() {
  stack_t present = {};
  if (sigaltstack(nullptr, &present) != 0 || (present.ss_flags & SS_DISABLE) == 0) return;
  constexpr std::size_t bytes = 64 << 10;
  struct SignalStack {
    std::unique_ptr<char[]> memory{new char[bytes]};
    ~SignalStack() {
      stack_t none = {};
      none.ss_flags = SS_DISABLE;
      sigaltstack(&none, nullptr);
    }
  };
  static thread_local const SignalStack stack;
  stack_t fresh = {};
  fresh.ss_sp = stack.memory.get();
  fresh.ss_size = bytes;
  sigaltstack(&fresh, nullptr);
}

}  // namespace norma::emulator
