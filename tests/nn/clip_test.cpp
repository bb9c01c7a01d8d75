#include "nn/optim/clip.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "tests/messages.h"

using namespace norma;
using doctest::Approx;

namespace {

Tensor with_gradient(const Tensor& gradient) {
  Tensor x = zeros(gradient.shape(), gradient.dtype());
  x.set_requires_grad();
  x.set_grad(gradient);
  return x;
}

}  // namespace

TEST_SUITE_BEGIN("clip");

TEST_CASE("clip_grad_norm_ scales all gradients together, and only down") {
  for (const bool definition : {false, true}) {
    std::optional<DefinitionsOnly> only;
    if (definition) only.emplace();
    const Tensor a = with_gradient(tensor({3, 0})), b = with_gradient(tensor({0, 4}, f64));
    CHECK(nn::clip_grad_norm_({a, b}, 10).item() == Approx(5).epsilon(1e-12));
    CHECK(a.grad().at({0}) == 3);
    CHECK(nn::clip_grad_norm_({a, b}, 1).item() == Approx(5).epsilon(1e-12));
    CHECK(a.grad().at({0}) == Approx(0.6).epsilon(1e-6));
    CHECK(b.grad().at({1}) == Approx(0.8).epsilon(1e-6));
    CHECK(nn::clip_grad_norm_({a, b}, INFINITY).item() == Approx(1).epsilon(1e-6));
    CHECK(nn::clip_grad_norm_({a, b}, 0).item() == Approx(1).epsilon(1e-6));
    CHECK(a.grad().at({0}) == 0);
  }
}

TEST_CASE("clip_grad_norm_ on gradients as backward leaves them") {
  // A sum gives every element one shared gradient, a + b gives both leaves the same values.
  Tensor a = zeros({3, 4}), b = zeros({3, 4});
  a.set_requires_grad();
  b.set_requires_grad();
  (a + b).sum().backward();
  CHECK(nn::clip_grad_norm_({a, b}, 1).item() == Approx(std::sqrt(24.0)).epsilon(1e-12));
  for (const Tensor& x : {a, b}) {
    for (const float value : x.grad().to_vector<float>())
      CHECK(value == Approx(1 / std::sqrt(24.0)).epsilon(1e-5));
  }
}

TEST_CASE("R127 a gradient that is not finite is reported and not spread") {
  for (const double bad : {std::nan(""), static_cast<double>(INFINITY), -static_cast<double>(INFINITY)}) {
    const Tensor a = with_gradient(tensor({3, 4})), b = with_gradient(tensor({1, bad}));
    const double norm = nn::clip_grad_norm_({a, b}, 1).item();
    CHECK(!std::isfinite(norm));

    CHECK(a.grad().to_vector<float>() == std::vector<float>{3, 4});
    CHECK(b.grad().at({0}) == 1);
    CHECK_THROWS_MESSAGE_HAS(nn::clip_grad_norm_({a, b}, 1, true),
                             "the gradient of parameter 1 is not finite");
    const std::vector<nn::NamedTensor> named{{"up.weight", a}, {"up.bias", b}};
    CHECK_THROWS_MESSAGE_HAS(nn::clip_grad_norm_(named, 1, true), "the gradient of up.bias is not finite");
    CHECK(a.grad().to_vector<float>() == std::vector<float>{3, 4});
  }
}

TEST_CASE("R128 squares that overflow float") {
  const Tensor x = with_gradient(full({4}, 1e20));
  CHECK(nn::clip_grad_norm_({x}, 1, true).item() == Approx(2e20).epsilon(1e-6));
  CHECK(nn::clip_grad_norm_({x}, INFINITY).item() == Approx(1).epsilon(1e-6));
}

TEST_CASE("R129 without gradients the norm is 0") {
  Tensor without = ones({3});
  without.set_requires_grad();
  CHECK(nn::clip_grad_norm_(std::vector<Tensor>{}, 1).item() == 0);
  CHECK(nn::clip_grad_norm_({without}, 1).item() == 0);
  CHECK(nn::clip_grad_norm_({with_gradient(zeros({0, 3})), without}, 1, true).item() == 0);
  CHECK_THROWS_MESSAGE_HAS(nn::clip_grad_norm_({without}, -1), "max_norm must be >= 0, got -1");
  CHECK_THROWS_MESSAGE_HAS(nn::clip_grad_norm_({Tensor()}, 1), "parameter 0 is undefined");
}

TEST_SUITE_END();
