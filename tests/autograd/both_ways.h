// Ops by their kernels and by their definitions: values and first gradients, special values included.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "autograd/ops.h"

namespace norma::tests {

using Values = std::vector<double>;
using Op = std::function<Tensor(const Tensor&)>;

/// y, then dx of a slope for each y.
inline Values value_and_gradient(const Op& op, const Tensor& values) {
  const Tensor x = values.clone().detach().set_requires_grad();
  const Tensor y = op(x);
  y.backward(arange(1, static_cast<double>(y.numel()) + 1, 1, y.dtype())
                 .reshape({y.shape().begin(), y.shape().end()}));
  Values all = y.to(f64).to_vector<double>();
  for (const double slope : x.grad().to(f64).to_vector<double>()) all.push_back(slope);
  return all;
}

inline bool same_or_both_nan(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// The definition computes in f64. Differences are relative to the value, or to 1 where it is smaller. Where
/// nothing is recorded, a kernel may note less: the value is the same.
inline void check_both_ways(const Op& op, const Tensor& x) {
  const Values found = value_and_gradient(op, x), want = [&] {
    const DefinitionsOnly definitions;
    return value_and_gradient(op, x.to(f64));
  }();
  const double tolerance = x.dtype() == f32 ? 1e-6 : 1e-14;
  REQUIRE(found.size() == want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    INFO("shape " << x.shape() << ", element " << i << ": " << found[i] << ", not " << want[i]);
    const bool same = std::isfinite(want[i])
                          ? std::fabs(found[i] - want[i]) <= tolerance * std::max(1.0, std::fabs(want[i]))
                          : same_or_both_nan(found[i], want[i]);
    CHECK(same);
  }
  const NoGrad unrecorded;
  const Values values = op(x).to(f64).to_vector<double>();
  CHECK(std::equal(values.begin(), values.end(), found.begin(), same_or_both_nan));
}

}  // namespace norma::tests
