// 14 x 32 tiles with AVX-512: 28 of the 32 registers add up, two hold a step of b, one a value of a.
#include "backends/cpu/gemm/kernels.h"

#if defined(__x86_64__)
#  include <immintrin.h>

#  include <algorithm>
#  include <array>
#  include <utility>

// GCC 12's shuffles start from a register that its own header leaves undefined on purpose.
#  if !defined(__clang__)
#    pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#  endif

#  define GEMM_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#  define GEMM_LANES GEMM_TARGET __attribute__((always_inline)) static inline

namespace norma {
namespace {

struct Lanes {
  using Vector = __m512;
  static constexpr int width = 16, tile_rows = 14;

  GEMM_LANES Vector zero() { return _mm512_setzero_ps(); }
  GEMM_LANES Vector load(const float* x) { return _mm512_loadu_ps(x); }
  GEMM_LANES Vector load(const float* x, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, x); }
  GEMM_LANES void store(float* x, Vector value) { _mm512_storeu_ps(x, value); }
  GEMM_LANES void store(float* x, Vector value, __mmask16 mask) { _mm512_mask_storeu_ps(x, mask, value); }
  /// One value for several products: kept in a register, where the compiler would load it for each.
  GEMM_LANES Vector broadcast(const float* x) {
    Vector value = _mm512_set1_ps(*x);
    asm("" : "+v"(value));
    return value;
  }
  GEMM_LANES Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
  GEMM_LANES Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
  /// The first `count` of 16; none below 0, all above.
  GEMM_LANES __mmask16 mask(std::int64_t count) {
    return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
  }

  /// 16 x 16 values: pairs, fours, then 128-bit quarters.
  GEMM_TARGET static void transpose(Vector* t) {
    Vector u[16];
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
      u[i] = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88),
      u[i + 4] = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
      u[i + 8] = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
      u[i + 12] = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; ++i) {
      t[i] = _mm512_shuffle_f32x4(u[i], u[i + 8], 0x88),
      t[i + 8] = _mm512_shuffle_f32x4(u[i], u[i + 8], 0xdd);
      t[i + 4] = _mm512_shuffle_f32x4(u[i + 4], u[i + 12], 0x88);
      t[i + 12] = _mm512_shuffle_f32x4(u[i + 4], u[i + 12], 0xdd);
    }
  }
};

}  // namespace
}  // namespace norma

#  include "backends/cpu/gemm/tile_kernel.h"

namespace norma {
const GemmKernels avx512_gemm = kernels;
}  // namespace norma

#endif
