// Many blocks of Philox 4x32-10 (core/random.h) at a time, a block an element, or 16 bits of a mask.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "backends/cpu/pack.h"
#include "backends/distributions.h"
#include "backends/strided.h"
#include "core/random.h"

namespace norma {

inline constexpr int block_lanes = 16;              // blocks of Philox made at a time
inline constexpr int word_lanes = 4 * block_lanes;  // words in them
static_assert(block_elements % word_lanes == 0);

using PhiloxPack = Pack<std::uint64_t>;

/// The low halves of a, multiplied by a 32-bit factor: one instruction, which compilers do not find.
[[gnu::always_inline]] inline PhiloxPack multiply_low_halves(PhiloxPack a, std::uint64_t factor) {
  const PhiloxPack b = PhiloxPack{} + factor;
#if defined(__AVX512F__)  // with a mask of all, since GCC 12's header leaves a register undefined otherwise
  return reinterpret_cast<PhiloxPack>(
      _mm512_maskz_mul_epu32(0xFF, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<PhiloxPack>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<PhiloxPack>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return (a & 0xFFFFFFFFu) * b;
#endif
}

/// words[4 l + w] = random_bits(key, first + apart * l)[w] for the lanes l. A word of the state lies in the
/// low half of a 64-bit lane; the high half holds what is left of earlier products and never comes down.
template <int apart = 1>
void random_words(RandomKey key, std::int64_t first, std::uint32_t (&words)[word_lanes]) {
  constexpr int width = pack_lanes<std::uint64_t>, packs = 2;  // whose chains of products overlap
  static_assert(block_lanes % (packs * width) == 0);
  constexpr std::uint64_t low = 0xFFFFFFFFu;
  PhiloxPack lane;
  for (int l = 0; l < width; ++l) lane[l] = static_cast<std::uint64_t>(apart * l);
  for (int l = 0; l < block_lanes; l += packs * width) {
    PhiloxPack c0[packs], c1[packs], c2[packs] = {}, c3[packs] = {};
    for (int i = 0; i < packs; ++i) {
      c0[i] = lane + (key.offset + static_cast<std::uint64_t>(first + apart * (l + i * width)));
      c1[i] = c0[i] >> 32;
    }
    PhiloxPack k0 = PhiloxPack{} + (key.seed & low), k1 = PhiloxPack{} + (key.seed >> 32);
    for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 2
      for (int i = 0; i < packs; ++i) {
        const PhiloxPack a = multiply_low_halves(c0[i], 0xD2511F53u),
                         b = multiply_low_halves(c2[i], 0xCD9E8D57u);
        c0[i] = (b >> 32) ^ c1[i] ^ k0;
        c1[i] = b;
        c2[i] = (a >> 32) ^ c3[i] ^ k1;
        c3[i] = a;
      }
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < packs; ++i) {
      PhiloxPack even = (c0[i] & low) | (c1[i] << 32), odd = (c2[i] & low) | (c3[i] << 32);
      interleave<std::uint64_t>(even, odd);
      std::uint32_t* const to = words + 4 * (l + i * width);
      std::memcpy(to, &even, sizeof even);
      std::memcpy(to + 2 * width, &odd, sizeof odd);
    }
  }
}

inline constexpr int mask_lanes = block_lanes * mask_group;  // elements of a mask made at a time
static_assert(block_elements % mask_lanes == 0 && std::endian::native == std::endian::little);

/// kept[k] = bernoulli(key, first + k, threshold); first: a multiple of mask_group.
inline void random_mask(RandomKey key, std::int64_t first, std::uint64_t threshold,
                        std::uint8_t (&kept)[mask_lanes]) {
  alignas(64) std::uint32_t words[word_lanes];
  alignas(64) std::uint16_t upper[mask_lanes];
  random_words<2>(key, first / mask_group * 2, words);
  std::memcpy(upper, words, sizeof(upper));
  const auto border = static_cast<std::uint16_t>(std::min<std::uint64_t>(threshold >> 16, 0xFFFF));
  unsigned undecided = 0;
#pragma omp simd reduction(| : undecided)
  for (int k = 0; k < mask_lanes; ++k) undecided |= upper[k] == border;
#pragma omp simd
  for (int k = 0; k < mask_lanes; ++k) kept[k] = upper[k] < border;
  if (undecided == 0) return;
  for (int k = 0; k < mask_lanes; ++k) {
    if (upper[k] == border) kept[k] = bernoulli(key, first + k, threshold);
  }
}

/// Calls body(begin, n, kept) for pieces of [0, count), in parallel blocks: kept[k] is 1 where the mask keeps
/// element begin + k, k < n, else 0, and 0 from n to mask_lanes. n is mask_lanes but at the end.
template <class Body>
void for_each_mask(std::int64_t count, RandomKey key, double p, Body&& body) {
  parallel_for(count, block_elements, [&](std::int64_t begin, std::int64_t end) {
    const RandomKey own = key;
    const std::uint64_t threshold = bernoulli_threshold(p);
    alignas(64) std::uint8_t kept[mask_lanes];
    for (; begin < end; begin += mask_lanes) {
      random_mask(own, begin, threshold, kept);
      const std::int64_t n = std::min<std::int64_t>(mask_lanes, end - begin);
      if (n < mask_lanes) std::fill(kept + n, kept + mask_lanes, std::uint8_t{0});
      body(begin, n, kept);
    }
  });
}

}  // namespace norma
