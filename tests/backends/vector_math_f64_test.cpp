// The functions of vector_math_f64.h against libm in long double, in units in the last place: doubles of
// every size, evenly over their bits, many where a function is used most, and the awkward ones.
#include "backends/cpu/vector_math_f64.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <limits>
#include <numbers>
#include <string>

namespace norma::tests {
namespace {

using Exact = long double;

/// Error in units in the last place of the exact result rounded to f64; huge where NaN or infinity disagree.
double ulps(double got, Exact exact) {
  const double want = static_cast<double>(exact);
  if (std::isnan(want)) return std::isnan(got) ? 0 : 1e9;
  if (want == 0 && got == 0) return std::signbit(want) == std::signbit(got) ? 0 : 1e9;
  if (std::isinf(want) || !std::isfinite(got)) return got == want ? 0 : 1e9;
  const double size = std::fabs(want);
  const double unit = std::nextafter(size, INFINITY) - size;
  return static_cast<double>(std::fabs(static_cast<Exact>(got) - exact) / static_cast<Exact>(unit));
}

template <class Fast, class Slow>
double worst(std::uint64_t count, double low, double high, Fast&& fast, Slow&& slow) {
  double largest = 0;
  const auto visit = [&](double x) {
    largest = std::max(largest, ulps(fast(x), slow(static_cast<Exact>(x))));
  };
  const std::uint64_t stride = ~std::uint64_t{0} / count;
  for (std::uint64_t i = 0; i < count; ++i) {
    visit(std::bit_cast<double>(i * stride + i % 1021));
    const double place = static_cast<double>(i) / static_cast<double>(count);
    visit(low + (high - low) * place);
    visit(2 * place - 1), visit(0.5 + place);
  }
  using Limits = std::numeric_limits<double>;
  for (const double size : {0.0,
                            1.0,
                            Limits::infinity(),
                            Limits::quiet_NaN(),
                            Limits::max(),
                            Limits::min(),
                            Limits::denorm_min(),
                            0.625,
                            0.83,
                            6.0,
                            5.9,
                            36.0,
                            37.0,
                            38.0,
                            54.0,
                            0x1p-54,
                            0x1p60,
                            0.41421356,
                            1.4142135623730951,
                            709.7,
                            709.78,
                            709.79,
                            744.4,
                            745.1,
                            745.14,
                            746.0,
                            0.70710678118654752}) {
    for (const double x : {size, -size}) {
      visit(x), visit(std::nextafter(x, INFINITY)), visit(std::nextafter(x, -INFINITY));
    }
  }
  return largest;
}

void check_errors(std::uint64_t count) {
  const auto check = [count](const char* name, double limit, double low, double high, auto fast, auto exact) {
    INFO(std::string(name));
    CHECK(worst(count, low, high, fast, exact) <= limit);
  };
  const auto exp = [](Exact x) { return std::exp(x); };
  const auto exp_up_to_40 = [](double x) { return x > 40 ? std::exp(x) : vector_exp_negative(x); };
  check(
      "exp", 1.25, -750, 720, [](double x) { return vector_exp(x); }, exp);
  check("exp up to 40", 1.25, -750, 40, exp_up_to_40, exp);
  for (const double high : {3.0, 40.0}) {
    check(
        "expm1", 1.5, -high, high, [](double x) { return vector_expm1(x); },
        [](Exact x) { return std::expm1(x); });
  }
  check(
      "log", 1, 0, 4, [](double x) { return vector_log(x); }, [](Exact x) { return std::log(x); });
  check(
      "log1p", 1.5, -1, 4, [](double x) { return vector_log1p(x); }, [](Exact x) { return std::log1p(x); });
  check(
      "softplus", 1.75, -50, 50, [](double x) { return vector_softplus(x); },
      [](Exact x) { return std::fmax(x, Exact(0)) + std::log1p(std::exp(-std::fabs(x))); });
  check(
      "tanh", 1.5, -3, 3, [](double x) { return vector_tanh(x); }, [](Exact x) { return std::tanh(x); });
  const auto within = [](double x) { return std::fabs(x) > vector_turn_limit<double> ? 0.0 : x; };
  const auto exact_within = [=](Exact x) { return static_cast<Exact>(within(static_cast<double>(x))); };
  for (const double high : {4.0, vector_turn_limit<double>}) {
    check(
        "sin", 1, -high, high, [=](double x) { return vector_sin(within(x)); },
        [=](Exact x) { return std::sin(exact_within(x)); });
    check(
        "cos", 1, -high, high, [=](double x) { return vector_cos(within(x)); },
        [=](Exact x) { return std::cos(exact_within(x)); });
  }
  check(
      "erf", 1.5, -6, 6, [](double x) { return vector_erf(x); }, [](Exact x) { return std::erf(x); });
}

TEST_SUITE("kernels vector math") {
  TEST_CASE("f64: errors in units in the last place") { check_errors(100'000); }
  TEST_CASE("f64: sine and cosine beside the multiples of pi / 2, where all leading digits cancel") {
    double worst = 0;
    for (int n = 1; n * 1.5708 < vector_turn_limit<double>; ++n) {
      const double near = static_cast<double>(n * (std::numbers::pi_v<Exact> / 2));
      for (const double x : {near, -near, std::nextafter(near, 0), std::nextafter(near, INFINITY)}) {
        worst = std::max(worst, ulps(vector_sin(x), std::sin(static_cast<Exact>(x))));
        worst = std::max(worst, ulps(vector_cos(x), std::cos(static_cast<Exact>(x))));
      }
    }
    CHECK(worst <= 1);
  }
  // A minute: norma_tests --no-skip -tc='f64: errors of many'
  TEST_CASE("f64: errors of many" * doctest::skip()) { check_errors(20'000'000); }
}

}  // namespace
}  // namespace norma::tests
