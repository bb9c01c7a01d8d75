// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). Element i of a draw depends on (seed, stream position, i) only, so results are the same for any
// number of threads and on any device. The stream's places are blocks of 128 bits. An element owns one block;
// of masks, eight elements own two.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/host_device.h"

namespace norma {

/// Ten rounds of Philox 4x32: 128 random bits from a 128-bit counter and a 64-bit key.
NORMA_HOST_DEVICE constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                                                std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// What a kernel needs to know to fill an array: block k of the draw has counter `offset + k` under key
/// `seed`.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;
};

/// The 128 random bits of block k of a draw: counter {offset + k low, high, 0, 0}, key {seed low, high}.
NORMA_HOST_DEVICE constexpr std::array<std::uint32_t, 4> random_bits(RandomKey key, std::int64_t k) {
  const std::uint64_t counter = key.offset + static_cast<std::uint64_t>(k);
  return philox({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0},
                {static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32)});
}

/// Elements of a mask that share two blocks: 16 bits of each for every one of them.
inline constexpr std::int64_t mask_group = 8;
/// Blocks that hold a mask of n elements.
constexpr std::int64_t blocks_of_mask(std::int64_t n) { return 2 * (n / mask_group + (n % mask_group != 0)); }
/// Element i's 16 bits of the first (which = 0) or the second block of its group.
NORMA_HOST_DEVICE constexpr std::uint32_t mask_bits(RandomKey key, std::int64_t i, int which) {
  const auto bits = random_bits(key, i / mask_group * 2 + which);
  const std::int64_t place = i % mask_group;
  return bits[static_cast<std::size_t>(place / 2)] >> (place % 2 * 16) & 0xFFFFu;
}

namespace detail {

/// While this thread captures work (core/captured_work.h): replays draw from the default generator, so the
/// captured work must not draw from another one.
inline thread_local bool only_default_generator = false;

}  // namespace detail

/// A stream of random numbers: 64-bit seed and position. Two numbers, so it can be saved and restored.
class Generator {
 public:
  explicit Generator(std::uint64_t seed = 0) : key_{seed, 0} {}
  /// The key for a draw of n blocks; moves the stream n places on. Throws Error in captured work unless
  /// this is the default generator.
  RandomKey advance(std::int64_t n);
  RandomKey state() const { return key_; }
  void set_state(RandomKey key) { key_ = key; }
  /// An integer in [0, bound), bound > 0, without bias worth measuring (64 random bits).
  std::int64_t below(std::int64_t bound);
  /// A double in [0, 1).
  double uniform();

 private:
  RandomKey key_;
};

/// The generator that functions use when none is given. One per thread, seeded with 0.
Generator& default_generator();
/// Seeds the calling thread's default generator.
void manual_seed(std::uint64_t seed);

}  // namespace norma
