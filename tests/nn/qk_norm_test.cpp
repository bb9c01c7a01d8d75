// QKNorm: forms, starts, what it is invariant to, and its relation to RMSNorm on queries and keys.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/normalization.h"
#include "nn/norm/qk_norm.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

double distance(const Tensor& a, const Tensor& b) { return (a.detach() - b.detach()).abs().max().item(); }

using Form = TemperatureOptions::Form;

QKNorm made(const TemperatureOptions& options) {
  QKNorm norm({.temperature = options});
  norm.to(f64);
  return norm;
}

Tensor scores(const QKNorm& norm, const Tensor& q, const Tensor& k) {
  const auto [q_scaled, k_unit] = norm(q, k);
  return matmul(q_scaled, k_unit.transpose(-2, -1));
}

Tensor attend(const QKNorm& norm, const Tensor& q, const Tensor& k, const Tensor& v) {
  const auto [q_scaled, k_unit] = norm(q, k);
  return scaled_dot_product_attention(q_scaled, k_unit, v, {.scale = 1.0});
}

const Tensor q = normal({2, 3, 5, 8}, 1), k = normal({2, 3, 6, 8}, 2), v = normal({2, 3, 6, 4}, 3);

}  // namespace

TEST_SUITE_BEGIN("QKNorm");

TEST_CASE("scores are cosines over a temperature that starts at 1") {
  const QKNorm norm = made({});
  const Tensor cosines = matmul(q, k.transpose(-2, -1)) / q.norm(-1, keepdim) / k.norm(-1).unsqueeze(-2);
  CHECK(distance(scores(norm, q, k), cosines) < 1e-14);
  CHECK(norm.temperature.weight.item() == 1);
  norm.temperature.weight.detach().fill_(0.25);
  CHECK(distance(scores(norm, q, k), 4 * cosines) < 1e-13);
  CHECK(norm.temperature.factor().item() == 4);
}

TEST_CASE("the multiplying form starts at log2(L^2 - L)") {
  for (const auto& [length, start] : {std::pair{72, 12.32}, {75, 12.44}, {79, 12.59}}) {
    const QKNorm norm({.temperature = TemperatureOptions::log2_of_length(length)});
    CHECK(norm.temperature.weight.item() == doctest::Approx(start).epsilon(5e-4));
    CHECK(norm.temperature.factor().item() == norm.temperature.weight.item());
  }
  CHECK(distance(scores(made({.form = Form::multiply, .initial = 3}), q, k), 3 * scores(made({}), q, k)) <
        1e-14);
}

TEST_CASE("R51 attention with QKNorm does not see the size of a query or a key") {
  const QKNorm norm = made({.initial = 0.1});
  const Tensor y = attend(norm, q, k, v);
  CHECK(distance(attend(norm, q * 1000, k, v), y) < 1e-12);
  CHECK(distance(attend(norm, q, k * normal({2, 3, 6, 1}, 4).abs(), v), y) < 1e-12);
  CHECK(distance(attend(norm, -q, k, v), y) > 0.01);
  QKNorm single({.temperature = {.initial = 0.1}});
  const auto f = [](const Tensor& x) { return x.to(f32); };
  CHECK(distance(attend(single, f(q) * 1000, f(k), f(v)), attend(single, f(q), f(k), f(v))) < 1e-4);
}

TEST_CASE("RMSNorm without gain and 1 / sqrt(d) kept is QKNorm with g = sqrt(d)") {
  const Tensor rms_scores = matmul(rms_norm(q, {}, 0), rms_norm(k, {}, 0).transpose(-2, -1)) / std::sqrt(8.0);
  QKNorm norm = made({.form = Form::multiply, .initial = 1});
  norm.temperature.weight.detach().fill_(std::sqrt(8.0));
  CHECK(distance(scores(norm, q, k), rms_scores) < 1e-13);
}

TEST_CASE("one number per head scales the scores of its head") {
  const QKNorm norm = made({.heads = 3});
  CHECK(norm.temperature.weight.shape() == Shape{3, 1, 1});
  norm.temperature.weight.detach().copy_(tensor({0.5, 1, 2}, f64).reshape({3, 1, 1}));
  const Tensor plain = scores(made({}), q, k), y = scores(norm, q, k);
  for (int head = 0; head < 3; ++head)
    CHECK(distance(y.select(1, head), plain.select(1, head) * std::pow(2.0, 1 - head)) < 1e-13);
}

TEST_CASE("a logarithm starts at the same scores and has no bound") {
  for (const Form form : {Form::divide, Form::multiply}) {
    const QKNorm plain = made({.form = form, .initial = 0.2}),
                 logarithm = made({.form = form, .initial = 0.2, .logarithm = true});
    CHECK(distance(scores(plain, q, k), scores(logarithm, q, k)) < 1e-6);  // starts are f32 numbers
  }
  const QKNorm norm = made({.logarithm = true});
  norm.temperature.weight.detach().fill_(std::log(1e-5));
  CHECK(norm.temperature.factor().item() == doctest::Approx(1e5));
}

TEST_CASE("a temperature below 1e-3, zero or negative acts as 1e-3, without a gradient") {
  for (const double temperature : {1e-4, 0.0, -2.0}) {
    CAPTURE(temperature);
    const QKNorm norm = made({});
    norm.temperature.weight.detach().fill_(temperature);
    CHECK(norm.temperature.factor().item() == doctest::Approx(1e3));
    const Tensor y = attend(norm, q, k, v);
    CHECK(y.isfinite().all().item() == 1);
    CHECK(grad({y}, {norm.temperature.weight}, {normal(y.shape(), 5)})[0].item() == 0);
  }
}

TEST_CASE("the gradient of the temperature is -(1 / tau) sum(dS * S); that of q is orthogonal to q") {
  const QKNorm norm = made({});
  norm.temperature.weight.detach().fill_(0.7);
  const Tensor in = q.detach().clone().set_requires_grad();
  const Tensor s = scores(norm, in, k), ds = normal(s.shape(), 5);
  const auto gradients = grad({s}, {in, norm.temperature.weight}, {ds});
  CHECK(gradients[1].item() == doctest::Approx(-(ds * s.detach()).sum().item() / 0.7).epsilon(1e-12));
  CHECK((gradients[0] * q).sum(-1).abs().max().item() < 1e-13);
}

TEST_CASE("derivatives of attention with QKNorm, for every parameter form") {
  TemperatureOptions paper = TemperatureOptions::log2_of_length(5);
  paper.heads = 3;
  for (const TemperatureOptions& options :
       {TemperatureOptions{.initial = 0.7}, TemperatureOptions{.initial = 0.7, .logarithm = true}, paper}) {
    QKNorm norm = made(options);
    const auto f = [&](const std::vector<Tensor>& in) {
      QKNorm substituted = norm;
      static_cast<Tensor&>(substituted.temperature.weight) = in[3];
      return attend(substituted, in[0], in[1], in[2]) * normal({2, 3, 5, 4}, 9);
    };
    const auto leaf = [](const Tensor& x) { return x.detach().clone().set_requires_grad(); };
    const std::vector<Tensor> leaves{leaf(q), leaf(k), leaf(v), leaf(norm.parameters()[0])};
    const GradCheckReport first = gradcheck(f, leaves, {.random_direction = true});
    CHECK_MESSAGE(first.passed, first.message);
    const GradCheckReport second = gradgradcheck(f, leaves, {.random_direction = true});
    CHECK_MESSAGE(second.passed, second.message);
  }
}

TEST_CASE("R31 a query and a key of zeros: finite scores and gradients") {
  const QKNorm norm;
  const Tensor a = zeros({1, 2, 4}).set_requires_grad(), b = zeros({1, 3, 4}).set_requires_grad();
  const Tensor s = scores(norm, a, b);
  CHECK(s.abs().max().item() == 0);
  for (const Tensor& gradient : grad({s}, {a, b, norm.temperature.weight}, {normal({1, 2, 3}).to(f32)}))
    CHECK(gradient.isfinite().all().item() == 1);
}

TEST_CASE("options and inputs out of range") {
  CHECK_THROWS_MESSAGE_HAS(QKNorm({.temperature = {.initial = -1}}),
                           "Temperature: initial must be finite and > 0");
  CHECK_THROWS_MESSAGE_HAS(QKNorm({.eps = -1}), "QKNorm: eps must be finite and >= 0, got -1");
  CHECK_THROWS_MESSAGE_HAS(
      QKNorm({.temperature = {.heads = 2}})(normal({3, 4, 5}).to(f32), normal({3, 4, 5}).to(f32)),
      "q must be [.., 2, length, d], got [3, 4, 5]");
}

TEST_SUITE_END();
