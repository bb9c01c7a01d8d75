// WeightNorm: construction, the identities of its gradient, data-dependent initialization, folding.
#include "nn/norm/weight_norm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/normalization.h"
#include "nn/convolution.h"
#include "nn/linear.h"
#include "nn/norm/mean_only_batch_norm.h"
#include "nn/optim/optimizer.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

/// A user's layer: y = x * weight, with a mode.
class Gain : public Module {
 public:
  Gain() : weight(full({3}, -2)) {}
  Tensor operator()(const Tensor& x) const { return is_training() ? x * weight : x * weight + 100; }
  NORMA_PARTS(weight)
  Parameter weight;
};

class NoWeight : public Module {
 public:
  Tensor operator()(const Tensor& x) const { return x; }
  NORMA_PARTS()
};

double largest(const Tensor& x) { return x.detach().abs().max().item(); }
double squares(const Tensor& x) { return x.detach().square().sum().item(); }

template <class Layer>
void check_construction(Layer plain, const std::vector<int>& dims, const Tensor& x) {
  for (const int dim : dims) {
    CAPTURE(dim);
    WeightNorm layer(plain, {.dim = dim});
    Shape expected = plain.weight.shape();
    for (int axis = 0; axis < expected.rank(); ++axis) {
      if (axis != dim) expected = expected.with(axis, 1);
    }
    CHECK(layer.weight_g.shape() == (dim == -1 ? Shape() : expected));
    CHECK(layer.weight_v.to_vector<float>() == plain.weight.template to_vector<float>());
    AnyLayer folded = layer.folded();
    const Layer* const unwrapped = folded.get<Layer>();
    REQUIRE(unwrapped != nullptr);
    const double ulp = std::numeric_limits<float>::epsilon();
    CHECK(largest(unwrapped->weight - plain.weight) <= 3 * ulp * largest(plain.weight));
    CHECK(largest(layer(x) - plain(x)) <= 20 * ulp * largest(plain(x)));
    CHECK(largest(folded(x) - plain(x)) <= 20 * ulp * largest(plain(x)));
  }
}

}  // namespace

TEST_SUITE_BEGIN("weight norm");

TEST_CASE("R50 after construction the function is the layer's, for every dim; the shape of weight_g") {
  check_construction(Linear(6, 4), {0, 1, -1}, normal({5, 6}).to(f32));
  check_construction(Conv1d(4, 6, 3, {.padding = 1}), {0, 1, 2, -1}, normal({2, 4, 7}).to(f32));
  check_construction(Conv2d(2, 3, {2, 3}), {0, 1, 2, 3, -1}, normal({2, 2, 5, 6}).to(f32));
}

TEST_CASE("any layer with a weight, and its mode") {
  WeightNorm layer{Gain()};
  const Tensor x = normal({2, 3}).to(f32);
  CHECK(largest(layer(x) + x * 2) < 1e-6);
  layer.eval();
  CHECK(largest(layer(x) + x * 2 - 100) < 1e-4);
  CHECK(layer.parameters().size() == 2);
  CHECK_THROWS_MESSAGE_HAS(WeightNorm{NoWeight()},
                           "WeightNorm: needs a layer with a parameter named \"weight\", NoWeight has none");
  CHECK_THROWS_MESSAGE_HAS(WeightNorm{AnyLayer()}, "empty AnyLayer");
  CHECK_THROWS_MESSAGE_HAS(WeightNorm(Linear(2, 3), {.dim = 2}), "WeightNorm: dim must lie in [0, 1]");
  CHECK_THROWS_MESSAGE_HAS(WeightNorm(Linear(2, 3), {.dim = -2}), "got -2");
  CHECK(layer.to_string().find("WeightNorm(Gain(), dim=0)") != std::string::npos);
}

TEST_CASE("a call that throws leaves the layer as it was") {
  WeightNorm layer{Linear(3, 2)};
  const Tensor x = normal({4, 3}).to(f32), before = layer(x);
  CHECK_THROWS(layer(zeros({4, 5})));
  CHECK(layer(x).to_vector<float>() == before.to_vector<float>());
  CHECK(layer.parameters().size() == 3);
}

TEST_CASE("training and eval give the same bits") {
  WeightNorm layer{Conv1d(2, 3, 2)};
  const Tensor x = normal({2, 2, 5}).to(f32);
  const auto trained = layer(x).to_vector<float>();
  layer.eval();
  CHECK(layer(x).to_vector<float>() == trained);
}

TEST_CASE("R31 a row of zeros: a weight of zero, and finite, zero gradients; other rows feel nothing") {
  for (const int dim : {0, -1}) {
    const Tensor v = normal({3, 4}).detach(), g = dim == 0 ? normal({3, 1}, 2) : full({}, 0.7, f64);
    v.array().slice(0, {1, 2}).fill(0);
    if (dim == -1) v.array().fill(0);
    Tensor leaf_v = v, leaf_g = g;
    leaf_v.set_requires_grad(), leaf_g.set_requires_grad();
    const Tensor w = weight_norm(leaf_v, leaf_g, dim);
    CHECK(largest(w[1]) == 0);
    const auto gradients = grad({w}, {leaf_v, leaf_g}, {normal({3, 4}, 3)}, {.create_graph = true});
    for (const Tensor& gradient : gradients) CHECK(gradient.isfinite().all().item() == 1);
    CHECK(largest(gradients[0][1]) == 0);
    CHECK(largest(dim == 0 ? gradients[1][1] : gradients[1]) == 0);
    if (dim == 0) CHECK(largest(gradients[0][0]) > 0);
    const auto second = grad({gradients[0].sum()}, {leaf_v, leaf_g}, {}, {.allow_unused = true});
    for (const Tensor& gradient : second)
      CHECK((!gradient.defined() || gradient.isfinite().all().item() == 1));
  }
}

TEST_CASE("gradients are those of the paper, and v . dv = 0") {
  const Tensor v = normal({4, 6}, 1).set_requires_grad(), g = normal({4, 1}, 2).set_requires_grad();
  const Tensor dw = normal({4, 6}, 3);
  const auto gradients = grad({weight_norm(v, g)}, {v, g}, {dw});
  const Tensor length = v.detach().norm(1, keepdim), inner = (dw * v.detach()).sum(1, keepdim);
  CHECK(largest(gradients[1] - inner / length) < 1e-12);  // eq. 3
  const Tensor dv = dw * (g / length) - v * (g * (inner / length) / length.square());
  CHECK(largest(gradients[0] - dv) < 1e-12);
  CHECK(largest((v * gradients[0]).sum(1)) < 1e-12);
}

TEST_CASE("a step of SGD makes |v| grow by exactly the step; the output ignores the length of v") {
  WeightNorm layer{Linear(5, 3)};
  layer.to(f64);
  const Tensor x = normal({4, 5}), before = layer(x).detach();
  const Tensor v = layer.weight_v.clone().detach();
  layer.weight_v = v * 7.5;
  CHECK(largest(layer(x) - before) < 1e-12);
  layer.weight_v = v;
  (layer(x) * normal({4, 3}, 2)).sum().backward();
  const double lr = 0.3, expected = squares(v) + lr * lr * squares(layer.weight_v.grad());
  SGD(layer.parameters(), {.lr = lr}).step();
  CHECK(std::abs(squares(layer.weight_v) - expected) < 1e-12 * expected);
  CHECK(squares(layer.weight_v) > squares(v));
}

TEST_CASE("after initialization each unit has mean 0 and variance 1 on the batch, layer after layer") {
  Generator generator(5);
  WeightNorm first{Conv2d(2, 6, 3)}, second{Linear(6, 4)};
  const Tensor x = (normal({8, 2, 7, 7}, 4) * 3 + 2).to(f32);
  const Tensor y = first.initialize(x, {.generator = &generator});
  CHECK(largest(y.mean({0, 2, 3})) < 1e-5);
  CHECK(largest(y.var({0, 2, 3}, false) - 1) < 1e-4);
  CHECK(y.to_vector<float>() == first(x).to_vector<float>());
  CHECK(std::abs(first.weight_v.std().item() - 0.05) < 0.01);  // drawn from N(0, 0.05^2)
  const Tensor z = second.initialize(y.mean({2, 3}), {.generator = &generator});
  CHECK(largest(z.mean(0)) < 1e-5);
  CHECK(largest(z.var(0, false) - 1) < 1e-4);
  const Tensor v = second.weight_v.clone().detach();
  second.initialize(y.mean({2, 3}), {.std = 0});  // keeps the directions
  CHECK(second.weight_v.to_vector<float>() == v.to_vector<float>());
  for (const Tensor& parameter : first.parameters()) CHECK(parameter.requires_grad());
}

TEST_CASE("initialization without a bias gives variance 1; a constant unit keeps a scale of 1") {
  WeightNorm plain{Linear(3, 4, false)};
  const Tensor x = normal({64, 3}).to(f32) + 2;
  const Tensor y = plain.initialize(x);
  CHECK(largest(y.var(0, false) - 1) < 1e-4);
  CHECK(largest(y.mean(0)) > 0.1);
  for (const DType dtype : {f32, f64}) {
    WeightNorm layer{Linear(3, 4)};
    layer.to(dtype);
    const Tensor constant = full({16, 3}, 0.1, dtype);
    const Tensor z = layer.initialize(constant);
    CHECK(largest(layer.weight_g - 1) == 0);
    CHECK(largest(z) < 1e-6);
    CHECK(layer.weight_g.isfinite().all().item() == 1);
  }
}

TEST_CASE("an initialization that fails changes nothing") {
  WeightNorm layer{Linear(3, 2)};
  const StateDict before = layer.state_dict();
  std::vector<std::vector<float>> values;
  for (const auto& [name, tensor] : before) values.push_back(tensor.to_vector<float>());
  CHECK_THROWS_MESSAGE_HAS(layer.initialize(full({4, 3}, std::nan(""))), "not finite");
  CHECK_THROWS_MESSAGE_HAS(layer.initialize(zeros({0, 3})), "batch that is not empty");
  CHECK_THROWS_MESSAGE_HAS(layer.initialize(zeros({4, 2})), "Linear: the last axis");
  CHECK_THROWS_MESSAGE_HAS(layer.initialize(zeros({4, 3}), {.std = -1}), "std must be >= 0");
  CHECK_THROWS_MESSAGE_HAS(WeightNorm(Linear(3, 2), {.dim = 1}).initialize(zeros({4, 3})), "(dim = 0)");
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(before[i].second.to_vector<float>() == values[i]);
}

TEST_CASE("mean-only batch norm: mean 0 while training, the running mean in eval, its gradient") {
  MeanOnlyBatchNorm norm(3);
  norm.to(f64);
  norm.bias = tensor({1.0, 2.0, 3.0}, f64);
  const Tensor x = (normal({4, 3, 5}, 1) + 10).set_requires_grad();
  const Tensor y = norm(x), dy = normal({4, 3, 5}, 2);
  CHECK(largest(y.mean({0, 2}) - norm.bias) < 1e-12);
  const Tensor batch_mean = x.detach().mean({0, 2});
  CHECK(largest(norm.running_mean - batch_mean * 0.1) < 1e-12);
  CHECK(norm.num_batches_tracked.item() == 1);
  const auto gradients = grad({y}, {x, norm.bias}, {dy});
  CHECK(largest(gradients[0] - (dy - dy.mean({0, 2}, keepdim))) < 1e-12);
  CHECK(largest(gradients[1] - dy.sum({0, 2})) < 1e-12);
  norm(x);
  CHECK(largest(norm.running_mean - batch_mean * 0.19) < 1e-12);
  norm.eval();
  const Tensor evaluated = norm(x);
  CHECK(largest(evaluated - (x - batch_mean.reshape({3, 1}) * 0.19 + norm.bias.reshape({3, 1}))) < 1e-12);
  CHECK(norm.num_batches_tracked.item() == 2);
}

TEST_CASE("R36 R38 R44 mean-only batch norm: one value per channel, an empty batch, a plain average") {
  MeanOnlyBatchNorm norm({.num_features = 2, .momentum = {}, .bias = false});
  CHECK_THROWS_MESSAGE_HAS(norm(zeros({1, 2})), "more than 1 value per channel, got shape [1, 2]");
  CHECK(norm(zeros({0, 2, 3})).shape() == Shape{0, 2, 3});
  CHECK(norm.num_batches_tracked.item() == 0);
  for (const double value : {1.0, 2.0, 6.0}) norm(full({2, 2}, value));
  CHECK(std::abs(norm.running_mean.at({1}) - 3) < 1e-6);
  norm.eval();
  CHECK(norm(full({1, 2}, 5)).at({0, 0}) == doctest::Approx(2));
  CHECK_THROWS_MESSAGE_HAS(MeanOnlyBatchNorm(0), "num_features must be > 0");
  CHECK_THROWS_MESSAGE_HAS(MeanOnlyBatchNorm({.num_features = 2, .momentum = 1.5}),
                           "momentum, the share of the new value");
}

TEST_SUITE_END();
