// Norms and statistics: golden numbers, extremes, and what must stay finite. Numbers in names are those of
// the robustness checklist.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/gradcheck.h"
#include "autograd/normalization.h"
#include "tests/messages.h"

using namespace norma;

namespace {

using Values = std::vector<double>;
constexpr double infinity = std::numeric_limits<double>::infinity();

void check_close(const Tensor& x, const Values& expected, double tolerance) {
  const Values values = x.to(f64).to_vector<double>();
  REQUIRE(values.size() == expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    CAPTURE(i);
    CAPTURE(values[i]);
    CAPTURE(expected[i]);
    CHECK(std::abs(values[i] - expected[i]) <= tolerance);
  }
}

/// Two passes in long double over f32 values.
Values layer_norm_reference(const std::vector<float>& x, double eps) {
  long double mean = 0, squares = 0;
  for (const float value : x) mean += value;
  mean /= static_cast<long double>(x.size());
  for (const float value : x) squares += (value - mean) * (value - mean);
  const long double rstd = 1 / std::sqrt(squares / static_cast<long double>(x.size()) + eps);
  Values y;
  for (const float value : x) y.push_back(static_cast<double>((value - mean) * rstd));
  return y;
}

Tensor first_gradient(const Tensor& y, const Tensor& x) {
  Values one(static_cast<std::size_t>(y.numel()), 0);
  one[0] = 1;
  return grad({y}, {x}, {tensor(one, y.shape())})[0];
}

}  // namespace

TEST_SUITE_BEGIN("norm ops");

TEST_CASE("golden numbers of layer_norm and rms_norm") {
  const Tensor x = tensor({1, 2, 3, 4}, f64).set_requires_grad();
  const auto all = [&](auto&& check) {
    check();
    const DefinitionsOnly definitions;
    check();
  };
  all([&] {
    const Tensor layer = layer_norm(x);
    check_close(layer, {-1.34163542, -0.447211807, 0.447211807, 1.34163542}, 5e-9);
    check_close(first_gradient(layer, x), {0.268330304, -0.357768372, -0.089443435, 0.178881503}, 5e-10);
    const Tensor inside = rms_norm(x, {}, 1e-5, RmsEps::inside);
    check_close(inside, {0.365148128, 0.730296256, 1.095444385, 1.460592513}, 5e-10);
    check_close(first_gradient(inside, x), {0.35297654, -0.024343176, -0.036514764, -0.048686352}, 5e-9);
    const Tensor outside = rms_norm(x, {}, 1e-5, RmsEps::outside);
    check_close(outside, {0.365147038, 0.730294077, 1.095441115, 1.460588153}, 5e-10);
    check_close(first_gradient(outside, x), {0.352975515, -0.024343047, -0.036514571, -0.048686094}, 5e-10);
    check_close(l2_norm(x), {0.182574186, 0.365148372, 0.547722558, 0.730296743}, 5e-10);
  });
}

TEST_CASE("golden numbers where the two places of eps differ") {
  const Tensor x = tensor({1e-4, -2e-4, 3e-4, -4e-4}, f64);
  check_close(rms_norm(x, {}, 1e-5, RmsEps::inside), {0.0315048, -0.0630097, 0.0945146, -0.1260194}, 1e-7);
  check_close(rms_norm(x, {}, 1e-5), {0.3522848, -0.7045695, 1.0568543, -1.4091390}, 1e-7);
  check_close(rms_norm(x), {0.3651350, -0.7302701, 1.0954051, -1.4605402}, 1e-7);
}

TEST_CASE("R16 layer_norm of consecutive numbers at 40000") {
  const Tensor x = tensor({40000, 40001, 40002, 40003}, f32);
  check_close(layer_norm(x), {-1.34164, -0.44721, 0.44721, 1.34164}, 1e-5);
}

TEST_CASE("R17 layer_norm of small steps on a large mean") {
  for (const float mean : {0.f, 100.f, 1000.f, 10000.f}) {
    CAPTURE(mean);
    std::vector<float> values;
    for (int i = 0; i < 16; ++i) values.push_back(mean + static_cast<float>(i) * 0.001f);
    check_close(layer_norm(tensor(values, {16})), layer_norm_reference(values, 1e-5), 1e-5);
  }
}

TEST_CASE("R18 the variance of normalized rows at mean 100 and deviation 0.01") {
  Generator generator(3);
  const Tensor x = randn({64, 4096}, f32, cpu, &generator) * 0.01 + 100;
  const Tensor v = x.to(f64).var(-1, false);
  const Tensor y = layer_norm(x).to(f64).var(-1, false);
  CHECK((y - v / (v + 1e-5)).abs().max().item() < 1e-3);
}

TEST_CASE("R19 constant rows give the bias and a finite gradient") {
  for (const double value : {0.0, 0.1, 100.0, 1e7}) {
    CAPTURE(value);
    const Tensor x = full({3, 1000}, value, f32).set_requires_grad();
    const Tensor bias = full({1000}, 0.25, f32);
    const Tensor y = layer_norm(x, ones({1000}), bias, 1e-12);
    CHECK((y - 0.25).abs().max().item() < 1e-4);
    y.backward(randn({3, 1000}));
    CHECK(x.grad().isfinite().all().item() == 1);
  }
}

TEST_CASE("R20 rms_norm of zeros") {
  const Tensor weight = tensor({2, -3}, f64);
  const Tensor dy = tensor({0.5, 0.25}, f64);
  for (const RmsEps mode : {RmsEps::inside, RmsEps::outside}) {
    const auto check = [&] {
      const Tensor x = zeros({2}, f64).set_requires_grad();
      const Tensor y = rms_norm(x, weight, 1e-4, mode);
      CHECK(y.to_vector<double>() == Values{0, 0});
      y.backward(dy);
      const double slope = mode == RmsEps::inside ? 1e2 : 1e4;
      check_close(x.grad(), {slope, -0.75 * slope}, 1e-6);
    };
    check();
    const DefinitionsOnly definitions;
    check();
  }
}

TEST_CASE("R21 R22 very large and very small values") {
  const Tensor large = tensor({1e30, -1e30, 1e30, -1e30}, f32);
  check_close(layer_norm(large), {1, -1, 1, -1}, 1e-5);
  check_close(rms_norm(large), {1, -1, 1, -1}, 1e-5);
  const Tensor small = tensor({1e-30, -1e-30, 1e-40, 0}, f32);
  CHECK(layer_norm(small).isfinite().all().item() == 1);
  CHECK(rms_norm(small).isfinite().all().item() == 1);
  check_close(rms_norm(small, {}, 1e-5, RmsEps::inside), {0, 0, 0, 0}, 1e-20);
}

TEST_CASE("R23 a NaN or infinite value stays in its row") {
  Generator generator(1);
  const Tensor clean = randn({4, 8}, f32, cpu, &generator);
  for (const double value : {std::nan(""), infinity}) {
    const Tensor dirty = clean.clone();
    dirty[1].narrow(0, 2, 1).fill_(value);
    for (const int which : {0, 1, 2}) {
      const auto op = [&](const Tensor& x) {
        return which == 0 ? layer_norm(x) : which == 1 ? rms_norm(x) : l2_norm(x);
      };
      const Tensor expected = op(clean), y = op(dirty);
      for (const int row : {0, 2, 3}) CHECK(y[row].to_vector<float>() == expected[row].to_vector<float>());
      CHECK(y[1].isfinite().all().item() == 0);
    }
  }
}

TEST_CASE("R26 eps is added to the variance as it is") {
  const Tensor x = tensor({1, 2, 3, 4}, f64);
  CHECK(layer_norm(x, {}, {}, 0.5).at({3}) == doctest::Approx(1.5 / std::sqrt(1.75)).epsilon(1e-12));
  CHECK(rms_norm(x, {}, 0.5).at({3}) == doctest::Approx(4 / (std::sqrt(7.5) + 0.5)).epsilon(1e-12));
  CHECK(rms_norm(x, {}, 0.5, RmsEps::inside).at({3}) == doctest::Approx(4 / std::sqrt(8.0)).epsilon(1e-12));
}

TEST_CASE("R27 eps 0 gives NaN in a row without variance only; negative or NaN eps throws") {
  const Tensor x = Tensor(Array::from(Values{1, 1, 1, 2}, {2, 2}));
  const Tensor y = layer_norm(x, {}, {}, 0);
  CHECK(y[0].isnan().all().item() == 1);
  check_close(y[1], {-1, 1}, 1e-12);
  for (const double eps : {-1e-5, std::nan(""), infinity}) {
    CHECK_THROWS_MESSAGE_HAS(layer_norm(x, {}, {}, eps), "layer_norm: eps must be finite and >= 0");
    CHECK_THROWS_MESSAGE_HAS(rms_norm(x, {}, eps), "rms_norm: eps must be finite and >= 0");
  }
}

TEST_CASE("R31 the gradient of a norm at zero is zero") {
  const Tensor x = zeros({2, 3}, f64).set_requires_grad();
  x.norm(-1).sum().backward();
  CHECK(x.grad().to_vector<double>() == Values(6, 0));
  const Tensor constant = ones({3}, f64).set_requires_grad();
  constant.std().backward();
  CHECK(constant.grad().to_vector<double>() == Values(3, 0));
}

TEST_CASE("R31 l2_norm of zeros: zeros, the gradient dy / eps, and finite second derivatives") {
  const auto check = [] {
    for (const DType dtype : {f32, f64}) {
      const Tensor x = zeros({2, 3}, dtype).set_requires_grad(), weight = tensor({-2}, dtype);
      const Tensor dy = tensor({1, 2, 3}, dtype).expand({2, 3});
      const Tensor y = l2_norm(x, weight);
      CHECK(y.abs().max().item() == 0);
      const Tensor dx = grad({y}, {x}, {dy}, {.create_graph = true})[0];
      CHECK(dx.at({1, 2}) == doctest::Approx(-6e12).epsilon(1e-6));
      CHECK(grad({dx.square().mean().sqrt()}, {x}, {}, {.allow_unused = true})[0].isfinite().all().item() ==
            1);
    }
  };
  check();
  const DefinitionsOnly definitions;
  check();
}

TEST_CASE("an added residual: the sum, its norm, and gradients through either or both") {
  Generator generator(2);
  const Tensor a = randn({4, 6}, f64, cpu, &generator).set_requires_grad();
  const Tensor b = randn({4, 6}, f64, cpu, &generator).set_requires_grad();
  const Tensor weight = randn({6}, f64, cpu, &generator), d_sum = randn({4, 6}, f64, cpu, &generator);
  const Tensor d_norm = randn({4, 6}, f64, cpu, &generator);
  const auto both = add_layer_norm(a, b, weight);
  const Tensor sum = both.first, y = both.second;
  CHECK(sum.to_vector<double>() == (a + b).to_vector<double>());
  CHECK(y.to_vector<double>() == layer_norm(a + b, weight).to_vector<double>());
  const Tensor total = a + b;
  const auto want = grad({total, layer_norm(total, weight)}, {a, b}, {d_sum, d_norm}, {.retain_graph = true});
  const auto got = grad({sum, y}, {a, b}, {d_sum, d_norm}, {.retain_graph = true});
  for (std::size_t i = 0; i < 2; ++i) check_close(got[i], want[i].to_vector<double>(), 1e-14);
  check_close(grad({sum}, {a}, {d_sum}, {.retain_graph = true})[0], d_sum.to_vector<double>(), 0);
  // The sum is an ordinary tensor: changed in place, it cannot serve the norm's gradient.
  const NoGrad no_grad;
  sum.mul_(2);
  CHECK_THROWS_MESSAGE_HAS(grad({y}, {a}, {d_norm}), "changed in place");
}

TEST_CASE("var over any axes, by kernels and by definitions: values, first and second derivatives") {
  Generator generator(7);
  const Tensor spread = randn({3, 4, 2, 5}, f64, cpu, &generator), far = spread + 1e4;
  for (const Tensor& values : {spread, far, spread.transpose(0, 3)}) {
    for (const Axes& axes :
         std::initializer_list<Axes>{{}, {0}, {-1}, {1}, {0, 1}, {0, 3}, {2, 3}, {1, 3}, {0, 1, 2}}) {
      for (const bool unbiased : {false, true}) {
        const auto derivatives = [&] {
          const Tensor x = values.detach().set_requires_grad();
          const Tensor y = x.var(axes, unbiased);
          const Tensor dx = grad({y.square().sum()}, {x}, {}, {.create_graph = true})[0];
          return std::array{y.detach(), dx.detach(), grad({dx.square().sum()}, {x})[0]};
        };
        const auto found = derivatives();
        const DefinitionsOnly definitions;
        const auto wanted = derivatives();
        for (std::size_t i = 0; i < 3; ++i) {
          // A mean of 1e4 is rounded by 1e-12.
          const double largest = wanted[i].abs().max().item();
          check_close(found[i], wanted[i].to_vector<double>(), 1e-11 * std::max(1.0, largest));
        }
      }
    }
  }
}

TEST_CASE("R18 var and its gradient in f32 at a mean of 1e4") {
  Generator generator(8);
  const Tensor x = (randn({50, 300}, f32, cpu, &generator) * 0.1 + 1e4).detach().set_requires_grad();
  const Tensor exact = x.detach().to(f64).set_requires_grad();
  for (const Axes& axes : std::initializer_list<Axes>{{}, {0}, {1}}) {
    const Tensor y = x.var(axes), want = exact.var(axes);
    check_close(y, want.to_vector<double>(), 1e-6);
    const Tensor dx = grad({want.sum()}, {exact})[0];
    check_close(grad({y.sum()}, {x})[0], dx.to_vector<double>(), 1e-6 * dx.abs().max().item());
  }
}

TEST_CASE("R35 biased and unbiased variance of 2 and 3 values") {
  const Tensor two = tensor({1, 3}, f64), three = tensor({1, 2, 6}, f64), four = tensor({1, 2, 3, 4}, f64);
  CHECK(two.var().item() == 2);
  CHECK(two.var({}, false).item() == 1);
  CHECK(three.var().item() == doctest::Approx(7).epsilon(1e-14));
  CHECK(three.var({}, false).item() == doctest::Approx(14.0 / 3).epsilon(1e-14));
  CHECK(four.var({}, false).item() == 1.25);
  CHECK(four.var().item() == doctest::Approx(1.666666667).epsilon(1e-9));
  CHECK(three.std().item() == doctest::Approx(std::sqrt(7)).epsilon(1e-14));
  CHECK(std::isnan(tensor({5}, f64).var().item()));
  CHECK(std::isnan(empty({0}, f64).mean().item()));
}

TEST_CASE("the variance of f32 values survives a large mean") {
  std::vector<float> values;
  for (int i = 0; i < 16; ++i) values.push_back(10000.f + static_cast<float>(i) * 0.001f);
  double mean = 0, expected = 0;
  for (const float value : values) mean += value / 16.0;
  for (const float value : values) expected += (value - mean) * (value - mean) / 16.0;
  CHECK(tensor(values, {16}).var({}, false).item() == doctest::Approx(expected).epsilon(1e-5));
}

TEST_CASE("R39 an empty last axis gives an empty result and gradients without NaN") {
  const Tensor x = empty({3, 0}).set_requires_grad(), weight = empty({0}).set_requires_grad();
  const Tensor y = layer_norm(x, weight) + rms_norm(x, weight);
  CHECK(y.shape() == Shape{3, 0});
  y.sum().backward();
  CHECK(weight.grad().shape() == Shape{0});
  CHECK(l2_norm(x).shape() == Shape{3, 0});
  CHECK(add_layer_norm(x, x).second.shape() == Shape{3, 0});
  const Tensor no_rows = empty({0, 4}).set_requires_grad(), gain = ones({4}).set_requires_grad();
  layer_norm(no_rows, gain).sum().backward();
  CHECK(gain.grad().to_vector<float>() == std::vector<float>(4, 0));
}

TEST_CASE("R42 R43 shapes and dtypes that do not fit") {
  const Tensor x = randn({4, 8});
  CHECK_THROWS_MESSAGE_HAS(layer_norm(x, ones({7})),
                           "layer_norm: weight must have shape [8] (last axis of x [4, 8]), got [7]");
  CHECK_THROWS_MESSAGE_HAS(layer_norm(x, {}, ones({1})), "layer_norm: bias must have shape [8]");
  CHECK_THROWS_MESSAGE_HAS(layer_norm(x, ones({8}, f64)),
                           "layer_norm: weight must be f32 on cpu, got f64 on cpu");
  CHECK_THROWS_MESSAGE_HAS(rms_norm(x, ones({8, 1})), "rms_norm: weight must have shape [8]");
  CHECK_THROWS_MESSAGE_HAS(rms_norm(arange(0, 4)), "rms_norm: x must have a floating dtype, got i64");
  CHECK_THROWS_MESSAGE_HAS(layer_norm(Tensor::scalar(1)), "layer_norm: x must have at least one axis");
  CHECK_THROWS_MESSAGE_HAS(layer_norm(Tensor()), "layer_norm: x is an undefined tensor");
  for (const std::int64_t counted : {-1, 9}) {
    CHECK_THROWS_MESSAGE_HAS(rms_norm(x, {}, 1e-8, RmsEps::outside, counted),
                             "rms_norm: counted must lie in [1, 8] (last extent of x [4, 8])");
  }
  CHECK_THROWS_MESSAGE_HAS(l2_norm(Tensor::scalar(1)), "l2_norm: x must have at least one axis");
  CHECK_THROWS_MESSAGE_HAS(l2_norm(x, ones({8})),
                           "l2_norm: weight must be one element, of shape [] or [1], got [8]");
  CHECK_THROWS_MESSAGE_HAS(l2_norm(x, ones({1}, f64)), "l2_norm: weight must be f32 on cpu, got f64 on cpu");
  CHECK_THROWS_MESSAGE_HAS(l2_norm(x, {}, -1), "l2_norm: eps must be finite and >= 0");
  CHECK_THROWS_MESSAGE_HAS(add_layer_norm(x, ones({8})),
                           "add_layer_norm: residual must have the shape of x, [4, 8], got [8]");
  CHECK_THROWS_MESSAGE_HAS(add_layer_norm(x, x, ones({7})), "add_layer_norm: weight must have shape [8]");
  CHECK_THROWS_MESSAGE_HAS(add_rms_norm(x, ones({4, 8}, f64)), "add_rms_norm: residual must be f32 on cpu");
  CHECK_THROWS_MESSAGE_HAS(add_rms_norm(x, Tensor()), "add_rms_norm: residual is an undefined tensor");
}

TEST_SUITE_END();
