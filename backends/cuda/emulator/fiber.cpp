#include "backends/cuda/emulator/fiber.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if !NORMA_FIBER_UCONTEXT
// void norma_fiber_switch(void** save, void* load): pushes the registers that a call preserves, stores the
// stack pointer at save, takes the one in load and pops.
extern "C" void norma_fiber_switch(void** save, void* load);
#  if defined(__x86_64__)
asm(R"(
.text
.globl norma_fiber_switch
.hidden norma_fiber_switch
.type norma_fiber_switch, @function
norma_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size norma_fiber_switch, .-norma_fiber_switch
)");
#  else
asm(R"(
.text
.globl norma_fiber_switch
.hidden norma_fiber_switch
.type norma_fiber_switch, %function
norma_fiber_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size norma_fiber_switch, .-norma_fiber_switch
)");
#  endif
#endif

namespace norma::emulator {
namespace {

std::size_t guard_bytes() {
  static const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return page;
}
constexpr std::size_t stack_bytes = address_sanitizer ? 512 << 10 : 128 << 10;

#if !NORMA_FIBER_UCONTEXT
// The frame that norma_fiber_switch pops: zeros, and entry as the place to return to.
void* first_frame(char* top, void (*entry)()) {
  const auto address = reinterpret_cast<std::uintptr_t>(entry);
#  if defined(__x86_64__)
  constexpr int words = 8, return_word = 6;  // above it a zero return address, for whoever walks the stack
#  else
  constexpr int words = 20, return_word = 11;
#  endif
  auto* const frame = reinterpret_cast<std::uintptr_t*>(top) - words;
  for (int i = 0; i < words; ++i) frame[i] = 0;
  frame[return_word] = address;
  return frame;
}
#endif

}  // namespace

Fiber::Fiber() {
#if NORMA_ASAN
  pthread_attr_t attributes;
  void* bottom = nullptr;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    pthread_attr_getstack(&attributes, &bottom, &bytes_);
    pthread_attr_destroy(&attributes);
    bottom_ = bottom;
  }
#endif
#if NORMA_THREAD_SANITIZER
  shadow_ = __tsan_get_current_fiber();
#endif
}

Fiber::Fiber(void (*entry)(), int index) : bytes_(stack_bytes) {
  stack_ = mmap(nullptr, guard_bytes() + stack_bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (stack_ == MAP_FAILED) throw std::bad_alloc();
  // The system allows only so many ranges of different protection; without a guard all else still works.
  static_cast<void>(mprotect(stack_, guard_bytes(), PROT_NONE));
  bottom_ = static_cast<char*>(stack_) + guard_bytes();
  char* const top = static_cast<char*>(stack_) + guard_bytes() + stack_bytes -
                    static_cast<std::size_t>(index % 64) * 448 % 4096;
#if NORMA_FIBER_UCONTEXT
  getcontext(&context_);
  context_.uc_stack.ss_sp = static_cast<char*>(stack_) + guard_bytes();
  context_.uc_stack.ss_size = static_cast<std::size_t>(top - static_cast<char*>(context_.uc_stack.ss_sp));
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#else
  saved_ = first_frame(top, entry);
#endif
#if NORMA_THREAD_SANITIZER
  shadow_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  if (stack_ == nullptr) return;
#if NORMA_THREAD_SANITIZER
  __tsan_destroy_fiber(shadow_);
#endif
  allow(bottom_, bytes_);
  munmap(stack_, guard_bytes() + bytes_);
}

void Fiber::switch_to(Fiber& other) {
#if NORMA_ASAN
  __sanitizer_start_switch_fiber(&fake_stack_, other.bottom_, other.bytes_);
#endif
#if NORMA_THREAD_SANITIZER
  __tsan_switch_to_fiber(other.shadow_, 0);
#endif
#if NORMA_FIBER_UCONTEXT
  swapcontext(&context_, &other.context_);
#else
  norma_fiber_switch(&saved_, other.saved_);
#endif
  fiber_arrived(*this);
}

void fiber_arrived([[maybe_unused]] Fiber& fiber) {
#if NORMA_ASAN
  __sanitizer_finish_switch_fiber(fiber.fake_stack_, nullptr, nullptr);
#endif
}

bool Fiber::is_guard(const void* address) const {
  const auto* const at = static_cast<const char*>(address);
  const auto* const guard = static_cast<const char*>(stack_);
  return guard != nullptr && at >= guard && at < guard + guard_bytes();
}

}  // namespace norma::emulator
