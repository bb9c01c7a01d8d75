// 6 x 16 tiles with AVX2 and FMA: 12 of the 16 registers add up, two hold a step of b, one a value of a.
#include "backends/cpu/gemm/kernels.h"

#if defined(__x86_64__)
#  include <immintrin.h>

#  include <algorithm>
#  include <array>
#  include <utility>

#  define GEMM_TARGET __attribute__((target("avx2,fma")))
#  define GEMM_LANES GEMM_TARGET __attribute__((always_inline)) static inline

namespace norma {
namespace {

struct Lanes {
  using Vector = __m256;
  static constexpr int width = 8, tile_rows = 6, steps_together = 4, rows_without_packing = 96;

  GEMM_LANES Vector zero() { return _mm256_setzero_ps(); }
  GEMM_LANES Vector load(const float* x) { return _mm256_loadu_ps(x); }
  GEMM_LANES Vector load(const float* x, __m256i mask) { return _mm256_maskload_ps(x, mask); }
  GEMM_LANES void store(float* x, Vector value) { _mm256_storeu_ps(x, value); }
  GEMM_LANES void store(float* x, Vector value, __m256i mask) { _mm256_maskstore_ps(x, mask, value); }
  /// One value for several products: kept in a register, where the compiler would load it for each.
  GEMM_LANES Vector broadcast(const float* x) {
    Vector value = _mm256_broadcast_ss(x);
    asm("" : "+x"(value));
    return value;
  }
  GEMM_LANES Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
  GEMM_LANES Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
  /// The first `count` of 8; none below 0, all above.
  GEMM_LANES __m256i mask(std::int64_t count) {
    const int near = static_cast<int>(std::clamp<std::int64_t>(count, 0, 8));
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(near), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  /// 8 x 8 values: pairs, fours, then 128-bit halves.
  GEMM_TARGET static void transpose(Vector* t) {
    Vector u[8];
    for (int i = 0; i < 8; i += 2) {
      u[i] = _mm256_unpacklo_ps(t[i], t[i + 1]);
      u[i + 1] = _mm256_unpackhi_ps(t[i], t[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
      for (int half = 0; half < 2; ++half) {
        const __m256d x = _mm256_castps_pd(u[i + half]), y = _mm256_castps_pd(u[i + half + 2]);
        t[i + 2 * half] = _mm256_castpd_ps(_mm256_unpacklo_pd(x, y));
        t[i + 2 * half + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(x, y));
      }
    }
    for (int i = 0; i < 4; ++i) {
      const Vector low = t[i], high = t[i + 4];
      t[i] = _mm256_permute2f128_ps(low, high, 0x20);
      t[i + 4] = _mm256_permute2f128_ps(low, high, 0x31);
    }
  }
};

}  // namespace
}  // namespace norma

#  include "backends/cpu/gemm/tile_kernel.h"

namespace norma {
const GemmKernels avx2_gemm = kernels;
}  // namespace norma

#endif
