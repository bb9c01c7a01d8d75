#include "core/random.h"

#include "core/check.h"

namespace norma {
namespace {

std::uint64_t bits64(RandomKey key) {
  const auto bits = random_bits(key, 0);
  return std::uint64_t{bits[0]} | std::uint64_t{bits[1]} << 32;
}

}  // namespace

RandomKey Generator::advance(std::int64_t n) {
  NORMA_CHECK(n >= 0, "generator: cannot draw ", n, " blocks");
  NORMA_CHECK(!detail::only_default_generator || this == &default_generator(),
              "capture: a draw from a generator other than the default one cannot be part of captured work");
  const RandomKey key = key_;
  key_.offset += static_cast<std::uint64_t>(n);
  return key;
}

std::int64_t Generator::below(std::int64_t bound) {
  NORMA_CHECK(bound > 0, "generator: below needs a bound > 0, got ", bound);
  __extension__ using Wide = unsigned __int128;
  // High half of a 64 x 64-bit product: uniform but for a bias of at most bound / 2^64 (Lemire,
  // arXiv:1805.10941).
  return static_cast<std::int64_t>(Wide{bits64(advance(1))} * static_cast<std::uint64_t>(bound) >> 64);
}

double Generator::uniform() { return static_cast<double>(bits64(advance(1)) >> 11) * 0x1p-53; }

Generator& default_generator() {
  thread_local Generator generator;
  return generator;
}

void manual_seed(std::uint64_t seed) { default_generator() = Generator(seed); }

}  // namespace norma
