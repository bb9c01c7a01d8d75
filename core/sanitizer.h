// NORMA_ASAN: 1 in builds with AddressSanitizer, else 0.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#  define NORMA_ASAN 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define NORMA_ASAN 1
#  endif
#endif
#ifndef NORMA_ASAN
#  define NORMA_ASAN 0
#endif
