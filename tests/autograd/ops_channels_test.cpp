// Norms over channels as ops: identities, equivalences, masks, errors. Numbers in names are those of the
// robustness checklist.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/normalization.h"
#include "tests/messages.h"

using namespace norma;

namespace {

Tensor random(const Shape& shape, std::uint64_t seed, DType dtype = f64) {
  Generator generator(seed);
  return randn(shape, dtype, cpu, &generator);
}

double largest(const Tensor& x) { return x.abs().max().item(); }

void check_same(const Tensor& a, const Tensor& b, double tolerance) {
  REQUIRE(a.shape() == b.shape());
  CHECK(largest(a.detach() - b.detach()) <= tolerance * (1 + largest(b.detach())));
}

/// By kernels, then by definitions.
template <class Check>
void both_ways(Check check) {
  check();
  const DefinitionsOnly definitions;
  check();
}

}  // namespace

TEST_SUITE_BEGIN("channel norm ops");

TEST_CASE("R35 statistics of 2 and 3 values: biased variance and their number") {
  both_ways([] {
    const BatchStatistics two = batch_statistics(tensor({1, 3, 10, 10}, f64).reshape({1, 2, 2}));
    CHECK(two.mean.to_vector<double>() == std::vector<double>{2, 10});
    CHECK(two.var.to_vector<double>() == std::vector<double>{1, 0});
    CHECK(two.count == 2);
    const BatchStatistics three = batch_statistics(tensor({1, 2, 6}, f32).reshape({3, 1}));
    CHECK(three.mean.dtype() == f64);
    CHECK(three.mean.item() == doctest::Approx(3).epsilon(1e-14));
    CHECK(three.var.item() == doctest::Approx(14.0 / 3).epsilon(1e-14));
    CHECK(three.count == 3);
    CHECK_FALSE(batch_statistics(random({3, 2}, 1).set_requires_grad()).mean.requires_grad());
  });
}

TEST_CASE("golden numbers: one channel of 1, 2, 3, 4") {
  both_ways([] {
    const Tensor x = tensor({1, 2, 3, 4}, f64).reshape({2, 1, 2});
    const Tensor expected = tensor({-1.34163542, -0.447211807, 0.447211807, 1.34163542}, f64);
    check_same(batch_norm(x).flatten(), expected, 1e-8);
    check_same(group_norm(x.reshape({1, 2, 2}), 1).flatten(), expected, 1e-8);
    check_same(instance_norm(x.reshape({1, 1, 4})).flatten(), expected, 1e-8);
  });
}

TEST_CASE(
    "gradients of batch_norm: sum dx = 0, sum dx x_hat = weight / deviation * dweight * eps / (v + eps)") {
  for (const double eps : {1e-5, 0.1}) {
    const Tensor x = random({4, 3, 5}, 1).set_requires_grad(), weight = random({3}, 2).set_requires_grad();
    const BatchStatistics s = batch_statistics(x);
    const auto found = grad({batch_norm(x, weight, {}, eps)}, {x, weight}, {random({4, 3, 5}, 3)});
    const Tensor x_hat = batch_norm(x.detach(), {}, {}, eps);
    CHECK(largest(found[0].sum({0, 2})) < 1e-12);
    const Tensor share = (s.var + eps).reciprocal() * eps, deviation = (s.var + eps).sqrt();
    check_same((found[0] * x_hat).sum({0, 2}), weight.detach() / deviation * found[1] * share, 1e-12);
  }
}

TEST_CASE("gradients of group_norm: sum dx = 0 in every group") {
  const Tensor x = random({2, 6, 5}, 1).set_requires_grad();
  const Tensor dx = grad({group_norm(x, 3, random({6}, 2))}, {x}, {random({2, 6, 5}, 3)})[0];
  CHECK(largest(dx.reshape({2, 3, 10}).sum(-1)) < 1e-12);
}

TEST_CASE("what is normalized alone has a gradient of exactly 0") {
  for (const Device device : {cpu, reference}) {
    for (const DType dtype : {f32, f64}) {
      CAPTURE(device);
      CAPTURE(dtype);
      const auto of = [&](const Shape& shape, std::uint64_t seed) {
        return random(shape, seed).to(dtype).to(device);
      };
      const auto check_zero = [&](const char* name, const Shape& shape, auto norm) {
        CAPTURE(name);
        const Tensor x = of(shape, 1).set_requires_grad();
        const Tensor dx = grad({norm(x)}, {x}, {of(shape, 2)})[0];
        for (const double value : dx.to(f64).to(cpu).to_vector<double>()) CHECK(value == 0);
      };
      const Tensor weight = of({70}, 3), bias = of({70}, 4), one = of({1}, 5);
      check_zero("group_norm", {5, 70}, [&](const Tensor& x) { return group_norm(x, 70, weight, bias); });
      check_zero("group_norm", {5, 70}, [&](const Tensor& x) { return group_norm(x, 70); });
      check_zero("layer_norm", {300, 1}, [&](const Tensor& x) { return layer_norm(x, one, one); });
    }
  }
}

TEST_CASE("one group is layer_norm without affine, a group for each channel is instance_norm") {
  both_ways([] {
    const Tensor x = random({3, 4, 2, 5}, 1).set_requires_grad(), dy = random({3, 4, 2, 5}, 2);
    const auto same = [&](const Tensor& a, const Tensor& b) {
      check_same(a, b, 1e-12);
      check_same(grad({a}, {x}, {dy})[0], grad({b}, {x}, {dy})[0], 1e-12);
    };
    same(group_norm(x, 1), layer_norm(x.reshape({3, 40})).reshape({3, 4, 2, 5}));
    const Tensor weight = random({4}, 3), bias = random({4}, 4);
    same(group_norm(x, 4, weight, bias), instance_norm(x, weight, bias));
    const Tensor rows = random({3, 4}, 5);
    check_same(group_norm(rows, 1, weight, bias), layer_norm(rows, weight, bias), 1e-12);
  });
}

TEST_CASE("group_norm treats samples apart; batch_norm does not") {
  const Tensor x = random({3, 4, 5}, 1), changed = x.clone();
  changed[1].fill_(3);
  CHECK(group_norm(x, 2)[0].to_vector<double>() == group_norm(changed, 2)[0].to_vector<double>());
  CHECK(largest(batch_norm(x)[0] - batch_norm(changed)[0]) > 0.1);
}

TEST_CASE("invariances: scale and shift of a channel; a negative scale negates") {
  const Tensor x = random({6, 3, 4}, 1);
  for (const double scale : {3.0, -0.5}) {
    const double sign = scale > 0 ? 1 : -1;
    const Tensor moved = x * scale + 7;
    check_same(batch_norm(moved, {}, {}, 0), batch_norm(x, {}, {}, 0) * sign, 1e-12);
    check_same(group_norm(moved, 3, {}, {}, 0), group_norm(x, 3, {}, {}, 0) * sign, 1e-12);
  }
  // With eps the size changes by sqrt(scale^2 (v + eps) / (scale^2 v + eps)).
  const double scale = 2, eps = 0.1;
  const Tensor v = batch_statistics(x).var;
  const Tensor factor = ((v + eps) * (scale * scale) / (v * (scale * scale) + eps)).sqrt();
  check_same(batch_norm(x * scale, {}, {}, eps), batch_norm(x, {}, {}, eps) * factor.reshape({1, 3, 1}),
             1e-12);
}

TEST_CASE("two values a channel are +-1 / sqrt(1 + eps / v) whatever they are, with next to no gradient") {
  const Tensor x = tensor({5, -900}, f64).reshape({2, 1}).set_requires_grad();
  const Tensor y = batch_norm(x);
  CHECK(y.at({0, 0}) == doctest::Approx(1).epsilon(1e-8));
  CHECK(y.at({1, 0}) == doctest::Approx(-1).epsilon(1e-8));
  CHECK(largest(grad({y}, {x}, {random({2, 1}, 3)})[0]) < 1e-9);
}

TEST_CASE("the bias of a linear layer before batch_norm gets no gradient") {
  const Tensor x = random({8, 4}, 1), w = random({3, 4}, 2).set_requires_grad();
  const Tensor b = random({3}, 3).set_requires_grad();
  const Tensor y = batch_norm(linear(x, w, b), random({3}, 4), random({3}, 5));
  const auto found = grad({y}, {w, b}, {random({8, 3}, 6)});
  CHECK(largest(found[1]) < 1e-13);
  CHECK(largest(found[0]) > 0.01);
}

TEST_CASE("a mask: the result is that of the counted positions alone, whatever the others hold") {
  both_ways([] {
    // Sequences of 5, 2 and 3 of at most 5 positions.
    const Tensor mask = tensor(std::vector<bool>{1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0}, {3, 5});
    const Tensor x = random({3, 4, 5}, 1), weight = random({4}, 2), bias = random({4}, 3);
    const auto packed = [](const Tensor& t) {
      return cat({t[0].t(), t[1].narrow(1, 0, 2).t(), t[2].narrow(1, 0, 3).t()}, 0);  // [10, 4]
    };
    const Tensor rows = packed(x).detach().set_requires_grad(), dy = random({3, 4, 5}, 4);
    const Tensor expected = batch_norm(rows, weight, bias);
    const Tensor expected_gradient = grad({expected}, {rows}, {packed(dy)})[0];
    for (const double filling : {0.0, 1e6, std::nan("")}) {
      const Tensor filled =
          x.masked_fill(logical_not(mask).unsqueeze(1), filling).detach().set_requires_grad();
      const Tensor y = batch_norm(filled, weight, bias, 1e-5, mask);
      check_same(packed(y), expected, 1e-12);
      CHECK(y[1].narrow(1, 2, 3).abs().max().item() == 0);
      const Tensor dx = grad({y}, {filled}, {dy})[0];
      check_same(packed(dx), expected_gradient, 1e-12);
      CHECK(dx[1].narrow(1, 2, 3).abs().max().item() == 0);
      CHECK(batch_statistics(filled, mask).count == 10);
    }
  });
}

TEST_CASE("batch_norm_inference: gradients by constants; the constants may change before backward") {
  both_ways([] {
    const Tensor x = random({4, 2, 3}, 1).set_requires_grad(), weight = random({2}, 2).set_requires_grad();
    const Tensor mean = random({2}, 3), var = tensor({0.5, 2}, f64);
    const Tensor dy = random({4, 2, 3}, 4), deviation = (var + 1e-5).sqrt().reshape({1, 2, 1});
    const Tensor x_hat = (x.detach() - mean.reshape({1, 2, 1})) / deviation;
    const Tensor y = batch_norm_inference(x, mean, var, weight);
    mean.fill_(100);
    var.fill_(100);
    const auto found = grad({y}, {x, weight}, {dy});
    check_same(found[0], dy * weight.detach().reshape({1, 2, 1}) / deviation, 1e-12);
    check_same(found[1], (dy * x_hat).sum({0, 2}), 1e-12);
  });
}

TEST_CASE("R16 R17 R18 f32 channels of a large mean and small steps, against long double") {
  for (const float mean : {0.f, 100.f, 1000.f, 10000.f, 40000.f}) {
    std::vector<float> values;
    for (int i = 0; i < 16; ++i)
      values.push_back(mean + static_cast<float>(i) * (mean > 2e4f ? 1.f : 0.001f));
    long double centre = 0, squares = 0;
    for (const float v : values) centre += v / 16.0L;
    for (const float v : values) squares += (v - centre) * (v - centre) / 16.0L;
    std::vector<double> expected;
    for (const float v : values)
      expected.push_back(static_cast<double>((v - centre) / std::sqrt(squares + 1e-5L)));
    const Tensor x = tensor(values, {16}), want = tensor(expected, {16});
    for (const Tensor& y :
         {batch_norm(x.reshape({16, 1})), batch_norm(x.reshape({1, 1, 16})), batch_norm(x.reshape({2, 1, 8})),
          group_norm(x.reshape({1, 16}), 1), instance_norm(x.reshape({1, 1, 16}))}) {
      CHECK(largest(y.flatten().to(f64) - want) < 1e-5);
    }
  }
}

TEST_CASE("R27 eps 0 gives NaN in a channel without variance only; negative or NaN eps throws") {
  const Tensor x = tensor({1, 1, 1, 2}, f64).reshape({2, 2});
  const Tensor y = batch_norm(x.t(), {}, {}, 0), z = instance_norm(x.reshape({1, 2, 2}), {}, {}, 0);
  CHECK(y.select(1, 0).isnan().all().item() == 1);
  CHECK(y.select(1, 1).isfinite().all().item() == 1);
  CHECK(z[0][0].isnan().all().item() == 1);
  CHECK(z[0][1].isfinite().all().item() == 1);
  for (const double eps : {-1e-5, std::nan("")}) {
    CHECK_THROWS_MESSAGE_HAS(batch_norm(x, {}, {}, eps), "batch_norm: eps must be finite and >= 0");
    CHECK_THROWS_MESSAGE_HAS(group_norm(x, 1, {}, {}, eps), "group_norm: eps must be finite and >= 0");
  }
}

TEST_CASE("R36 R40 R41 R43 what does not fit throws, with the shapes") {
  const Tensor x = random({2, 6, 5}, 1);
  CHECK_THROWS_MESSAGE_HAS(batch_norm(random({1, 3}, 1)),
                           "more than 1 value per channel when training, got x of shape [1, 3]");
  CHECK_THROWS_MESSAGE_HAS(batch_norm(random({1, 3, 1, 1}, 1)), "got x of shape [1, 3, 1, 1]");
  const Tensor one = tensor(std::vector<bool>{0, 1, 0}, {3});
  CHECK_THROWS_MESSAGE_HAS(batch_norm(random({3, 2}, 1), {}, {}, 1e-5, one),
                           "of which the mask lets 1 count");
  CHECK_THROWS_MESSAGE_HAS(
      group_norm(x, 4),
      "group_norm: num_channels (6) is not divisible by num_groups (4); input shape [2, 6, 5]");
  CHECK_THROWS_MESSAGE_HAS(group_norm(x, 0), "group_norm: num_groups must be > 0, got 0");
  CHECK_THROWS_MESSAGE_HAS(group_norm(x, -2), "num_groups must be > 0, got -2");
  CHECK_THROWS_MESSAGE_HAS(instance_norm(random({2, 3, 1}, 1)),
                           "expected more than 1 spatial element, got x of shape [2, 3, 1]");
  CHECK_THROWS_MESSAGE_HAS(instance_norm(random({2, 3}, 1)), "more than 1 spatial element");
  CHECK_THROWS_MESSAGE_HAS(batch_norm(x, random({5}, 1)),
                           "batch_norm: weight must have shape [6] (channels of x [2, 6, 5]), got [5]");
  CHECK_THROWS_MESSAGE_HAS(group_norm(x, 2, {}, random({6}, 1, f32)), "group_norm: bias must be f64 on cpu");
  CHECK_THROWS_MESSAGE_HAS(batch_norm_inference(x, random({5}, 1), random({6}, 1)),
                           "batch_norm: mean must have shape [6] (channels of x [2, 6, 5])");
  CHECK_THROWS_MESSAGE_HAS(batch_norm_inference(x, random({6}, 1), random({6}, 1, f32)),
                           "batch_norm: var must be f64 on cpu, got f32 on cpu");
  CHECK_THROWS_MESSAGE_HAS(batch_norm_inference(x, {}, random({6}, 1)), "mean is an undefined tensor");
  CHECK_THROWS_MESSAGE_HAS(
      batch_norm(x, {}, {}, 1e-5, ones({2, 5})),
      "batch_norm: mask must be boolean [2, 5] on cpu (x [2, 6, 5] without channels), got f32");
  CHECK_THROWS_MESSAGE_HAS(batch_norm(x, {}, {}, 1e-5, ones({2, 4}) > 0), "mask must be boolean [2, 5]");
  CHECK_THROWS_MESSAGE_HAS(batch_norm(random({3}, 1)),
                           "batch_norm: x must be [n, channels, spatial..], got shape [3]");
  CHECK_THROWS_MESSAGE_HAS(group_norm(arange(0, 4).reshape({2, 2}), 1),
                           "x must have a floating dtype, got i64");
  CHECK_THROWS_MESSAGE_HAS(batch_norm(Tensor()), "batch_norm: x is an undefined tensor");
}

TEST_CASE("R38 R39 empty batches and empty spatial axes give empty results, and gradients without NaN") {
  for (const Shape& shape : {Shape{0, 3}, Shape{0, 3, 4}, Shape{2, 3, 0}, Shape{0, 3, 2, 2}}) {
    const Tensor x = empty(shape).set_requires_grad(), weight = ones({3}).set_requires_grad();
    const auto check = [&](const Tensor& y) {
      CHECK(y.shape() == shape);
      CHECK(grad({y.sum()}, {weight})[0].to_vector<float>() == std::vector<float>(3, 0));
    };
    check(batch_norm(x, weight));
    check(batch_norm_inference(x, zeros({3}), ones({3}), weight));
    check(group_norm(x, 1, weight));
    if (x.dim() > 2) check(instance_norm(x, weight));
    CHECK(batch_statistics(x).count == 0);
    CHECK(batch_statistics(x).var.to_vector<double>() == std::vector<double>(3, 0));
  }
}

TEST_CASE("all positions masked: zeros, and no gradient") {
  both_ways([] {
    const Tensor x = random({2, 3, 4}, 1).set_requires_grad(), weight = ones({3}, f64).set_requires_grad();
    const Tensor y = batch_norm(x, weight, {}, 1e-5, zeros({2, 4}, boolean));
    CHECK(largest(y) == 0);
    for (const Tensor& gradient : grad({y}, {x, weight}, {random({2, 3, 4}, 2)}))
      CHECK(largest(gradient) == 0);
  });
}

TEST_SUITE_END();
