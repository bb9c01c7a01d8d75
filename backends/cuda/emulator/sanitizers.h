// What the emulator tells AddressSanitizer and ThreadSanitizer, where one of them is built in.
#pragma once

#include <cstddef>

#include "core/sanitizer.h"

#if defined(__SANITIZE_THREAD__)
#  define NORMA_THREAD_SANITIZER 1
#elif defined(__has_feature)
#  if __has_feature(thread_sanitizer)
#    define NORMA_THREAD_SANITIZER 1
#  endif
#endif

#if NORMA_ASAN
#  include <sanitizer/asan_interface.h>
#  include <sanitizer/common_interface_defs.h>
#endif
#if NORMA_THREAD_SANITIZER
#  include <sanitizer/tsan_interface.h>
#endif

namespace norma::emulator {

#if NORMA_ASAN
inline constexpr bool address_sanitizer = true;
inline void forbid(const void* address, std::size_t bytes) { __asan_poison_memory_region(address, bytes); }
inline void allow(const void* address, std::size_t bytes) { __asan_unpoison_memory_region(address, bytes); }
#else
inline constexpr bool address_sanitizer = false;
inline void forbid(const void*, std::size_t) {}
inline void allow(const void*, std::size_t) {}
#endif

}  // namespace norma::emulator
