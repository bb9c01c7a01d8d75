#include "backends/cuda/emulator/fault.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>

#include "backends/cuda/emulator/block.h"

namespace norma::emulator {
namespace {

std::atomic<std::uintptr_t> lowest{~std::uintptr_t{0}}, highest{0};  // all ranges lie between
struct sigaction previous;

void report(int signal, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  char text[512];
  int length = 0;
  if (const BlockRunner* runner = BlockRunner::current();
      runner != nullptr && runner->is_guard(info->si_addr)) {
    length = std::snprintf(text, sizeof text, "cuda emulator: kernel %s: a thread ran out of stack\n",
                           runner->kernel_name());
  } else if (address >= lowest.load() && address < highest.load()) {
    length =
        runner != nullptr
            ? std::snprintf(text, sizeof text,
                            "cuda emulator: kernel %s, thread (%u, %u, %u) of block (%u, %u, %u): address %p "
                            "is not in any allocation\n",
                            runner->kernel_name(), threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x,
                            blockIdx.y, blockIdx.z, info->si_addr)
            : std::snprintf(text, sizeof text,
                            "cuda emulator: host code touched device memory at %p; copy it with cudaMemcpy\n",
                            info->si_addr);
  }
  if (length > 0) {
    const auto bytes = std::min(static_cast<std::size_t>(length), sizeof text - 1);
    if (write(STDERR_FILENO, text, bytes) < 0) _exit(1);
  }
  sigaction(signal, &previous, nullptr);  // the access is tried again, and meets the previous handler
}

// Others may have put in a handler of theirs since.
void install() {
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

}  // namespace

void watch_device_range(const void* begin, std::size_t bytes) {
  install();
  const auto first = reinterpret_cast<std::uintptr_t>(begin);
  lowest.store(std::min(lowest.load(), first));
  highest.store(std::max(highest.load(), first + bytes));
}

void give_signal_stack() {
  stack_t present = {};
  if (sigaltstack(nullptr, &present) != 0 || (present.ss_flags & SS_DISABLE) == 0) return;
  alignas(16) static thread_local char memory[64 << 10];
  stack_t fresh = {};
  fresh.ss_sp = memory;
  fresh.ss_size = sizeof memory;
  sigaltstack(&fresh, nullptr);
}

}  // namespace norma::emulator
