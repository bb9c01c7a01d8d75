// GroupNorm and InstanceNorm: equivalences, modes, running statistics, errors.
#include "nn/norm/group_norm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/normalization.h"
#include "nn/norm/instance_norm.h"
#include "nn/norm/layer_norm.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

template <class Layer>
Layer in_f64(Layer layer) {
  layer.to(f64);
  randomize(layer, 6);
  return layer;
}

double largest(const Tensor& x) { return x.abs().max().item(); }

/// Largest difference of values and of gradients of x, for a random upstream gradient.
double difference(const Tensor& a, const Tensor& b, const Tensor& x) {
  const Tensor dy = normal(a.shape(), 50);
  return std::max(largest(a - b), largest(grad({a}, {x}, {dy})[0] - grad({b}, {x}, {dy})[0]));
}

}  // namespace

TEST_SUITE_BEGIN("group norm layers");

TEST_CASE("one group is LayerNorm without affine; for x [n, channels] also with it") {
  const Tensor x = normal({3, 4, 2, 5}).set_requires_grad();
  GroupNorm one = in_f64(GroupNorm({.num_groups = 1, .num_channels = 4, .affine = false}));
  LayerNorm layer = in_f64(LayerNorm({.normalized_shape = {4, 2, 5}, .elementwise_affine = false}));
  CHECK(difference(one(x), layer(x), x) < 1e-12);
  const Tensor rows = normal({3, 4}, 2).set_requires_grad();
  GroupNorm affine = in_f64(GroupNorm(1, 4));
  LayerNorm same = in_f64(LayerNorm(4));
  same.load_state_dict(affine.state_dict());
  CHECK(difference(affine(rows), same(rows), rows) < 1e-12);
}

TEST_CASE("a group for each channel is InstanceNorm") {
  const Tensor x = normal({3, 4, 5}).set_requires_grad();
  GroupNorm group = in_f64(GroupNorm(4, 4));
  InstanceNorm1d instance = in_f64(InstanceNorm1d({.num_features = 4, .affine = true}));
  instance.load_state_dict(group.state_dict());
  CHECK(difference(group(x), instance(x), x) < 1e-13);
}

TEST_CASE("train and eval are the same, bit by bit, where there is no running statistic") {
  const Tensor x = normal({3, 4, 5, 2});
  const auto check = [&](auto layer) {
    const auto trained = layer(x).template to_vector<double>();
    layer.eval();
    CHECK(layer(x).template to_vector<double>() == trained);
    CHECK(layer.named_buffers().empty());
  };
  check(in_f64(GroupNorm(2, 4)));
  check(in_f64(InstanceNorm2d({.num_features = 4, .affine = true})));
}

TEST_CASE(
    "R40 group norm: groups that do not divide the channels, and other options, throw at construction") {
  CHECK_THROWS_MESSAGE_HAS(GroupNorm(0, 6), "GroupNorm: num_groups must be > 0, got 0");
  CHECK_THROWS_MESSAGE_HAS(GroupNorm(-3, 6), "GroupNorm: num_groups must be > 0, got -3");
  CHECK_THROWS_MESSAGE_HAS(GroupNorm(4, 6), "GroupNorm: num_channels (6) is not divisible by num_groups (4)");
  CHECK_THROWS_MESSAGE_HAS(GroupNorm(1, 0), "GroupNorm: num_channels must be > 0, got 0");
  CHECK_THROWS_MESSAGE_HAS(GroupNorm({.num_groups = 2, .num_channels = 4, .eps = -1}),
                           "GroupNorm: eps must be finite and >= 0");
  CHECK_THROWS_MESSAGE_HAS(GroupNorm(2, 4)(zeros({2, 6, 3})), "axis 1 of x must have extent 4 (channels)");
  CHECK_THROWS_MESSAGE_HAS(InstanceNorm3d(0), "InstanceNorm3d: num_features must be > 0");
}

TEST_CASE("R41 instance norm of one spatial element throws in training, works by running statistics") {
  InstanceNorm1d plain(3);
  CHECK_THROWS_MESSAGE_HAS(plain(zeros({2, 3, 1})), "expected more than 1 spatial element");
  InstanceNorm1d tracking({.num_features = 3, .track_running_stats = true});
  CHECK_THROWS_MESSAGE_HAS(tracking(zeros({2, 3, 1})), "[2, 3, 1]");
  CHECK(tracking.num_batches_tracked.item() == 0);
  tracking.eval();
  CHECK(tracking(ones({2, 3, 1})).at({1, 2, 0}) == doctest::Approx(1 / std::sqrt(1 + 1e-5)));
}

TEST_CASE("R44 R45 instance norm tracks the averages over n of means and unbiased variances") {
  InstanceNorm1d layer({.num_features = 1, .momentum = 0.5, .track_running_stats = true});
  layer.to(f64);
  const Tensor x =
      tensor({1, 3, 2, 8}, f64).reshape({2, 1, 2});  // means 2 and 5, unbiased variances 2 and 18
  layer(x);
  CHECK(layer.running_mean.item() == doctest::Approx(0.5 * 3.5).epsilon(1e-12));
  CHECK(layer.running_var.item() == doctest::Approx(0.5 + 0.5 * 10).epsilon(1e-12));
  layer(x);
  CHECK(layer.running_mean.item() == doctest::Approx(0.75 * 3.5).epsilon(1e-12));
  CHECK(layer.num_batches_tracked.item() == 2);
  layer.eval();
  const Tensor expected = (x - 0.75 * 3.5) / std::sqrt(0.25 + 0.75 * 10 + 1e-5);
  CHECK(largest(layer(x) - expected) < 1e-12);
  CHECK(layer.num_batches_tracked.item() == 2);
  CHECK(InstanceNorm1d(2).named_buffers().empty());
}

TEST_CASE("R38 empty batches") {
  CHECK(GroupNorm(2, 4)(zeros({0, 4, 3})).shape() == Shape{0, 4, 3});
  InstanceNorm1d layer({.num_features = 4, .track_running_stats = true});
  CHECK(layer(zeros({0, 4, 3})).shape() == Shape{0, 4, 3});
  CHECK(layer.num_batches_tracked.item() == 0);
}

TEST_CASE("R15 every option changes the output") {
  const Tensor x = normal({2, 4, 3});
  const auto group = [&](const GroupNormOptions& options) {
    return in_f64(GroupNorm(options))(x).to_vector<double>();
  };
  const auto base = group({.num_groups = 2, .num_channels = 4});
  CHECK(base != group({.num_groups = 1, .num_channels = 4}));
  CHECK(base != group({.num_groups = 2, .num_channels = 4, .eps = 0.1}));
  CHECK(base != group({.num_groups = 2, .num_channels = 4, .affine = false}));
  CHECK(base != group({.num_groups = 2, .num_channels = 4, .weight = false}));
  CHECK(base != group({.num_groups = 2, .num_channels = 4, .bias = false}));
  const auto instance = [&](const InstanceNormOptions& options) {
    InstanceNorm1d layer = in_f64(InstanceNorm1d(options));
    layer(x);
    layer.eval();
    return layer(x).to_vector<double>();
  };
  const auto plain = instance({.num_features = 4});
  CHECK(plain != instance({.num_features = 4, .eps = 0.1}));
  CHECK(plain != instance({.num_features = 4, .affine = true}));
  const auto tracked = instance({.num_features = 4, .track_running_stats = true});
  CHECK(plain != tracked);
  CHECK(tracked != instance({.num_features = 4, .momentum = 0.9, .track_running_stats = true}));
}

TEST_CASE("printing") {
  CHECK(GroupNorm(2, 4).describe() == "2, 4, eps=1e-05, affine=true");
  CHECK(InstanceNorm1d(3).describe() ==
        "3, eps=1e-05, momentum=0.1, affine=false, track_running_stats=false");
}

TEST_SUITE_END();
