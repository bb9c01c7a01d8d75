// 16 x 16 words transposed in AVX-512 registers. For files that are compiled for every processor; callers
// have made sure that this one has AVX-512.
#pragma once

#include <immintrin.h>

// GCC 12's shuffles start from a register that its own header leaves undefined on purpose.
#if !defined(__clang__)
#  pragma GCC diagnostic ignored "-Wuninitialized"
#  pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace norma {

/// Pairs, fours, then quarters of 128 bits.
__attribute__((target("avx512f"))) inline void transpose_16x16(__m512* t) {
  __m512 u[16];
  for (int i = 0; i < 16; i += 2) {
    u[i] = _mm512_unpacklo_ps(t[i], t[i + 1]);
    u[i + 1] = _mm512_unpackhi_ps(t[i], t[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int half = 0; half < 2; ++half) {
      const __m512d x = _mm512_castps_pd(u[i + half]), y = _mm512_castps_pd(u[i + half + 2]);
      t[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
      t[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
    }
  }
  for (int i = 0; i < 4; ++i) {
    u[i] = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
    u[i + 4] = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
    u[i + 8] = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
    u[i + 12] = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(u[i], u[i + 8], 0x88);
    t[i + 8] = _mm512_shuffle_f32x4(u[i], u[i + 8], 0xdd);
    t[i + 4] = _mm512_shuffle_f32x4(u[i + 4], u[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(u[i + 4], u[i + 12], 0xdd);
  }
}

}  // namespace norma
