// A kernel on the CPU and on the device, from the same inputs.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/array.h"

namespace norma::tests {

inline constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

/// Calls a kernel: inputs are copied to the device, outputs start as NaN (integers: -1) and are returned.
class Call {
 public:
  explicit Call(Device device) : device_(device) { kept_.reserve(32); }

  Backend& kernels() const { return backend(device_); }
  View in(const Array& x) {
    if (!x.defined()) return {};
    kept_.push_back(x.to(device_));
    return kept_.back().view();
  }
  /// `wanted` false: the absent output.
  View out(const Shape& shape, DType dtype, bool wanted = true) {
    if (!wanted) return {};
    outputs_.push_back(Array::full(shape, nan_value, dtype, cpu).to(device_));
    return outputs_.back().view();
  }
  std::vector<Array> outputs() const {
    std::vector<Array> on_host;
    for (const Array& output : outputs_) on_host.push_back(output.to(cpu));
    return on_host;
  }

 private:
  Device device_;
  std::vector<Array> kept_, outputs_;
};

inline std::vector<double> values_of(const Array& x) { return x.to(f64).to_vector<double>(); }

/// NaN where the other is, infinities alike, the rest within `tolerance` of the largest finite value or 1.
inline void check_close(const Array& got, const Array& expected, double tolerance) {
  REQUIRE(got.shape() == expected.shape());
  const std::vector<double> a = values_of(got), b = values_of(expected);
  double scale = 1;
  for (const double value : b) {
    if (std::isfinite(value)) scale = std::max(scale, std::fabs(value));
  }
  std::size_t wrong = a.size();
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool alike = (std::isnan(a[i]) && std::isnan(b[i])) || a[i] == b[i];
    const double error = alike ? 0 : std::fabs(a[i] - b[i]) / scale;
    if (!(error <= tolerance) && wrong == a.size()) wrong = i;
  }
  if (wrong < a.size()) {
    FAIL_CHECK("element ", wrong, " of ", a.size(), ": got ", a[wrong], ", expected ", b[wrong]);
  }
}

inline double tolerance_of(DType dtype) { return dtype == f64 ? 1e-10 : 1e-5; }

/// run calls the kernel: its outputs on the device must be the CPU's.
inline void compare_devices(DType dtype, const std::function<void(Call&)>& run) {
  Call on_cpu(cpu), on_cuda(cuda);
  run(on_cpu), run(on_cuda);
  const std::vector<Array> expected = on_cpu.outputs(), got = on_cuda.outputs();
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    check_close(got[i], expected[i], tolerance_of(dtype));
  }
}

/// Random inputs that do not depend on the order of calls elsewhere.
class Draw {
 public:
  Draw(DType dtype, std::uint64_t seed) : dtype_(dtype), generator_(seed) {}
  Array operator()(const Shape& shape, double mean = 0, double deviation = 1) {
    return Array::random(Random::normal, shape, mean, deviation, dtype_, cpu, generator_);
  }
  Array mask(const Shape& shape, double p = 0.7) {
    return Array::random(Random::bernoulli, shape, p, 0, boolean, cpu, generator_);
  }

 private:
  DType dtype_;
  Generator generator_;
};

}  // namespace norma::tests
