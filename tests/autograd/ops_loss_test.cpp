// Losses, softmax and activations at the edges. Numbers in names are those of the robustness checklist.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "tests/messages.h"

using namespace norma;

namespace {

using Values = std::vector<double>;
constexpr double infinity = std::numeric_limits<double>::infinity();

Tensor labels(const std::vector<std::int64_t>& values) {
  return tensor(values, {static_cast<std::int64_t>(values.size())});
}

Tensor matrix(const Values& values, std::int64_t columns) {
  return tensor(values, {static_cast<std::int64_t>(values.size()) / columns, columns}).set_requires_grad();
}

/// Runs a check with kernels, then with definitions.
template <class Body>
void both_ways(Body&& body) {
  body();
  const DefinitionsOnly definitions;
  body();
}

}  // namespace

TEST_SUITE_BEGIN("loss ops");

TEST_CASE("cross_entropy against numbers worked out by hand") {
  both_ways([] {
    const Tensor logits = matrix({0, std::log(3.0), 0, 0}, 2);  // probabilities 1/4 3/4, 1/2 1/2
    const Tensor targets = labels({1, 0});
    const double first = std::log(4.0 / 3), second = std::log(2.0);
    CHECK(cross_entropy(logits, targets).item() == doctest::Approx((first + second) / 2));
    CHECK(cross_entropy(logits, targets, {.reduction = Reduction::sum}).item() ==
          doctest::Approx(first + second));
    const Tensor none = cross_entropy(logits, targets, {.reduction = Reduction::none});
    CHECK(none.at({0}) == doctest::Approx(first));
    CHECK(none.at({1}) == doctest::Approx(second));
    const Tensor smooth =
        cross_entropy(logits, targets, {.label_smoothing = 0.2, .reduction = Reduction::none});
    CHECK(smooth.at({0}) == doctest::Approx(0.9 * first + 0.1 * std::log(4.0)));
    cross_entropy(logits, targets).backward();
    CHECK(logits.grad().at({0, 0}) == doctest::Approx(0.125));
    CHECK(logits.grad().at({0, 1}) == doctest::Approx(-0.125));
    CHECK(logits.grad().at({1, 0}) == doctest::Approx(-0.25));
  });
}

TEST_CASE("R28 cross_entropy and log_softmax of logits 1e4 apart") {
  both_ways([] {
    for (const DType dtype : {f32, f64}) {
      const Tensor logits = tensor({1e4, 0, -1e4}, dtype).set_requires_grad();
      for (std::int64_t target = 0; target < 3; ++target) {
        const Tensor loss = cross_entropy(logits, Tensor(Array::full({}, static_cast<double>(target), i64)));
        CHECK(loss.item() == doctest::Approx(1e4 * static_cast<double>(target)));
        logits.zero_grad();
        loss.backward();
        CHECK(logits.grad().isfinite().all().item() == 1);
        CHECK(logits.grad().at({0}) == doctest::Approx(target == 0 ? 0 : 1));
      }
      CHECK(log_softmax(logits).at({2}) == doctest::Approx(-2e4));
    }
  });
}

TEST_CASE("R29 softmax of equal huge values is uniform; of -inf throughout, NaN") {
  both_ways([] {
    CHECK(softmax(full({1, 4}, 1e30)).to_vector<float>() == std::vector<float>(4, 0.25f));
    CHECK(softmax(full({1, 4}, -1e30)).to_vector<float>() == std::vector<float>(4, 0.25f));
    CHECK(softmax(full({4}, -infinity)).isnan().all().item() == 1);
    const Tensor half = softmax(tensor({0, -infinity, 0}, f64));
    CHECK(half.to_vector<double>() == Values{0.5, 0, 0.5});
  });
  CHECK(softmax(empty({3, 0})).shape() == Shape{3, 0});
  CHECK_THROWS_MESSAGE_HAS(softmax(randn({2}), 1), "softmax: axis 1");
  CHECK_THROWS_MESSAGE_HAS(softmax(arange(0, 3)), "softmax: x must have a floating dtype, got i64");
}

TEST_CASE("R30 logsumexp of -inf is -inf, with gradient 0") {
  const Tensor x = matrix({-infinity, -infinity, -infinity, 0}, 2);
  const Tensor y = x.logsumexp();
  CHECK(y.to_vector<double>() == Values{-infinity, 0});
  y.sum().backward();
  CHECK(x.grad().to_vector<double>() == Values{0, 0, 0, 1});
  CHECK(tensor({1000, 1000}, f64).logsumexp().item() == doctest::Approx(1000 + std::log(2.0)));
  CHECK(tensor({infinity, 1}, f64).logsumexp().item() == infinity);
}

TEST_CASE("R32 R33 softcap far outside, and caps that make no sense") {
  const Tensor x = tensor({1e6, -1e6, 0}, f32).set_requires_grad();
  const Tensor y = softcap(x, 30);
  CHECK(y.to_vector<float>() == std::vector<float>{30, -30, 0});
  y.sum().backward();
  CHECK(x.grad().to_vector<float>() == std::vector<float>{0, 0, 1});
  CHECK(softcap(tensor({10, 50, 100}, f64), 50).at({1}) == doctest::Approx(38.0797));
  for (const double cap : {0.0, -1.0, std::nan(""), infinity})
    CHECK_THROWS_MESSAGE_HAS(softcap(x, cap), "softcap: cap must be finite and > 0");
}

TEST_CASE("activations at known points and far out") {
  both_ways([] {
    CHECK(gelu(tensor({1}, f64)).item() == doctest::Approx(0.841344746068543).epsilon(1e-12));
    CHECK(gelu(tensor({1}, f64), Gelu::tanh).item() == doctest::Approx(0.841191990608276).epsilon(1e-9));
    CHECK(silu(tensor({1}, f64)).item() == doctest::Approx(0.731058578630005).epsilon(1e-12));
    for (const DType dtype : {f32, f64}) {
      const Tensor far = tensor({-1e4, 1e4}, dtype);
      CHECK(gelu(far).to(f64).to_vector<double>() == Values{0, 1e4});
      CHECK(gelu(far, Gelu::tanh).to(f64).to_vector<double>() == Values{0, 1e4});
      CHECK(silu(far).to(f64).to_vector<double>() == Values{0, 1e4});
    }
  });
  CHECK(softplus(tensor({-1e4, 0, 1e4}, f64)).to_vector<double>() == Values{0, std::log(2.0), 1e4});
  const Tensor zero = tensor({0}, f64).set_requires_grad();
  softplus(zero).backward();
  CHECK(zero.grad().item() == 0.5);
  const Tensor x = tensor({-1, 0, 2, std::nan("")}, f64).set_requires_grad();
  const Tensor y = relu(x);
  CHECK(std::isnan(y.at({3})));
  y.sum().backward();
  CHECK(x.grad().to_vector<double>() == Values{0, 0, 1, 1});
}

TEST_CASE("R88 R89 labels out of range throw, for every reduction, unless they are ignored") {
  const Tensor logits = matrix({1, 2, 3, 4, 5, 6}, 3);
  for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum}) {
    for (const std::int64_t bad : {-1, 3, -4}) {
      const std::string message = tests::message_of([&] {
        cross_entropy(logits, labels({0, bad}), {.ignore_index = -100, .reduction = reduction});
      });
      CAPTURE(message);
      CHECK(message.find("cross_entropy") != std::string::npos);
      CHECK(message.find(std::to_string(bad)) != std::string::npos);
      CHECK(message.find("[0, 3)") != std::string::npos);
    }
    CHECK_THROWS_AS(cross_entropy(logits, labels({0, -4}), {.ignore_index = -1, .reduction = reduction}),
                    Error);
  }
  both_ways([&] {
    CHECK_THROWS_AS(cross_entropy(logits, labels({0, -4}), {.ignore_index = -1}), Error);
    const double expected = cross_entropy(logits.narrow(0, 0, 1), labels({2})).item();
    CHECK(cross_entropy(logits, labels({2, 7}), {.ignore_index = 7}).item() == doctest::Approx(expected));
    CHECK(cross_entropy(logits, labels({2, -1}), {.ignore_index = -1}).item() == doctest::Approx(expected));
  });
}

TEST_CASE("R89 when all labels are ignored the mean is NaN, the sum 0, and the gradient 0") {
  both_ways([] {
    for (const double smoothing : {0.0, 0.1}) {
      const Tensor logits = matrix({1, 2, 3, 4}, 2);
      CrossEntropyOptions options{.label_smoothing = smoothing};
      const Tensor mean = cross_entropy(logits, labels({-100, -100}), options);
      CHECK(std::isnan(mean.item()));
      mean.backward();
      CHECK(logits.grad().to_vector<double>() == Values(4, 0));
      options.reduction = Reduction::sum;
      CHECK(cross_entropy(logits, labels({-100, -100}), options).item() == 0);
    }
  });
}

TEST_CASE("cross_entropy with a class of logit -inf") {
  both_ways([] {
    const Tensor logits = matrix({0, -infinity, 0}, 3);
    const Tensor loss = cross_entropy(logits, labels({2}));
    CHECK(loss.item() == doctest::Approx(std::log(2.0)));
    loss.backward();
    CHECK(logits.grad().to_vector<double>() == Values{0.5, 0, -0.5});
  });
}

TEST_CASE("cross_entropy: backward twice gives the same bits; scaled losses; logits used elsewhere too") {
  both_ways([] {
    const Tensor logits = randn({7, 300}).set_requires_grad();
    const Tensor targets = labels({3, 299, -100, 0, 17, 256, -100});
    const auto gradient = [&](const Tensor& loss, const BackwardOptions& options = {}) {
      logits.zero_grad();
      loss.backward({}, options);
      return logits.grad().clone();
    };
    for (const Reduction reduction : {Reduction::mean, Reduction::sum}) {
      const Tensor loss = cross_entropy(logits, targets, {.label_smoothing = 0.1, .reduction = reduction});
      const Tensor once = gradient(loss, {.retain_graph = true});
      CHECK(gradient(loss, {.retain_graph = true}).array().to_vector<float>() ==
            once.array().to_vector<float>());
      CHECK(gradient(loss * 4).array().to_vector<float>() == (once * 4).array().to_vector<float>());
      const Tensor again = cross_entropy(logits, targets, {.label_smoothing = 0.1, .reduction = reduction});
      const Tensor both = gradient(again + (logits * 2).sum());
      CHECK((both - once - 2).abs().amax().item() < 1e-6);
    }
  });
}

TEST_CASE("binary_cross_entropy_with_logits far out, and against its definition") {
  const Tensor x = tensor({20, -20, 1e4, -1e4, 0.5}, f64).set_requires_grad();
  const Tensor t = tensor({1, 0, 0, 1, 0.3}, f64);
  const Tensor y = binary_cross_entropy_with_logits(x, t, Reduction::none);
  CHECK(y.at({0}) == doctest::Approx(std::exp(-20.0)).epsilon(1e-8));
  CHECK(y.at({1}) == doctest::Approx(std::exp(-20.0)).epsilon(1e-8));
  CHECK(y.at({2}) == 1e4);
  CHECK(y.at({3}) == 1e4);
  const double p = 1 / (1 + std::exp(-0.5));
  CHECK(y.at({4}) == doctest::Approx(-0.3 * std::log(p) - 0.7 * std::log(1 - p)));
  y.sum().backward();
  CHECK(x.grad().at({2}) == 1);
  CHECK(x.grad().at({4}) == doctest::Approx(p - 0.3));
}

TEST_CASE("losses refuse operands that do not fit") {
  const Tensor x = randn({2, 3});
  CHECK_THROWS_MESSAGE_HAS(mse_loss(x, randn({2, 1})),
                           "mse_loss: input and target must have one shape, got [2, 3]");
  CHECK_THROWS_MESSAGE_HAS(mse_loss(x, randn({2, 3}, f64)), "mse_loss: target must be f32 on cpu, got f64");
  CHECK_THROWS_MESSAGE_HAS(cross_entropy(x, labels({0})), "logits must be [.., classes] and targets [..]");
  CHECK_THROWS_MESSAGE_HAS(cross_entropy(x, randn({2})), "targets must be i64");
  CHECK_THROWS_MESSAGE_HAS(cross_entropy(x, labels({0, 1}), {.label_smoothing = 1.5}), "label_smoothing");
  CHECK_THROWS_MESSAGE_HAS(cross_entropy(Tensor(), labels({0})), "logits is an undefined tensor");
  CHECK(mse_loss(tensor({1, 2}), tensor({3, 5})).item() == doctest::Approx(6.5));
  CHECK(mse_loss(tensor({1, 2}), tensor({3, 5}), Reduction::sum).item() == doctest::Approx(13));
}

TEST_SUITE_END();
