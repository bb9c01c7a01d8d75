// 14 x 32 tiles with AVX-512: 28 of the 32 registers add up, two hold a step of b, one a value of a.
#include "backends/cpu/gemm/kernels.h"

#if defined(__x86_64__)
#  include <immintrin.h>

#  include <algorithm>
#  include <array>
#  include <climits>
#  include <utility>

#  include "backends/cpu/gemm/avx512_transpose.h"

#  define GEMM_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#  define GEMM_LANES GEMM_TARGET __attribute__((always_inline)) static inline

namespace norma {
namespace {

struct Lanes {
  using Vector = __m512;
  static constexpr int width = 16, tile_rows = 14, steps_together = 1;
  static constexpr int rows_without_packing = INT_MAX;  // a panel is larger than L1 in any case

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

  GEMM_TARGET static void transpose(Vector* square) { transpose_16x16(square); }
};

}  // namespace
}  // namespace norma

#  include "backends/cpu/gemm/tile_kernel.h"

namespace norma {
const GemmKernels avx512_gemm = kernels;
}  // namespace norma

#endif
