// exp, log, tanh and erf of f32 against libm in f64, in units in the last place, over the whole range of
// floats.
#include "backends/cpu/vector_math.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <limits>

namespace norma::tests {
namespace {

/// Error in units in the last place of the exact result rounded to f32; huge where NaN or infinity disagree.
double ulps(float got, double exact) {
  const float want = static_cast<float>(exact);
  if (std::isnan(want)) return std::isnan(got) ? 0 : 1e9;
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
  for (const float x : {0.0f, 1.0f, Limits::infinity(), Limits::quiet_NaN(), Limits::max(), Limits::min(),
                        Limits::denorm_min(), 87.3f, 88.7f, 88.73f, 103.9f, 0.625f, 0.83f, 4.0f}) {
    visit(x), visit(-x);
  }
  return largest;
}

void check_errors(std::uint64_t stride) {
  const auto exp = [](double x) { return std::exp(x); };
  const auto exp_up_to_40 = [](float x) {
    return x > 40 ? static_cast<float>(std::exp(static_cast<double>(x))) : vector_exp_negative(x);
  };
  CHECK(worst(
            stride, [](float x) { return vector_exp(x); }, exp) <= 1.5);
  CHECK(worst(stride, exp_up_to_40, exp) <= 1.5);
  CHECK(worst(
            stride, [](float x) { return vector_log(x); }, [](double x) { return std::log(x); }) <= 1.5);
  CHECK(worst(
            stride, [](float x) { return vector_tanh(x); }, [](double x) { return std::tanh(x); }) <= 1.5);
  CHECK(worst(
            stride, [](float x) { return vector_erf(x); }, [](double x) { return std::erf(x); }) <= 1.5);
}

TEST_SUITE("kernels vector math") {
  TEST_CASE("errors in units in the last place") { check_errors(1009); }
  // Minutes: norma_tests --no-skip -tc='errors of all floats'
  TEST_CASE("errors of all floats" * doctest::skip()) { check_errors(1); }
  TEST_CASE("signs of zero") {
    CHECK((std::signbit(vector_tanh(-0.0f)) && !std::signbit(vector_tanh(0.0f))));
    CHECK((std::signbit(vector_erf(-0.0f)) && !std::signbit(vector_erf(0.0f))));
  }
}

}  // namespace
}  // namespace norma::tests
