// A fiber: a stack of its own and the place where it goes on. Fibers of one host thread take turns by a
// switch that stores and loads the registers a call preserves, without a system call.
//
// The switch is written here, in a dozen instructions for x86-64 and for aarch64, rather than taken from
// Boost.Context, so that the emulator needs no package; elsewhere it is swapcontext, several times slower.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) && !defined(__aarch64__)
#  define NORMA_FIBER_UCONTEXT 1
#endif
#if NORMA_FIBER_UCONTEXT
#  include <ucontext.h>
#endif

#include "backends/cuda/emulator/sanitizers.h"

namespace norma::emulator {

class Fiber {
 public:
  /// Stands for the calling host thread, which is left and comes back by switch_to.
  Fiber();
  /// Will run entry(), which must not return. `index` staggers the tops of stacks, lest they share cache
  /// sets.
  Fiber(void (*entry)(), int index);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Leaves this fiber, which must be the running one, and goes on with the other.
  void switch_to(Fiber& other);

  /// True for an address in the page below the stack, which no one may touch.
  bool is_guard(const void* address) const;

 private:
  friend void fiber_arrived(Fiber& fiber);

  void* stack_ = nullptr;  // guard page first; nullptr for a host thread
  const void* bottom_ = nullptr;
  std::size_t bytes_ = 0;  // without the guard page
#if NORMA_FIBER_UCONTEXT
  ucontext_t context_;
#else
  void* saved_ = nullptr;  // stack pointer
#endif
#if NORMA_ASAN
  void* fake_stack_ = nullptr;
#endif
#if NORMA_THREAD_SANITIZER
  void* shadow_ = nullptr;
#endif
};

/// The first thing that a fiber's entry() calls.
void fiber_arrived(Fiber& fiber);

}  // namespace norma::emulator
