// Many blocks of Philox 4x32-10 (core/random.h) at a time, a block an element, or 16 bits of a mask.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "backends/distributions.h"
#include "backends/strided.h"
#include "core/random.h"

namespace norma {

inline constexpr int block_lanes = 16;              // blocks of Philox made at a time
inline constexpr int word_lanes = 4 * block_lanes;  // words in them
static_assert(block_elements % word_lanes == 0);

/// words[4 l + w] = random_bits(key, first + apart * l)[w] for the lanes l. A word of the state lies in the
/// low half of a 64-bit lane, so that its product with a 32-bit factor is one instruction. The high half
/// holds what is left of earlier products and never comes down.
template <int apart = 1>
void random_words(RandomKey key, std::int64_t first, std::uint32_t (&words)[word_lanes]) {
  constexpr std::uint64_t low = 0xFFFFFFFFu;
#pragma omp simd
  for (int l = 0; l < block_lanes; ++l) {
    std::uint64_t c0 = key.offset + static_cast<std::uint64_t>(first + apart * l), c1 = c0 >> 32, c2 = 0,
                  c3 = 0;
    std::uint64_t k0 = key.seed & low, k1 = key.seed >> 32;
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t a = (c0 & low) * 0xD2511F53u, b = (c2 & low) * 0xCD9E8D57u;
      c0 = (b >> 32) ^ c1 ^ k0;
      c1 = b;
      c2 = (a >> 32) ^ c3 ^ k1;
      c3 = a;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    words[4 * l] = static_cast<std::uint32_t>(c0);
    words[4 * l + 1] = static_cast<std::uint32_t>(c1);
    words[4 * l + 2] = static_cast<std::uint32_t>(c2);
    words[4 * l + 3] = static_cast<std::uint32_t>(c3);
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
