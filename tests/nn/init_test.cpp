// Initializers: statistics, ranges, orthogonality, determinism.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/embedding.h"
#include "nn/init.h"
#include "nn/linear.h"
#include "tests/messages.h"

using namespace norma;
using namespace norma::nn;

namespace {

// Moments of 200 x 300 draws: the standard error of the deviation is below 0.4%.
struct Moments {
  double mean, std, low, high;
};
Moments moments(const Tensor& x) { return {x.mean().item(), x.std().item(), x.min().item(), x.max().item()}; }

Tensor weight() { return empty({200, 300}, f64); }  // fan_in 300, fan_out 200

}  // namespace

TEST_SUITE_BEGIN("initializers");

TEST_CASE("constants") {
  const Tensor x = empty({3, 2});
  CHECK(init::ones_(x).sum().item() == 6);
  CHECK(init::constant_(x, 0.5).sum().item() == 3);
  CHECK(init::zeros_(x).is_same(x));
  CHECK(x.sum().item() == 0);
}

TEST_CASE("uniform and normal") {
  Generator generator(3);
  const Moments uniform = moments(init::uniform_(weight(), -2, 4, &generator));
  CHECK(uniform.mean == doctest::Approx(1).epsilon(0.03));
  CHECK(uniform.std == doctest::Approx(6 / std::sqrt(12.0)).epsilon(0.02));
  CHECK(uniform.low >= -2);
  CHECK(uniform.high < 4);
  const Moments normal = moments(init::normal_(weight(), 3, 0.5, &generator));
  CHECK(normal.mean == doctest::Approx(3).epsilon(0.01));
  CHECK(normal.std == doctest::Approx(0.5).epsilon(0.02));
}

TEST_CASE("truncated normal: cut at absolute values") {
  Generator generator(3);
  const Moments cut = moments(init::trunc_normal_(weight(), 1, 0.5, 0.5, 1.5, &generator));
  CHECK(cut.low >= 0.5);
  CHECK(cut.high <= 1.5);
  CHECK(cut.mean == doctest::Approx(1).epsilon(0.01));
  // The standard normal cut to +-1 has variance 1 - 2 phi(1) / (2 Phi(1) - 1) = 0.29112.
  CHECK(cut.std == doctest::Approx(0.5 * std::sqrt(0.291125)).epsilon(0.02));
}

TEST_CASE("xavier: variance 2 / (fan_in + fan_out)") {
  Generator generator(3);
  const double std = std::sqrt(2.0 / 500);
  const Moments uniform = moments(init::xavier_uniform_(weight(), 2, &generator));
  CHECK(uniform.std == doctest::Approx(2 * std).epsilon(0.02));
  CHECK(uniform.high <= 2 * std * std::sqrt(3.0));
  CHECK(moments(init::xavier_normal_(weight(), 1, &generator)).std == doctest::Approx(std).epsilon(0.02));
}

TEST_CASE("kaiming: variance gain^2 / fan, with the receptive field in the fan") {
  Generator generator(3);
  const init::KaimingOptions in{.nonlinearity = "relu", .generator = &generator};
  CHECK(moments(init::kaiming_normal_(weight(), in)).std ==
        doctest::Approx(std::sqrt(2.0 / 300)).epsilon(0.02));
  const init::KaimingOptions out{.a = std::sqrt(5.0), .mode = init::Fan::out, .generator = &generator};
  const Moments uniform = moments(init::kaiming_uniform_(weight(), out));
  CHECK(uniform.std == doctest::Approx(std::sqrt(1.0 / 3 / 200)).epsilon(0.02));
  CHECK(uniform.high <= std::sqrt(1.0 / 200));
  const Tensor kernel = empty({100, 20, 3, 5}, f64);  // fan_in 20 * 15
  CHECK(moments(init::kaiming_normal_(kernel, in)).std ==
        doctest::Approx(std::sqrt(2.0 / 300)).epsilon(0.03));
}

TEST_CASE("gains are PyTorch's, and unknown names are refused") {
  CHECK(init::calculate_gain("tanh") == doctest::Approx(5.0 / 3));
  CHECK(init::calculate_gain("leaky_relu", 0.2) == doctest::Approx(std::sqrt(2 / 1.04)));
  CHECK_THROWS_MESSAGE_HAS(init::calculate_gain("gelu"), "unknown nonlinearity \"gelu\"");
  CHECK_THROWS_MESSAGE_HAS(init::xavier_normal_(ones({3})), "needs a weight of rank >= 2, got shape [3]");
  CHECK_THROWS_MESSAGE_HAS(init::normal_(arange(0, 3)), "normal_: needs a floating dtype, got i64");
}

TEST_CASE("orthogonal: rows or columns are orthonormal, times gain") {
  for (const Shape& shape : {Shape{7, 7}, Shape{5, 20}, Shape{20, 5}, Shape{6, 2, 3}}) {
    Generator generator(3);
    const Tensor x = init::orthogonal_(empty(shape, f64), 2, &generator).reshape({shape[0], -1});
    const Tensor gram = (x.size(0) <= x.size(1) ? matmul(x, x.t()) : matmul(x.t(), x)) / 4;
    CHECK((gram - eye(gram.size(0), f64)).abs().max().item() < 1e-12);
  }
  Generator generator(5);  // 1 x 1: the sign is as often + as -
  int positive = 0;
  for (int i = 0; i < 200; ++i) {
    positive += init::orthogonal_(empty({1, 1}, f64), 1, &generator).item() > 0 ? 1 : 0;
  }
  CHECK(positive > 70);
  CHECK(positive < 130);
}

TEST_CASE("the same generator state gives the same values, and each draw moves it on") {
  Generator a(11), b(11);
  const Tensor first = init::normal_(empty({5}), 0, 1, &a);
  CHECK(first.to_vector<float>() == init::normal_(empty({5}), 0, 1, &b).to_vector<float>());
  CHECK(first.to_vector<float>() != init::normal_(empty({5}), 0, 1, &b).to_vector<float>());
  manual_seed(4);
  Linear x(3, 2), y(3, 2);
  manual_seed(4);
  Linear again(3, 2);
  CHECK(x.weight.to_vector<float>() == again.weight.to_vector<float>());
  CHECK(x.weight.to_vector<float>() != y.weight.to_vector<float>());
}

TEST_CASE("nothing is recorded, and a leaf that requires a gradient can be filled") {
  Linear layer(3, 2);
  init::xavier_normal_(layer.weight);
  CHECK(layer.weight.is_leaf());
  CHECK(layer.weight.requires_grad());
  init::trunc_normal_(layer.weight, 0, 0.02, -0.04, 0.04);
  CHECK(layer.weight.abs().max().item() <= 0.04);
}

TEST_CASE("Linear and Embedding start as in PyTorch") {
  manual_seed(1);
  Linear layer(100, 400);
  const double bound = 0.1;  // 1 / sqrt(100)
  CHECK(layer.weight.abs().max().item() <= bound);
  CHECK(layer.weight.detach().std().item() == doctest::Approx(bound / std::sqrt(3.0)).epsilon(0.02));
  CHECK(layer.bias.abs().max().item() <= bound);
  CHECK(layer.bias.abs().max().item() > 0.9 * bound);
  Embedding embedding(100, 200);
  CHECK(embedding.weight.detach().std().item() == doctest::Approx(1).epsilon(0.03));
}

TEST_SUITE_END();
