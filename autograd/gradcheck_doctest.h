// CHECK_GRADIENT for doctest suites:
//
//   TEST_CASE("my op") {
//     const auto my_op = [](const Tensor& x, const Tensor& weight) { return (x * weight).tanh(); };
//     CHECK_GRADIENT(my_op, randn({3, 4}, f64), randn({4}, f64));
//   }
#pragma once

#include <doctest/doctest.h>

#include <utility>
#include <vector>

#include "autograd/gradcheck.h"

namespace norma::detail {

/// A function of tensors as a function of a list of them; every f64 tensor is made to require a gradient.
template <class Function, class... Tensors>
std::pair<GradCheckReport, GradCheckReport> check_gradient(const Function& function,
                                                           const Tensors&... tensors) {
  std::vector<Tensor> inputs{tensors...};
  for (Tensor& x : inputs) {
    if (x.defined() && is_floating(x.dtype())) x = Tensor(x.array()).set_requires_grad();
  }
  const TensorFunction listed = [&](const std::vector<Tensor>& xs) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) { return function(xs[I]...); }
    (std::index_sequence_for<Tensors...>{});
  };
  return {gradcheck(listed, inputs), gradgradcheck(listed, inputs)};
}

}  // namespace norma::detail

/// Checks first and second derivatives of `function(inputs...)` with respect to every floating input. The
/// inputs are f64 tensors (others, such as indices, are passed on as they are).
#define CHECK_GRADIENT(function, ...)                                                         \
  do {                                                                                        \
    const auto norma_reports = ::norma::detail::check_gradient(function, __VA_ARGS__);        \
    CHECK_MESSAGE(norma_reports.first.passed, #function ": ", norma_reports.first.message);   \
    CHECK_MESSAGE(norma_reports.second.passed, #function ": ", norma_reports.second.message); \
  } while (false)
