// BatchRenorm: golden numbers, limits and their schedule, and its two limiting cases.
#include "nn/norm/batch_renorm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/normalization.h"
#include "nn/any_layer.h"
#include "nn/norm/batch_norm.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

using Values = std::vector<double>;
constexpr double infinity = std::numeric_limits<double>::infinity();

RenormSchedule always(double r_max, double d_max) {
  return [=](std::int64_t) { return RenormLimits{r_max, d_max}; };
}

/// f64, with random parameters and running statistics.
BatchRenorm1d renorm(std::int64_t channels, RenormSchedule limits, double eps = 1e-5) {
  BatchRenorm1d layer({.num_features = channels, .eps = eps, .limits = std::move(limits)});
  layer.to(f64);
  randomize(layer, 6);
  layer.running_mean = normal({channels}, 7) * 0.5;
  layer.running_std = normal({channels}, 8).exp();
  return layer;
}

double largest(const Tensor& x) { return x.abs().max().item(); }

}  // namespace

TEST_SUITE_BEGIN("batch renorm layers");

TEST_CASE("golden numbers: running mean 1, deviation 0.5, batch 1, 2, 3, 4") {
  struct Golden {
    double r_max, d_max;
    Values x_hat;
  };
  const Golden table[] = {{1, 0, {-1.341635, -0.447212, 0.447212, 1.341635}},
                          {3, 5, {0, 2, 4, 6}},
                          {1.5, 0.5, {-1.512453, -0.170818, 1.170818, 2.512453}}};
  for (const auto& [r_max, d_max, expected] : table) {
    BatchRenorm1d layer({.num_features = 1, .limits = always(r_max, d_max)});
    layer.to(f64);
    layer.running_mean = tensor({1}, f64);
    layer.running_std = tensor({0.5}, f64);
    const Tensor y = layer(tensor({1, 2, 3, 4}, f64).reshape({4, 1}));
    for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(y.to_vector<double>()[i] - expected[i]) < 1e-6);
    const double deviation = std::sqrt(1.25 + 1e-5);
    CHECK(layer.running_mean.item() == doctest::Approx(1 + 0.01 * (2.5 - 1)).epsilon(1e-12));
    CHECK(layer.running_std.item() == doctest::Approx(0.5 + 0.01 * (deviation - 0.5)).epsilon(1e-12));
    CHECK(layer.num_batches_tracked.item() == 1);
  }
}

TEST_CASE("R48 with r_max 1 and d_max 0 it is batch norm, forward and gradients") {
  BatchRenorm1d layer = renorm(3, always(1, 0));
  const Tensor x = (normal({4, 3, 5}) * 3 + 1).detach().set_requires_grad(), dy = normal({4, 3, 5}, 2);
  const Tensor y = layer(x), expected = batch_norm(x, layer.weight, layer.bias);
  CHECK(largest(y - expected) < 1e-14);
  const std::vector<Tensor> inputs{x, layer.weight, layer.bias};
  const auto found = grad({y}, inputs, {dy}), wanted = grad({expected}, inputs, {dy});
  for (std::size_t i = 0; i < inputs.size(); ++i) CHECK(largest(found[i] - wanted[i]) < 1e-13);
}

TEST_CASE("R48 r and d are constants for the gradient: the closed form") {
  BatchRenorm1d layer = renorm(3, always(1.5, 0.5));
  const Tensor mean = layer.running_mean.clone(), deviation = layer.running_std.clone();
  const Tensor x = (normal({7, 3}) * 2 + 1).detach().set_requires_grad(), dy = normal({7, 3}, 2);
  const auto found = grad({layer(x)}, {x, layer.weight, layer.bias}, {dy});
  const NoGrad no_grad;
  const BatchStatistics batch = batch_statistics(x);
  const Tensor batch_deviation = (batch.var + 1e-5).sqrt();
  const Tensor r = (batch_deviation / deviation).clamp(1 / 1.5, 1.5);
  const Tensor d = ((batch.mean - mean) / deviation).clamp(-0.5, 0.5);
  const Tensor z = (x - batch.mean) / batch_deviation;
  const Tensor dx = (dy - dy.mean(0) - z * (dy * z).mean(0)) * (layer.weight * r / batch_deviation);
  CHECK(largest(found[0] - dx) < 1e-12);
  CHECK(largest(found[1] - (dy * (z * r + d)).sum(0)) < 1e-12);
  CHECK(largest(found[2] - dy.sum(0)) < 1e-12);
  CHECK(largest(found[0].sum(0)) < 1e-12);
}

TEST_CASE("without clipping, training equals inference by the statistics before the update") {
  for (const bool affine : {true, false}) {
    BatchRenorm1d layer = renorm(3, always(infinity, infinity));
    if (!affine) {
      BatchRenorm1d plain({.num_features = 3, .affine = false, .limits = always(infinity, infinity)});
      plain.to(f64);
      plain.running_mean = layer.running_mean;
      plain.running_std = layer.running_std;
      layer = BatchRenorm1d(plain);
    }
    BatchRenorm1d evaluated = layer;
    evaluated.eval();
    const Tensor x = normal({6, 3, 2}) * 2 + 5;
    CHECK(largest(layer(x) - evaluated(x)) < 1e-11);
    evaluated.running_mean = layer.running_mean;
    CHECK(largest(layer(x) - evaluated(x)) > 1e-3);
  }
}

TEST_CASE("R49 a running deviation of 0, and the first step, are finite") {
  for (const bool training : {true, false}) {
    BatchRenorm1d layer({.num_features = 2, .limits = always(3, 5)});
    layer.running_std = zeros({2});
    layer.running_mean = ones({2});
    layer.train(training);
    const Tensor x = ones({4, 2}).set_requires_grad();  // mean - running mean = 0 over 0
    const Tensor y = layer(x);
    CHECK(y.isfinite().all().item() == 1);
    CHECK(grad({y}, {x}, {normal({4, 2}).to(f32)})[0].isfinite().all().item() == 1);
    CHECK(layer.running_std.isfinite().all().item() == 1);
  }
  BatchRenorm2d fresh(2);
  CHECK(fresh(normal({2, 2, 3, 3}).to(f32)).isfinite().all().item() == 1);
}

TEST_CASE("the published schedule, and the same for a shorter run") {
  const RenormRamp published;
  struct Point {
    std::int64_t batches;
    double r_max, d_max;
  };
  for (const Point& at : {Point{0, 1, 0}, Point{5000, 1, 0}, Point{15000, 1 + 2.0 * 10 / 35, 2.5},
                          Point{25000, 1 + 2.0 * 20 / 35, 5}, Point{40000, 3, 5}, Point{1000000, 3, 5}}) {
    CAPTURE(at.batches);
    CHECK(published(at.batches).r_max == doctest::Approx(at.r_max).epsilon(1e-12));
    CHECK(published(at.batches).d_max == doctest::Approx(at.d_max).epsilon(1e-12));
  }
  const RenormRamp quick{.start = 2, .r_end = 4, .d_end = 2, .r_max = 2, .d_max = 1};
  CHECK(quick(2).d_max == 0);
  CHECK(quick(3).r_max == 1.5);
  CHECK(quick(3).d_max == 1);  // an end at the start is a step, no division by zero
}

TEST_CASE("the limits follow the batches seen; impossible ones throw and change nothing") {
  std::vector<std::int64_t> asked;
  BatchRenorm1d layer({.num_features = 1, .limits = [&](std::int64_t seen) {
                         asked.push_back(seen);
                         return seen < 2 ? RenormLimits{} : RenormLimits{0.5, 1};
                       }});
  const Tensor x = normal({4, 1}).to(f32);
  layer.eval();
  layer(x);
  CHECK(asked.empty());
  layer.train();
  layer(x);
  layer(x);
  CHECK(asked == std::vector<std::int64_t>{0, 1});
  const double mean = layer.running_mean.item();
  CHECK_THROWS_MESSAGE_HAS(layer(x),
                           "BatchRenorm1d: the limits must be r_max >= 1 and d_max >= 0, got r_max 0.5");
  CHECK(layer.running_mean.item() == mean);
  CHECK(layer.num_batches_tracked.item() == 2);
  CHECK_THROWS_MESSAGE_HAS(BatchRenorm1d({.num_features = 1, .limits = nullptr}),
                           "BatchRenorm1d: limits is empty");
  CHECK_THROWS_MESSAGE_HAS(BatchRenorm2d({.num_features = 0}), "BatchRenorm2d: num_features must be > 0");
}

TEST_CASE("R36 R38 one value per channel throws, an empty batch changes nothing") {
  BatchRenorm1d layer(3);
  CHECK_THROWS_MESSAGE_HAS(layer(zeros({1, 3})), "more than 1 value per channel");
  CHECK(layer(zeros({0, 3})).shape() == Shape{0, 3});
  CHECK(layer.num_batches_tracked.item() == 0);
  CHECK(layer.running_std.to_vector<float>() == std::vector<float>(3, 1));
}

TEST_CASE("R44 R47 the running statistics of three batches, under NoGrad too") {
  BatchRenorm1d layer({.num_features = 1, .momentum = 0.25});
  layer.to(f64);
  double mean = 0, deviation = 1;
  const NoGrad no_grad;
  for (const double far : {1.0, 5.0, -3.0}) {
    layer(tensor({0, 2 * far}, f64).reshape({2, 1}));
    mean += 0.25 * (far - mean);
    deviation += 0.25 * (std::sqrt(far * far + 1e-5) - deviation);
    CHECK(layer.running_mean.item() == doctest::Approx(mean).epsilon(1e-12));
    CHECK(layer.running_std.item() == doctest::Approx(deviation).epsilon(1e-12));
  }
}

TEST_CASE("after training, inference follows the population where batch norm's tiny batches do not") {
  // Pairs of equal sign: each batch alone looks centred elsewhere.
  BatchRenorm1d layer({.num_features = 1, .momentum = 0.05, .limits = always(infinity, infinity)});
  Generator generator(4);
  const NoGrad no_grad;
  for (int step = 0; step < 400; ++step) {
    const double centre = step % 2 == 0 ? 2 : -2;
    layer(randn({2, 1}, f32, cpu, &generator) * 0.5 + centre);
  }
  CHECK(std::abs(layer.running_mean.item()) < 0.3);
  const Tensor y = layer(tensor({2.2, 1.8}).reshape({2, 1}));
  CHECK(y.at({0, 0}) > 0.5);  // both stay on their side; batch norm would give +1 and -1
  CHECK(y.at({1, 0}) > 0.5);
}

TEST_CASE("a mask, and copies inside AnyLayer") {
  BatchRenorm1d layer = renorm(2, always(1.5, 0.5)), packed = layer;
  const Tensor x = normal({2, 2, 3}), mask = tensor(std::vector<bool>{1, 1, 1, 1, 0, 0}, {2, 3});
  const Tensor rows = cat({x[0].t(), x[1].narrow(1, 0, 1).t()});
  CHECK(largest(layer(x, mask)[0].t() - packed(rows).narrow(0, 0, 3)) < 1e-12);
  CHECK(largest(layer.running_std - packed.running_std) < 1e-14);
  AnyLayer held = layer;
  AnyLayer other = held;
  other(x);
  CHECK(held.get<BatchRenorm1d>()->num_batches_tracked.item() == 1);
  CHECK(other.get<BatchRenorm1d>()->num_batches_tracked.item() == 2);
}

TEST_SUITE_END();
