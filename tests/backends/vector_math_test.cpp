// The functions of vector_math.h against libm in f64, in units in the last place, over the whole range of
// floats.
#include "backends/cpu/vector_math.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <limits>
#include <string>

namespace norma::tests {
namespace {

/// Error in units in the last place of the exact result rounded to f32; huge where NaN or infinity disagree.
double ulps(float got, double exact) {
  const float want = static_cast<float>(exact);
  if (std::isnan(want)) return std::isnan(got) ? 0 : 1e9;
  if (want == 0 && got == 0) return std::signbit(want) == std::signbit(got) ? 0 : 1e9;
  if (std::isinf(want) || !std::isfinite(got)) return got == want ? 0 : 1e9;
  const double size = std::fabs(static_cast<double>(want));
  const double unit = static_cast<double>(std::nextafter(std::fabs(want), INFINITY)) - size;
  return std::fabs(static_cast<double>(got) - exact) / unit;
}

/// Largest error over every `stride`-th float and the awkward ones.
template <class Fast, class Exact>
double worst(std::uint64_t stride, Fast&& fast, Exact&& exact) {
  double largest = 0;
  const auto visit = [&](float x) {
    largest = std::max(largest, ulps(fast(x), exact(static_cast<double>(x))));
  };
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += stride) {
    visit(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  using Limits = std::numeric_limits<float>;
  for (const float x :
       {0.0f, 1.0f, Limits::infinity(), Limits::quiet_NaN(), Limits::max(), Limits::min(),
        Limits::denorm_min(), 87.3f, 88.7f, 88.73f, 103.9f, 0.625f, 0.83f, 4.0f, 17.4f, 0.70710678f, 1e5f}) {
    visit(x), visit(-x);
  }
  return largest;
}

void check_errors(std::uint64_t stride) {
  const auto check = [stride](const char* name, double limit, auto fast, auto exact) {
    INFO(std::string(name));
    CHECK(worst(stride, fast, exact) <= limit);
  };
  const auto exp = [](double x) { return std::exp(x); };
  const auto exp_up_to_40 = [](float x) {
    return x > 40 ? static_cast<float>(std::exp(static_cast<double>(x))) : vector_exp_negative(x);
  };
  const auto within = [](float x) { return std::fabs(x) > vector_turn_limit<float> ? 0.0f : x; };
  check(
      "exp", 1.5, [](float x) { return vector_exp(x); }, exp);
  check("exp up to 40", 1.5, exp_up_to_40, exp);
  check(
      "expm1", 1.75, [](float x) { return vector_expm1(x); }, [](double x) { return std::expm1(x); });
  check(
      "log", 1.5, [](float x) { return vector_log(x); }, [](double x) { return std::log(x); });
  check(
      "softplus", 2, [](float x) { return vector_softplus(x); },
      [](double x) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); });
  check(
      "log1p", 1.5, [](float x) { return vector_log1p(x); }, [](double x) { return std::log1p(x); });
  check(
      "tanh", 1.5, [](float x) { return vector_tanh(x); }, [](double x) { return std::tanh(x); });
  check(
      "erf", 1.5, [](float x) { return vector_erf(x); }, [](double x) { return std::erf(x); });
  check(
      "sin", 1.6, [=](float x) { return vector_sin(within(x)); },
      [=](double x) { return std::sin(static_cast<double>(within(static_cast<float>(x)))); });
  check(
      "cos", 1.6, [=](float x) { return vector_cos(within(x)); },
      [=](double x) { return std::cos(static_cast<double>(within(static_cast<float>(x)))); });
}

/// Exponents of every kind: integers even and odd, near the last odd float, fractions, tiny, huge.
const float exponents[] = {0.0f,
                           1.0f,
                           2.0f,
                           3.0f,
                           7.0f,
                           101.0f,
                           0.5f,
                           2.5f,
                           0.1f,
                           1.0f / 3.0f,
                           100.5f,
                           1e-6f,
                           1e-38f,
                           1e-42f,
                           16777215.0f,
                           16777217.0f,
                           1e30f,
                           std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN()};

void check_powers(std::uint64_t stride) {
  for (const float size : exponents) {
    for (const float exponent : {size, -size}) {
      INFO(exponent);
      CHECK(worst(
                stride, [=](float x) { return vector_pow(x, exponent); },
                [=](double x) { return std::pow(x, static_cast<double>(exponent)); }) <= 0.6);
    }
  }
}

TEST_SUITE("kernels vector math") {
  TEST_CASE("errors in units in the last place") { check_errors(1009); }
  TEST_CASE("errors of powers in units in the last place") {
    check_powers(100003);
    for (const float x : exponents) {
      for (const float y : exponents) {
        for (const float base : {x, -x}) {
          CHECK(ulps(vector_pow(base, y), std::pow(static_cast<double>(base), static_cast<double>(y))) <=
                0.6);
          CHECK(ulps(vector_pow(base, -y), std::pow(static_cast<double>(base), -static_cast<double>(y))) <=
                0.6);
        }
      }
    }
  }
  TEST_CASE("powers that are exact in f32") {
    for (int base = -9; base <= 9; ++base) {
      float product = 1;
      for (int n = 0; std::fabs(product) < 16777216.0f && n < 10; ++n, product *= static_cast<float>(base)) {
        CHECK(vector_pow(static_cast<float>(base), static_cast<float>(n)) == product);
      }
    }
  }
  // Minutes: norma_tests --no-skip -tc='errors of all floats'
  TEST_CASE("errors of all floats" * doctest::skip()) { check_errors(1); }
  TEST_CASE("errors of powers of all floats" * doctest::skip()) { check_powers(1); }
}

}  // namespace
}  // namespace norma::tests
