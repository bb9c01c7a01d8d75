// LayerNorm and RMSNorm: golden values, options, several trailing axes.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/normalization.h"
#include "nn/activation.h"
#include "nn/norm/ada_norm.h"
#include "nn/norm/dynamic_tanh.h"
#include "nn/norm/l2_norm.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/layer_scale.h"
#include "nn/norm/norm.h"
#include "nn/norm/qk_norm.h"
#include "nn/norm/rms_norm.h"
#include "nn/norm/scale_norm.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

template <class Layer>
std::vector<double> on(Layer layer, std::initializer_list<double> values) {
  layer.to(f64);
  return layer(tensor(values, f64)).template to_vector<double>();
}

void check_values(const std::vector<double>& values, const std::vector<double>& expected, double tolerance) {
  REQUIRE(values.size() == expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(values[i] - expected[i]) < tolerance);
  }
}

}  // namespace

TEST_SUITE_BEGIN("norm layers");

TEST_CASE("golden values of the defaults") {
  check_values(on(LayerNorm(4), {1, 2, 3, 4}), {-1.34163542, -0.447211807, 0.447211807, 1.34163542}, 1e-8);
  check_values(on(RMSNorm({.normalized_shape = {4}, .eps = 1e-5, .eps_mode = RmsEps::inside}), {1, 2, 3, 4}),
               {0.365148128, 0.730296256, 1.095444385, 1.460592513}, 1e-8);
  check_values(on(RMSNorm({.normalized_shape = {4}, .eps = 1e-5}), {1, 2, 3, 4}),
               {0.365147038, 0.730294077, 1.095441115, 1.460588153}, 1e-8);
}

TEST_CASE("where eps shows: outside and inside the root, 1e-5 and the default 1e-8") {
  const std::initializer_list<double> x{1e-4, -2e-4, 3e-4, -4e-4};
  check_values(on(RMSNorm({.normalized_shape = {4}, .eps = 1e-5, .eps_mode = RmsEps::inside}), x),
               {0.0315048, -0.0630097, 0.0945146, -0.1260194}, 1e-7);
  check_values(on(RMSNorm({.normalized_shape = {4}, .eps = 1e-5}), x),
               {0.3522848, -0.7045695, 1.0568543, -1.4091390}, 1e-7);
  check_values(on(RMSNorm(4), x), {0.3651350, -0.7302701, 1.0954051, -1.4605402}, 1e-7);
}

TEST_CASE("R26 eps = 0.5 is added to the variance") {
  const double scale = 1 / std::sqrt(1.25 + 0.5);
  check_values(on(LayerNorm({.normalized_shape = {4}, .eps = 0.5}), {1, 2, 3, 4}),
               {-1.5 * scale, -0.5 * scale, 0.5 * scale, 1.5 * scale}, 1e-12);
}

TEST_CASE("over two trailing axes: the statistics of the block, the weight element by element") {
  LayerNorm norm({.normalized_shape = {2, 3}});
  norm.to(f64);
  randomize(norm, 4);
  const Tensor x = normal({4, 2, 3});
  const Tensor flat = x.reshape({4, 6});
  const Tensor centred = flat - flat.mean(1, keepdim);
  const Tensor x_hat = (centred / (centred.square().mean(1, keepdim) + 1e-5).sqrt()).reshape({4, 2, 3});
  check_values(norm(x).to_vector<double>(), (x_hat * norm.weight + norm.bias).to_vector<double>(), 1e-12);
  CHECK(norm(x).shape() == x.shape());
  check_values(norm(x.select(0, 1)).to_vector<double>(), norm(x).select(0, 1).to_vector<double>(), 1e-12);
}

TEST_CASE("RMSNorm of zeros is zero, with finite gradients (R20)") {
  for (const RmsEps mode : {RmsEps::outside, RmsEps::inside}) {
    RMSNorm norm({.normalized_shape = {4}, .eps_mode = mode});
    const Tensor x = zeros({2, 4}).set_requires_grad();
    const Tensor y = norm(x);
    CHECK(y.abs().max().item() == 0);
    const auto gradients = grad({y}, {x, norm.weight}, {normal({2, 4}).to(f32)});
    for (const Tensor& gradient : gradients) CHECK(gradient.isfinite().all().item() == 1);
  }
}

TEST_CASE("an empty batch gives an empty result (R39)") {
  CHECK(LayerNorm(3)(zeros({0, 3})).shape() == Shape{0, 3});
  CHECK(RMSNorm(3)(zeros({2, 0, 3})).shape() == Shape{2, 0, 3});
}

TEST_CASE("R42 R43 options and inputs that do not fit") {
  for (const double p : {0.0, -0.5, 1.5, std::nan("")}) {
    CHECK_THROWS_MESSAGE_HAS(RMSNorm({.normalized_shape = {4}, .partial = p}),
                             "RMSNorm: partial must be in (0, 1], got");
  }
  CHECK_THROWS_MESSAGE_HAS(L2Norm(-1), "L2Norm: eps must be finite and >= 0, got -1");
  CHECK_THROWS_MESSAGE_HAS(ScaleNorm(0),
                           "ScaleNorm: normalized_shape must have at least one extent, all > 0");
  CHECK_THROWS_MESSAGE_HAS(ScaleNorm(4, std::nan("")), "ScaleNorm: eps must be finite and >= 0");
  CHECK_THROWS_MESSAGE_HAS(DynamicTanh({.normalized_shape = {4}, .alpha = std::nan("")}),
                           "DynamicTanh: alpha must be finite");
  CHECK_THROWS_MESSAGE_HAS(DynamicTanh(0), "DynamicTanh: normalized_shape must have");
  CHECK_THROWS_MESSAGE_HAS(AdaNorm({.normalized_shape = {4}, .k = INFINITY}),
                           "AdaNorm: scale and k must be finite");
  CHECK_THROWS_MESSAGE_HAS(AdaNorm({.normalized_shape = {4}, .eps = -1}), "AdaNorm: eps must be finite");
  CHECK_THROWS_MESSAGE_HAS(LayerScale(0), "LayerScale: width must be > 0, got 0");
  CHECK_THROWS_MESSAGE_HAS(LayerScale(3, INFINITY), "LayerScale: init must be finite");
  CHECK_THROWS_MESSAGE_HAS(LayerNorm(4)(normal({2, 4})), "layer_norm: weight must be f64 on cpu, got f32");
}

TEST_CASE("descriptions name what differs from the default") {
  CHECK(LayerNorm(4).describe() == "[4], eps=1e-05");
  CHECK(LayerNorm({.normalized_shape = {4}, .weight = false, .detach_std = true}).describe() ==
        "[4], eps=1e-05, no weight, deviation detached");
  CHECK(RMSNorm({.normalized_shape = {40}, .partial = 0.0625}).describe() ==
        "[40], eps=1e-08 outside, over 3");
  CHECK(QKNorm().describe() == "eps=1e-12");
}

TEST_CASE("norms by name") {
  const Tensor x = normal({2, 32}).to(f32);
  const auto same = [&](AnyLayer a, AnyLayer b) {
    return a(x).to_vector<float>() == b(x).to_vector<float>();
  };
  const auto rms = [](double eps, RmsEps mode, double partial = 1) {
    return RMSNorm({.normalized_shape = {32}, .eps = eps, .eps_mode = mode, .partial = partial});
  };
  CHECK(same(make_norm("layer", 32), LayerNorm(32)));
  CHECK(same(make_norm("layer", 32, 0.1), LayerNorm({.normalized_shape = {32}, .eps = 0.1})));
  CHECK(make_norm("layer_simple", 32).parameters().empty());
  CHECK(same(make_norm("layer_simple", 32, 0.1), LayerNorm({.normalized_shape = {32}, .eps = 0.1})));
  CHECK(same(make_norm("rms", 32), RMSNorm(32)));
  CHECK(same(make_norm("rms", 32, 0.1), rms(0.1, RmsEps::outside)));
  CHECK(same(make_norm("rms_inside", 32), rms(1e-5, RmsEps::inside)));
  CHECK(same(make_norm("rms_inside", 32, 0.1), rms(0.1, RmsEps::inside)));
  CHECK(same(make_norm("prms", 32), rms(1e-8, RmsEps::outside, 0.0625)));
  CHECK(same(make_norm("l2", 32), L2Norm()));
  CHECK(same(make_norm("l2", 32, 100), L2Norm(100)));
  CHECK(same(make_norm("scale", 32), ScaleNorm(32)));
  CHECK(same(make_norm("scale", 32, 100), ScaleNorm(32, 100)));
  CHECK(same(make_norm("dyt", 32), DynamicTanh(32)));
  CHECK(same(make_norm("none", 32), Identity()));
  CHECK_FALSE(same(make_norm("layer", 32, 0.1), make_norm("layer", 32)));
}

TEST_CASE("an unknown name lists all names of the table") {
  std::string known;
  for (const NormInfo& info : norm_methods()) known += (known.empty() ? "" : ", ") + std::string(info.name);
  CHECK_THROWS_MESSAGE_HAS(make_norm("lay", 3), "make_norm: unknown norm \"lay\"; known are " + known);
  CHECK_THROWS_MESSAGE_HAS(is_per_token("lay"), "is_per_token: unknown norm \"lay\"; known are " + known);
}

TEST_SUITE_END();
