// Packing by AVX512_BF16: 32 values at a time become bf16 parts, and squares of 16 x 16 pairs are transposed
// in registers where rows and steps change places. The same bits as the plain packing.
#include "backends/cpu/gemm/avx512_bf16.h"

#if defined(__x86_64__)
#  include <algorithm>

#  include "backends/cpu/gemm/avx512_transpose.h"

#  define PACK_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

namespace norma {
namespace {

PACK_TARGET inline __mmask16 first_of_16(std::int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
}

/// x and what is left of it after a part: the part's 16 values, as f32, taken away.
PACK_TARGET inline __m512 rest(__m512 x, __m256i part) {
  return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(part), 16)));
}

/// 32 values (low, high) as `parts` vectors of bf16. All parts but the last are at most the largest finite
/// number, so that what is left of infinity is infinity; NaN passes (the second operand of min and max).
template <int parts>
PACK_TARGET inline void split(__m512 low, __m512 high, __m512i* part) {
  const __m512 largest = _mm512_set1_ps(0x1.fep127f), least = _mm512_set1_ps(-0x1.fep127f);
  for (int i = 0; i < parts; ++i) {
    __m512 x = low, y = high;
    if (i + 1 < parts) {
      x = _mm512_max_ps(least, _mm512_min_ps(largest, low));
      y = _mm512_max_ps(least, _mm512_min_ps(largest, high));
    }
    part[i] = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(y, x));
    if (i + 1 < parts) {
      low = rest(low, _mm512_castsi512_si256(part[i]));
      high = rest(high, _mm512_extracti64x4_epi64(part[i], 1));
    }
  }
}

/// 16 of the outer index, each with up to 32 adjoining steps.
template <int parts>
PACK_TARGET inline void read_adjoining(const Bf16Panels& g, std::int64_t first, std::int64_t at,
                                       __m512i (*rows)[parts]) {
  const __mmask16 low = first_of_16(g.k - at), high = first_of_16(g.k - at - 16);
  for (std::int64_t i = 0; i < 16; ++i) {
    const bool there = first + i < g.count;
    const float* x = g.x + (there ? first + i : 0) * g.leading + at;
    split<parts>(_mm512_maskz_loadu_ps(there ? low : static_cast<__mmask16>(0), x),
                 _mm512_maskz_loadu_ps(there ? high : static_cast<__mmask16>(0), x + 16), rows[i]);
  }
}

/// 16 pairs of steps, each with 16 of the outer index, the values of a pair side by side.
template <int parts>
PACK_TARGET inline void read_apart(const Bf16Panels& g, std::int64_t first, std::int64_t at,
                                   __m512i (*rows)[parts]) {
  const __m512i mix = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                       22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __mmask16 there = first_of_16(g.count - first), none = 0;
  for (std::int64_t i = 0; i < 16; ++i) {
    const std::int64_t even = at + 2 * i, odd = even + 1;
    const float* x = g.x + first;
    split<parts>(_mm512_maskz_loadu_ps(even < g.k ? there : none, x + (even < g.k ? even : 0) * g.leading),
                 _mm512_maskz_loadu_ps(odd < g.k ? there : none, x + (odd < g.k ? odd : 0) * g.leading),
                 rows[i]);
    for (int part = 0; part < parts; ++part) rows[i][part] = _mm512_permutexvar_epi16(mix, rows[i][part]);
  }
}

/// 32 steps of a panel.
template <int parts>
PACK_TARGET inline void pack_step(const Bf16Panels& g, std::int64_t panel, std::int64_t at) {
  const std::int64_t first = panel * bf16_panel, tiles = g.count - first > 16 ? 2 : 1;
  Bf16* const step = g.packed + panel * g.panel_values + at / 32 * parts * tiles * bf16_tile;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    __m512i rows[16][parts];
    g.steps_adjoin ? read_adjoining<parts>(g, first + tile * 16, at, rows)
                   : read_apart<parts>(g, first + tile * 16, at, rows);
    for (int part = 0; part < parts; ++part) {
      __m512 square[16];
      for (int i = 0; i < 16; ++i) square[i] = _mm512_castsi512_ps(rows[i][part]);
      if (g.steps_adjoin == g.pairs) transpose_16x16(square);
      Bf16* const packed = step + (part * tiles + tile) * bf16_tile;
      for (int i = 0; i < 16; ++i) _mm512_storeu_ps(packed + i * 32, square[i]);
    }
  }
}

/// Along the rows of the matrix as it lies.
template <int parts>
PACK_TARGET void pack(const Bf16Panels& g) {
  const std::int64_t panels = (g.count + bf16_panel - 1) / bf16_panel;
  if (g.steps_adjoin) {
    for (std::int64_t panel = 0; panel < panels; ++panel) {
      for (std::int64_t at = 0; at < g.k; at += 32) pack_step<parts>(g, panel, at);
    }
  } else {
    for (std::int64_t at = 0; at < g.k; at += 32) {
      for (std::int64_t panel = 0; panel < panels; ++panel) pack_step<parts>(g, panel, at);
    }
  }
}

}  // namespace

// GCC 12 drops the target of a template that was declared without one, hence the function of its own above.
template <int parts>
void avx512_bf16_pack(const Bf16Panels& g) {
  pack<parts>(g);
}

template void avx512_bf16_pack<1>(const Bf16Panels&);
template void avx512_bf16_pack<2>(const Bf16Panels&);
template void avx512_bf16_pack<3>(const Bf16Panels&);

}  // namespace norma
#endif
