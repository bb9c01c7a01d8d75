// The block of bf16_kernels.h by VDPBF16PS, for processors with AVX512_BF16 and no AMX: a 32-bit lane of a
// vector holds a pair of steps, and one instruction adds the products of both to an f32 lane of c. That is
// twice the rate of f32; three products would be slower than f32, so there is a block for one part alone.
#include "backends/cpu/gemm/bf16_kernels.h"

#if defined(__x86_64__)
#  include <immintrin.h>

#  include <cstring>

#  include "backends/cpu/gemm/avx512_bf16.h"

#  define DOT_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

namespace norma {
namespace {

/// `rows` rows of c, `columns` vectors wide. A step of 32 values of k lies in `a_step` values of a, each row
/// of it in 32; of b, in a tile for each vector of columns.
template <int rows, int columns>
DOT_TARGET void run_rows(const Bf16Block& t, const Bf16* a, std::int64_t a_step, std::int64_t first) {
  __m512 sum[rows][columns];
#  pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      const float* d = t.d + (first + i) * t.d_row + 16 * j;
      sum[i][j] = t.d != nullptr ? _mm512_loadu_ps(d) : _mm512_setzero_ps();
      __builtin_prefetch(t.c + (first + i) * t.c_row + 16 * j, 1);
    }
  }
  const Bf16* b = t.b;
  for (std::int64_t step = 0; step < t.steps; ++step, a += a_step, b += columns * bf16_tile) {
    for (int pair = 0; pair < 16; ++pair) {
      __m512bh factor[columns];
      for (int j = 0; j < columns; ++j)
        factor[j] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + j * bf16_tile + 32 * pair));
#  pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        std::int32_t two;
        std::memcpy(&two, a + 32 * i + 2 * pair, sizeof two);
        __m512i value = _mm512_set1_epi32(two);
        asm("" : "+v"(value));  // kept in a register, where the compiler would load it for each product
        for (int j = 0; j < columns; ++j)
          sum[i][j] = _mm512_dpbf16_ps(sum[i][j], reinterpret_cast<__m512bh>(value), factor[j]);
      }
    }
  }
#  pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) _mm512_storeu_ps(t.c + (first + i) * t.c_row + 16 * j, sum[i][j]);
  }
}

/// 22 sums and what they need fit into the registers: 32 rows are 11 + 11 + 10.
template <int columns>
void run(const Bf16Block& t) {
  if (t.rows == 1) {
    run_rows<8, columns>(t, t.a, bf16_tile, 0);
    return run_rows<8, columns>(t, t.a + 8 * 32, bf16_tile, 8);
  }
  run_rows<11, columns>(t, t.a, 2 * bf16_tile, 0);
  run_rows<11, columns>(t, t.a + 11 * 32, 2 * bf16_tile, 11);
  run_rows<10, columns>(t, t.a + 22 * 32, 2 * bf16_tile, 22);
}

void block(const Bf16Block& t) { t.columns > 1 ? run<2>(t) : run<1>(t); }

}  // namespace

// Threads pack for themselves: to read what another core has just written takes longer here.
const Bf16Kernels avx512_bf16 = {
    [] {},
    [] {},
    {block, nullptr, nullptr},
    {avx512_bf16_pack<1>, nullptr, nullptr},
    {.group_panels = 4, .slab_values = 1 << 21, .least_shared = INT64_MAX, .cycles = 32}};

bool has_avx512_bf16() {
  static const bool answer =
      __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  return answer;
}

}  // namespace norma
#else
namespace norma {
bool has_avx512_bf16() { return false; }
}  // namespace norma
#endif
