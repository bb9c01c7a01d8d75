#include "nn/probe.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "nn/linear.h"
#include "tests/messages.h"

using namespace norma;
using namespace norma::nn;
using probe::Record;

TEST_SUITE_BEGIN("probe");

TEST_CASE("a probe measures an activation and its gradient") {
  const Tensor x = tensor({1, -2, 0, 3, 0, 2}, f64).reshape({2, 3}).set_requires_grad();
  const probe::Recorder recorder;
  const Tensor h = probe::note("h", x * 2);
  CHECK(std::isnan(recorder.records()[0].gradient_norm));
  const Tensor w = tensor({1, 2, 3, 4, 5, 6}, f64).reshape({2, 3});
  (h * w).sum().backward();
  REQUIRE(recorder.records().size() == 1);
  const Record& r = recorder.records()[0];  // of 2, -4, 0, 6, 0, 4
  CHECK(r.layer == "h");
  CHECK(r.mean == doctest::Approx(8.0 / 6));
  CHECK(r.std == doctest::Approx(std::sqrt(72.0 / 6 - 64.0 / 36)));
  CHECK(r.max == 6);
  CHECK(r.dead == 0);
  CHECK(r.saturated == 0);
  CHECK(r.gradient_norm == doctest::Approx(std::sqrt(91.0)));
  CHECK(x.grad().at({1, 2}) == 12);
}

TEST_CASE("a probe sees the whole gradient of an activation that is used twice, and of a leaf") {
  const Tensor x = tensor({1, 2}, f64).set_requires_grad();
  const probe::Recorder recorder;
  const Tensor noted = probe::note("leaf", x), h = probe::note("h", noted * 3);
  (h + h * h).sum().backward();  // dh = 1 + 2 h = 7, 13
  CHECK(recorder.records()[1].gradient_norm == doctest::Approx(std::sqrt(49.0 + 169)));
  CHECK(recorder.records()[0].gradient_norm == doctest::Approx(3 * std::sqrt(49.0 + 169)));
  CHECK(x.grad().at({1}) == 39);
}

TEST_CASE("dead units are 0 throughout; saturated values lie near a bound") {
  const probe::Recorder recorder;
  probe::note("features", tensor({0, 1, 0, 0, 2, 0}, f64).reshape({2, 3}));
  CHECK(recorder.records()[0].dead == doctest::Approx(2.0 / 3));
  // channels: [2, 3, 2], of which the second is 0 in both samples
  const Tensor x = tensor({0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, f64).reshape({2, 3, 2});
  probe::note("channels", x, {.unit_axis = 1});
  CHECK(recorder.records()[1].dead == doctest::Approx(1.0 / 3));
  probe::note("sigmoid", tensor({0.014, 0.016, 0.5, 0.984, 0.986}, f64),
              {.range = probe::range_of("sigmoid")});
  CHECK(recorder.records()[2].saturated == doctest::Approx(2.0 / 5));
  probe::note("tanh", tensor({-1, -0.98, -0.96, 0, 0.96, 0.98}, f64), {.range = probe::range_of("tanh")});
  CHECK(recorder.records()[3].saturated == doctest::Approx(3.0 / 6));
  CHECK_FALSE(probe::range_of("relu"));
}

TEST_CASE("names: scopes, and a layer that is called twice") {
  const Tensor x = ones({2});
  const probe::Recorder recorder;
  for (std::size_t i = 0; i < 2; ++i) {
    const probe::Scope block("blocks", i);
    const probe::Scope inner("attention");
    probe::note("scores", x);
  }
  probe::note("shared", x);
  probe::note("shared", x);
  std::vector<std::string> names;
  for (const Record& r : recorder.records()) names.push_back(r.layer);
  CHECK(names == std::vector<std::string>{"blocks.0.attention.scores", "blocks.1.attention.scores", "shared",
                                          "shared#2"});
}

TEST_CASE("without a recorder nothing is recorded, and the tensor is the same") {
  const Tensor x = ones({2}).set_requires_grad();
  {
    const probe::Scope scope("outside");
    CHECK(probe::note("x", x).is_same(x));
    CHECK(probe::note("x", Tensor()).defined() == false);
  }
  const Tensor y = x * 2;
  std::vector<Record> kept;
  {
    const probe::Recorder outer;
    {
      const probe::Recorder inner;
      probe::note("inner", y);
      CHECK(inner.records().size() == 1);
    }
    CHECK(outer.records().empty());
    CHECK(probe::note("outer", y).is_same(y));  // no new tensor, only a hook
    const NoGrad guard;
    CHECK(probe::note("no gradient", x).is_same(x));
    CHECK(outer.records().size() == 2);
  }
  CHECK(probe::note("x", x).is_same(x));
  y.sum().backward();  // a backward pass after the scope
  CHECK(x.grad().at({0}) == 2);
}

TEST_CASE("a probe of odd tensors: scalars, none, NaN, other dtypes") {
  const probe::Recorder recorder;
  probe::note("scalar", Tensor::scalar(0));
  probe::note("none", empty({0, 3}));
  probe::note("nan", tensor({1, std::nan(""), 2}));
  probe::note("huge", full({4}, 1e300, f64));
  const auto& records = recorder.records();
  CHECK((records[0].dead == 1 && records[0].std == 0));
  CHECK((records[1].mean == 0 && records[1].dead == 0));
  CHECK((std::isnan(records[2].mean) && std::isnan(records[2].max)));
  CHECK((records[3].max == 1e300 && records[3].std == 0));
  CHECK_THROWS_MESSAGE_HAS(probe::note("i", zeros({2}, i64)),
                           "probe::note: i needs a floating dtype, got i64");
  CHECK_THROWS_MESSAGE_HAS(probe::note("u", Tensor()), "probe::note: u is an undefined tensor");
  CHECK_THROWS_MESSAGE_HAS(probe::note("a", zeros({2}), {.unit_axis = 1}), "probe::note");
  CHECK(records.size() == 4);
}

TEST_CASE("probing changes neither values nor gradients") {
  manual_seed(4);
  Linear layer(3, 3);
  const Tensor x = randn({5, 3});
  const auto gradients = [&](bool probed) {
    std::optional<probe::Recorder> recorder;
    if (probed) recorder.emplace();
    layer.zero_grad();
    probe::note("out", probe::note("hidden", layer(x)).tanh()).square().sum().backward();
    return layer.weight.grad().to_vector<float>();
  };
  CHECK(gradients(false) == gradients(true));
}

TEST_SUITE_END();
