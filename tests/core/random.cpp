#include "core/random.h"

#include <cmath>
#include <thread>

#include "tests/core/support.h"

using namespace norma;
using namespace norma::tests;

TEST_CASE("Philox 4x32-10 gives the known answers of Random123") {
  using Words = std::array<std::uint32_t, 4>;
  constexpr std::uint32_t ones = 0xffffffffu;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) ==
        Words{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  CHECK(philox({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}) ==
        Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("block k of a draw uses counter offset + k, with the carry into the high word") {
  const RandomKey key{0x1122334455667788u, 0xfffffffeu};
  CHECK(random_bits(key, 0) == philox({0xfffffffeu, 0, 0, 0}, {0x55667788u, 0x11223344u}));
  CHECK(random_bits(key, 3) == philox({1, 1, 0, 0}, {0x55667788u, 0x11223344u}));
  CHECK(random_bits(key, 3) == random_bits({key.seed, key.offset + 3}, 0));
}

TEST_CASE("eight elements of a mask share two blocks, 16 bits of each for every one") {
  const RandomKey key{5, 0xfffffffeu};
  for (std::int64_t i = 0; i < 40; ++i) {
    for (const int which : {0, 1}) {
      const std::uint32_t word = random_bits(key, i / 8 * 2 + which)[static_cast<std::size_t>(i % 8 / 2)];
      CHECK(mask_bits(key, i, which) == (i % 2 == 0 ? word & 0xffffu : word >> 16));
    }
  }
  CHECK((blocks_of_mask(0) == 0 && blocks_of_mask(1) == 2 && blocks_of_mask(8) == 2));
  CHECK((blocks_of_mask(9) == 4 && blocks_of_mask(INT64_MAX) == (INT64_MAX >> 2) + 1));
}

TEST_CASE("a generator moves on by what was drawn, and its state can be restored") {
  Generator generator(7);
  CHECK(generator.advance(10).offset == 0);
  CHECK(generator.advance(5).offset == 10);
  CHECK(generator.state().offset == 15);
  CHECK(generator.state().seed == 7);
  const RandomKey saved = generator.state();
  const double first = generator.uniform();
  generator.uniform();
  generator.set_state(saved);
  CHECK(generator.uniform() == first);
  CHECK_THROWS_AS(generator.advance(-1), Error);
}

TEST_CASE("below and uniform stay in range and have the right mean") {
  Generator generator(1);
  std::array<int, 7> counts{};
  double sum = 0;
  constexpr int draws = 70000;
  for (int i = 0; i < draws; ++i) {
    const std::int64_t value = generator.below(7);
    REQUIRE(value >= 0);
    REQUIRE(value < 7);
    ++counts[static_cast<std::size_t>(value)];
    const double u = generator.uniform();
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    sum += u;
  }
  // Five standard deviations: 10000 (6/7) has a deviation of 93; the mean of 70000 uniforms one of 0.00109.
  for (const int count : counts) CHECK(std::abs(count - draws / 7) < 465);
  CHECK(std::abs(sum / draws - 0.5) < 0.0055);
  CHECK(generator.below(1) == 0);
  CHECK(generator.below(INT64_MAX) >= 0);
  CHECK_THROWS_AS(generator.below(0), Error);
}

TEST_CASE("manual_seed seeds the calling thread's generator only") {
  manual_seed(5);
  const double here = default_generator().uniform();
  std::uint64_t seed_there = 1;
  std::thread([&] { seed_there = default_generator().state().seed; }).join();
  CHECK(seed_there == 0);
  manual_seed(5);
  CHECK(default_generator().uniform() == here);
  manual_seed(0);
}

TEST_CASE("R97 random arrays depend on seed and element, not on threads") {
  for (const Random distribution : {Random::uniform, Random::normal, Random::bernoulli}) {
    std::vector<float> first;
    for (const int threads : {1, 2, 3, 4}) {
      const Threads scope(threads);
      Generator generator(3);
      const Array x = Array::random(distribution, {100003}, 0.25, 0.75, f32, cpu, generator);
      CHECK(generator.state().offset == (distribution == Random::bernoulli ? 25002 : 100003));
      if (first.empty()) first = x.to_vector<float>();
      CHECK(x.to_vector<float>() == first);
    }
  }
}

TEST_CASE("two halves of a stream are the whole") {
  Generator whole(9), halves(9);
  const auto all = Array::random(Random::uniform, {20}, 0, 1, f64, cpu, whole).to_vector<double>();
  auto parts = Array::random(Random::uniform, {8}, 0, 1, f64, cpu, halves).to_vector<double>();
  const auto rest = Array::random(Random::uniform, {12}, 0, 1, f64, cpu, halves).to_vector<double>();
  parts.insert(parts.end(), rest.begin(), rest.end());
  CHECK(parts == all);
}

TEST_CASE("the parameters of random arrays are checked") {
  Generator generator;
  const auto draw = [&](Random distribution, double a, double b, DType dtype) {
    return Array::random(distribution, {3}, a, b, dtype, cpu, generator);
  };
  CHECK_THROWS_AS(draw(Random::uniform, 1, 0, f32), Error);
  CHECK_THROWS_AS(draw(Random::uniform, 0, NAN, f32), Error);
  CHECK_THROWS_AS(draw(Random::uniform, 0, 1, i64), Error);
  CHECK_THROWS_AS(draw(Random::normal, 0, -1, f32), Error);
  CHECK_THROWS_AS(draw(Random::truncated_normal, 2, 2, f32), Error);
  CHECK_THROWS_AS(draw(Random::bernoulli, 1.5, 0, f32), Error);
  CHECK(generator.state().offset == 0);
  CHECK(draw(Random::bernoulli, 1, 0, boolean).to_vector<bool>() == std::vector<bool>{true, true, true});
}
