// Arrays for tests of the fused kernels, and gradients of plain functions by central differences.
#pragma once

#include "tests/backends/operands.h"

namespace norma::tests {

inline Array normal(const Shape& shape, DType dtype, std::uint64_t seed, double mean = 0,
                    double deviation = 1) {
  Generator generator(seed);
  return Array::random(Random::normal, shape, mean, deviation, f64, cpu, generator).to(dtype);
}

/// All elements as doubles, row-major.
inline std::vector<double> values(const Array& x) { return x.to(f64).to_vector<double>(); }

inline void check_close(const Array& got, const std::vector<double>& want, double tolerance,
                        double scale = 1) {
  const std::vector<double> found = values(got);
  REQUIRE(found.size() == want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (close(found[i], want[i], tolerance, scale)) continue;
    INFO("element " << i);
    CHECK(found[i] == doctest::Approx(want[i]));
    FAIL("values differ");
  }
}
inline void check_close(const Array& got, const Array& want, double tolerance, double scale = 1) {
  check_close(got, values(want), tolerance, scale);
}

/// By the kernels of the CPU.
inline Array softmax(const Array& x, bool log) {
  const Array y = Array::empty(x.shape(), x.dtype());
  REQUIRE(backend(cpu).softmax(y.view(), x.view(), log));
  return y;
}
inline Array softmax_backward(const Array& y, const Array& dy, bool log) {
  const Array dx = Array::empty(y.shape(), y.dtype());
  REQUIRE(backend(cpu).softmax_backward(dx.view(), y.view(), dy.view(), log));
  return dx;
}

inline bool all_finite(const Array& x) {
  for (const double value : values(x)) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

inline bool same_bits(const Array& a, const Array& b) {
  if (a.numel() != b.numel() || a.dtype() != b.dtype()) return false;
  const auto bytes = static_cast<std::size_t>(a.numel() * size_of(a.dtype()));
  return bytes == 0 || std::memcmp(a.view().data, b.view().data, bytes) == 0;
}

/// d loss / dx by central differences, where loss = sum(dy * f(x)) and f returns a vector.
template <class Function>
std::vector<double> numeric_gradient(std::vector<double> x, const std::vector<double>& dy, Function&& f) {
  const auto loss = [&] {
    const std::vector<double> y = f(x);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  std::vector<double> gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double at = x[i], step = 1e-6;
    x[i] = at + step;
    const double above = loss();
    x[i] = at - step;
    gradient[i] = (above - loss()) / (2 * step);
    x[i] = at;
  }
  return gradient;
}

}  // namespace norma::tests
