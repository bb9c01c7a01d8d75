// Stores that pass the caches by, for results larger than the last cache: a line that is written whole need
// not be read first, and what others will read stays where it is.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#  include <immintrin.h>
#endif

namespace norma {

/// Bytes of a result from which on streaming pays.
inline constexpr std::int64_t streamed_bytes = std::int64_t{48} << 20;

namespace detail {

// The widest store there is: a line that leaves in one piece, or in two, is not left half written for long.
#if defined(__AVX512F__)
using StreamedVector = __m512i;
inline void stream(StreamedVector* to, const void* from) {
  _mm512_stream_si512(to, _mm512_loadu_si512(from));
}
#elif defined(__AVX__)
using StreamedVector = __m256i;
inline void stream(StreamedVector* to, const void* from) {
  _mm256_stream_si256(to, _mm256_loadu_si256(static_cast<const __m256i*>(from)));
}
#elif defined(__SSE2__)
using StreamedVector = __m128i;
inline void stream(StreamedVector* to, const void* from) {
  _mm_stream_si128(to, _mm_loadu_si128(static_cast<const __m128i*>(from)));
}
#endif

/// to[0, 64) = from[0, 64); to: aligned to 64. Call streamed() at the end.
[[gnu::always_inline]] inline void stream_line(void* to, const void* from) {
#ifdef __SSE2__
  constexpr int width = sizeof(StreamedVector);
  auto* const target = static_cast<StreamedVector*>(to);
#  pragma GCC unroll 4
  for (int i = 0; i < 64 / width; ++i) stream(target + i, static_cast<const char*>(from) + i * width);
#else
  std::memcpy(to, from, 64);
#endif
}

/// What was streamed is seen by other threads before what is stored from here on.
inline void streamed() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

}  // namespace detail

/// y[j] = value(j), j in [0, n), by streaming stores of whole cache lines; its ends by others.
template <class T, class Value>
void stream_row(std::int64_t n, T* y, Value value) {
  constexpr std::int64_t line = 64 / sizeof(T);
  const auto place = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(y) / sizeof(T) % line);
  std::int64_t j = 0;
  for (const std::int64_t head = std::min(n, (line - place) % line); j < head; ++j) y[j] = value(j);
  for (; j + line <= n; j += line) {
    alignas(64) T made[line];  // a register
#pragma omp simd
    for (std::int64_t k = 0; k < line; ++k) made[k] = value(j + k);
    detail::stream_line(y + j, made);
  }
  for (; j < n; ++j) y[j] = value(j);
  detail::streamed();
}

}  // namespace norma
