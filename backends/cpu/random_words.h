// Many blocks of Philox 4x32-10 (core/random.h) at a time, a word or a block an element.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/strided.h"
#include "core/random.h"

namespace norma {

inline constexpr int block_lanes = 16;              // blocks of Philox made at a time
inline constexpr int word_lanes = 4 * block_lanes;  // words in them
static_assert(block_elements % word_lanes == 0);

/// words[4 l + w] = random_bits(key, first + l)[w] for the lanes l. A word of the state lies in the low half
/// of a 64-bit lane, so that its product with a 32-bit factor is one instruction. The high half holds what is
/// left of earlier products and never comes down.
inline void random_words(RandomKey key, std::int64_t first, std::uint32_t (&words)[word_lanes]) {
  constexpr std::uint64_t low = 0xFFFFFFFFu;
#pragma omp simd
  for (int l = 0; l < block_lanes; ++l) {
    std::uint64_t c0 = key.offset + static_cast<std::uint64_t>(first + l), c1 = c0 >> 32, c2 = 0, c3 = 0;
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

/// Calls body(begin, n, words) for pieces of [0, count), in parallel blocks: words[k] is
/// random_word(key, begin + k), k < n.
template <class Body>
void for_each_words(std::int64_t count, RandomKey key, Body&& body) {
  parallel_for(count, block_elements, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) std::uint32_t words[word_lanes];
    for (; begin < end; begin += word_lanes) {
      random_words(key, begin / 4, words);
      body(begin, std::min<std::int64_t>(word_lanes, end - begin), words);
    }
  });
}

}  // namespace norma
