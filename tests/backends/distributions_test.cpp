// Random words, and the numbers made of them: moments, ranges, and the functions that normal numbers need.
#include "backends/distributions.h"

#include <numbers>

#include "backends/cpu/random_words.h"
#include "tests/backends/arrays.h"

namespace norma::tests {
namespace {

using Values = std::vector<double>;
Backend& kernels() { return backend(cpu); }

TEST_SUITE("kernels distributions") {
  TEST_CASE("many blocks of random words at a time are those made one by one") {
    for (const RandomKey key : {RandomKey{0, 0}, {0x9876543212345678u, 0xFFFFFFF8u}, {~0ull, ~0ull - 7}}) {
      std::uint32_t words[word_lanes];
      for (const std::int64_t first : {0, 1, 1000}) {
        random_words(key, first, words);
        for (std::int64_t i = 0; i < word_lanes; ++i) {
          CHECK(words[i] == random_bits(key, first + i / 4)[static_cast<std::size_t>(i % 4)]);
        }
      }
    }
  }
  TEST_CASE("a mask made many elements at a time is that made one by one, undecided ones included") {
    const RandomKey key{7, 0xFFFFFFF0u};
    const std::int64_t n = 100 * mask_lanes;
    std::vector<double> thresholds = {0, 1e-9, 0.1, 0.5, 0.9, 1 - 1e-9, 1};
    // On either side of the 32 bits of some elements, whose upper half then decides nothing.
    for (const std::int64_t i : {3, 200, 5000}) {
      const double bits = mask_bits(key, i, 0) * 65536.0 + mask_bits(key, i, 1);
      thresholds.insert(thresholds.end(), {bits / 4294967296, (bits + 1) / 4294967296});
      CHECK_FALSE(bernoulli(key, i, bernoulli_threshold(bits / 4294967296)));
      CHECK(bernoulli(key, i, bernoulli_threshold((bits + 1) / 4294967296)));
    }
    for (const double p : thresholds) {
      std::int64_t different = 0, ones = 0;
      for (std::int64_t first = 0; first < n; first += mask_lanes) {
        std::uint8_t kept[mask_lanes];
        random_mask(key, first, bernoulli_threshold(p), kept);
        for (int k = 0; k < mask_lanes; ++k) {
          different += kept[k] != (bernoulli(key, first + k, bernoulli_threshold(p)) ? 1 : 0);
          ones += kept[k];
        }
      }
      CHECK(different == 0);
      CHECK(close(static_cast<double>(ones) / static_cast<double>(n), p, 0.02));
    }
  }
  TEST_CASE("moments and ranges of the distributions") {
    const std::int64_t n = 100000;
    const auto draw = [&](Random distribution, double a, double b, DType dtype) {
      const Array x = Array::empty({n}, dtype);
      kernels().random(distribution, x.view(), {3, 0}, a, b);
      return values(x);
    };
    const auto mean_and_variance = [](const Values& x) {
      double mean = 0, square = 0;
      for (const double value : x) mean += value / static_cast<double>(x.size());
      for (const double value : x) square += (value - mean) * (value - mean) / static_cast<double>(x.size());
      return std::pair(mean, square);
    };
    for (const DType dtype : {f32, f64}) {
      const Values u = draw(Random::uniform, -1, 3, dtype), g = draw(Random::normal, 2, 0.5, dtype);
      CHECK((*std::min_element(u.begin(), u.end()) >= -1 && *std::max_element(u.begin(), u.end()) < 3));
      const auto [u_mean, u_variance] = mean_and_variance(u);
      const auto [g_mean, g_variance] = mean_and_variance(g);
      CHECK((close(u_mean, 1, 1e-2) && close(u_variance, 16.0 / 12, 1e-2)));
      CHECK((close(g_mean, 2, 4e-3) && close(g_variance, 0.25, 4e-3)));
      // Cut to [-2, 2]: variance 1 - 4 phi(2) / (2 Phi(2) - 1).
      const Values t = draw(Random::truncated_normal, -2, 2, dtype);
      CHECK((*std::min_element(t.begin(), t.end()) >= -2 && *std::max_element(t.begin(), t.end()) <= 2));
      const auto [t_mean, t_variance] = mean_and_variance(t);
      CHECK((close(t_mean, 0, 1e-2) && close(t_variance, 0.7737413, 1e-2)));
      // Far in a tail: mean of a normal above 6 is phi(6) / Q(6) = 6.15832, in both tails.
      CHECK(close(mean_and_variance(draw(Random::truncated_normal, 6, 40, dtype)).first, 6.15832, 1e-3));
      CHECK(close(mean_and_variance(draw(Random::truncated_normal, -40, -6, dtype)).first, -6.15832, 1e-3));
    }
  }
  TEST_CASE("the quantile of the normal distribution, down to its last digits and far out") {
    CHECK(lower_quantile(0.5) == 0);
    CHECK(close(lower_quantile(0.025), -1.959963984540054, 1e-15));
    CHECK(close(lower_quantile(1e-10), -6.361340902404056, 1e-15));
    double worst = 0;  // of x, in parts of it: Phi grows by x parts for each part of x^2
    for (double p = 0.5; p > 1e-300; p *= 0.97) {
      const double x = lower_quantile(p);
      worst = std::max(worst, std::fabs(normal_cdf(x) / p - 1) / (1 + x * x));
    }
    CHECK(worst < 2e-15);
  }
  TEST_CASE("the logarithm and the sine of normal numbers, within 2.5 ulp") {
    using Wide = long double;
    const auto ulps = [](double got, Wide want) {
      const double size = std::fabs(static_cast<double>(want));
      return std::fabs(got - want) / (std::nextafter(size, INFINITY) - static_cast<Wide>(size));
    };
    Wide log_error = 0, sine_error = 0;
    for (std::int64_t i = 0; i < 200000; ++i) {
      const RandomBits bits = random_bits({4, 0}, i);
      const double x = 1 - unit_uniform<double>(bits) / 2;  // in (1/2, 1], in each binade in turn
      const double u = std::ldexp(x, -static_cast<int>(i % 64)),
                   t = std::ldexp(x, -2 - static_cast<int>(i % 9));
      log_error = std::max(log_error, ulps(minus_log(u), -std::log(static_cast<Wide>(u))));
      sine_error = std::max(sine_error, ulps(sine_of_turns(t), std::sin(2 * std::numbers::pi_v<Wide> * t)));
      REQUIRE(sine_of_turns(-t) == -sine_of_turns(t));
    }
    CHECK((log_error <= 2.5L && sine_error <= 2.5L));
    CHECK((minus_log(1) == 0 && close(minus_log(0x1p-64), 44.3614195558365, 1e-14)));
    CHECK((sine_of_turns(0.25) == 1 && sine_of_turns(0) == 0));
  }
  TEST_CASE("uniform numbers never reach the upper bound, and an empty interval gives its bound") {
    const Array x = Array::empty({1 << 20}, f32);
    kernels().random(Random::uniform, x.view(), {1, 0}, 1, 1 + 0x1p-22);
    for (const float value : x.to_vector<float>()) REQUIRE((value >= 1 && value < 1 + 0x1p-22f));
    kernels().random(Random::uniform, x.view(), {1, 0}, 2, 2);
    CHECK(x.at({17}) == 2);
  }
}

}  // namespace
}  // namespace norma::tests
