#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/linear.h"
#include "nn/norm/layer_norm.h"
#include "nn/optim/optimizer.h"
#include "tests/messages.h"

using namespace norma;

namespace {

Tensor leaf(double value, DType dtype = f64) {
  Tensor x = full({2}, value, dtype);
  x.set_requires_grad();
  return x;
}

// The parameter's values after three steps that start at 1, with the gradients and rates of the tables.
template <class Optimizer>
std::vector<double> three_steps(Optimizer& optimizer, const Tensor& parameter, std::vector<double> rates) {
  const double gradients[] = {0.5, 0.25, -0.5};
  std::vector<double> values;
  for (std::size_t i = 0; i < 3; ++i) {
    parameter.set_grad(full({2}, gradients[i], parameter.dtype()));
    optimizer.set_lr(rates[i]);
    optimizer.step();
    values.push_back(parameter.at({0}));
    CHECK(parameter.at({1}) == parameter.at({0}));
  }
  return values;
}

void check_sgd(nn::SGDOptions options, const std::vector<double>& expected) {
  for (const DType dtype : {f64, f32}) {  // all numbers of the tables are dyadic: both are exact
    const Tensor parameter = leaf(1, dtype);
    nn::SGD optimizer({parameter}, options);
    CHECK(three_steps(optimizer, parameter, {0.5, 0.25, 0.125}) == expected);
  }
}

template <class Optimizer, class Settings>
void check_adam(Settings settings, const std::vector<double>& expected) {
  for (const bool definition : {false, true}) {
    for (const DType dtype : {f64, f32}) {
      CAPTURE(definition);
      CAPTURE(dtype);
      std::optional<DefinitionsOnly> only;
      if (definition) only.emplace();
      const Tensor parameter = leaf(1, dtype);
      Optimizer optimizer({parameter}, settings);
      const auto values = three_steps(optimizer, parameter, {0.1, 0.05, 0.2});
      for (std::size_t i = 0; i < 3; ++i) {
        CHECK(std::abs(values[i] - expected[i]) <= (dtype == f64 ? 1e-14 : 1e-6));
      }
    }
  }
}

}  // namespace

TEST_SUITE_BEGIN("optim");

// Tables: the formulas of the header worked by hand in fractions (SGD) and with 60 digits (Adam).
TEST_CASE("R130 SGD, three steps with a changing rate") {
  check_sgd({}, {0.75, 0.6875, 0.75});
  check_sgd({.momentum = 0.5}, {0.75, 0.625, 0.65625});
  check_sgd({.momentum = 0.5, .dampening = 0.25}, {0.75, 0.640625, 0.66015625});
  check_sgd({.momentum = 0.5, .nesterov = true}, {0.625, 0.5, 0.578125});
  check_sgd({.weight_decay = 0.25}, {0.625, 0.5234375, 0.569580078125});
  check_sgd({.momentum = 0.5, .weight_decay = 0.25}, {0.625, 0.4296875, 0.429931640625});
  check_sgd({.momentum = 0.5, .weight_decay = 0.25, .nesterov = true},
            {0.4375, 0.255859375, 0.314666748046875});
}

TEST_CASE("R130 Adam and AdamW, three steps with a changing rate") {
  const std::pair betas(0.9, 0.99);
  const std::vector<double> plain{0.90019960079840319361, 0.85364515313359990082, 0.83153971201052225417};
  check_adam<nn::Adam>(nn::AdamSettings{.betas = betas, .eps = 1e-3}, plain);
  check_adam<nn::AdamW>(nn::AdamWSettings{.betas = betas, .eps = 1e-3, .weight_decay = 0}, plain);
  check_adam<nn::Adam>(nn::AdamSettings{.betas = betas, .eps = 1e-3, .weight_decay = 0.25},
                       {0.90013315579227696404, 0.85194831906728957520, 0.74937399766433972493});
  check_adam<nn::AdamW>(nn::AdamWSettings{.betas = betas, .eps = 1e-3, .weight_decay = 0.25},
                        {0.87519960079840319361, 0.81770515812361986090, 0.75471445909436122120});
}

TEST_CASE("defaults are those of torch.optim") {
  const Tensor x = leaf(1);
  CHECK(nn::SGD({x}).lr() == 1e-3);
  CHECK(nn::AdamW({x}).lr() == 1e-3);
  CHECK(*nn::AdamW({x}).groups()[0].weight_decay == 1e-2);
  CHECK(*nn::Adam({x}).groups()[0].weight_decay == 0);
}

TEST_CASE("Adam works on strided parameters, gradients and matrices as on contiguous ones") {
  Generator generator(1);
  const Tensor base = randn({5, 7}, f64, cpu, &generator), gradient = randn({7, 5}, f64, cpu, &generator);
  Tensor strided = base.clone().t();
  Tensor plain = strided.clone();
  strided.set_requires_grad();
  plain.set_requires_grad();
  nn::AdamW first({strided}), second({plain});
  for (int step = 0; step < 3; ++step) {
    strided.set_grad(gradient.t().clone().t());
    plain.set_grad(gradient);
    first.step();
    second.step();
  }
  CHECK((strided - plain).abs().max().item() < 1e-14);
  CHECK((strided - base.t()).abs().max().item() > 1e-4);
}

TEST_CASE("R72 a step between forward and backward is noticed") {
  for (const bool adam : {false, true}) {
    const Tensor weight = leaf(2);
    weight.set_grad(full({2}, 1, f64));
    std::unique_ptr<nn::Optimizer> optimizer;
    if (adam) {
      optimizer = std::make_unique<nn::AdamW>(std::vector<Tensor>{weight});
    } else {
      optimizer = std::make_unique<nn::SGD>(std::vector<Tensor>{weight});
    }
    const Tensor loss = weight.square().sum();
    optimizer->step();
    CHECK_THROWS_AS(loss.backward(), Error);
    weight.square().sum().backward();  // the next one is fine
  }
}

TEST_CASE("R129 parameters without gradient, frozen, empty or absent are skipped") {
  const Tensor without = leaf(1), trained = leaf(1), none = zeros({0, 3}, f64);
  Tensor frozen = leaf(1);
  frozen.set_grad(ones({2}, f64));
  frozen.set_requires_grad(false);
  trained.set_grad(ones({2}, f64));
  none.set_grad(zeros({0, 3}, f64));
  for (const Tensor& x : {none}) Tensor(x).set_requires_grad();
  nn::AdamW optimizer({without, frozen, trained, none});
  optimizer.step();
  CHECK(without.at({0}) == 1);
  CHECK(frozen.at({0}) == 1);
  CHECK(trained.at({0}) < 1);
  CHECK(optimizer.state().numbers.size() == 4);  // lr, weight_decay, and two steps: trained and the empty one

  nn::SGD nothing(std::vector<Tensor>{});
  nothing.step();
  nothing.zero_grad();
}

TEST_CASE("R133 a parameter that the next graph misses is left alone") {
  const Tensor a = leaf(1), b = leaf(1);
  nn::SGD optimizer({a, b}, {.lr = 0.1, .momentum = 0.9});
  (a * b).sum().backward();
  optimizer.step();
  const double before = b.at({0});
  optimizer.zero_grad();
  CHECK(!b.grad().defined());
  a.square().sum().backward();
  optimizer.step();
  CHECK(b.at({0}) == before);
  CHECK(a.at({0}) < 0.9);
}

TEST_CASE("settings differ between groups and may change") {
  const Tensor a = leaf(1), b = leaf(1), c = leaf(1);
  nn::SGD optimizer(std::vector<nn::ParamGroup>{{{a}, {}, {}}, {{b}, 0.5, {}}}, {.lr = 0.25});
  optimizer.add_group({{c}, 0.125, 1.0});
  for (const Tensor& x : {a, b, c}) x.set_grad(ones({2}, f64));
  optimizer.step();
  CHECK(a.at({0}) == 0.75);
  CHECK(b.at({0}) == 0.5);
  CHECK(c.at({0}) == 0.75);
  optimizer.groups()[1].lr = 0;
  optimizer.step();
  CHECK(b.at({0}) == 0.5);
}

TEST_CASE("wrong settings and parameters are named") {
  const Tensor x = leaf(1);
  CHECK_THROWS_MESSAGE_HAS(nn::SGD({x}, {.lr = -1}), "lr must be finite and >= 0, got -1");
  CHECK_THROWS_MESSAGE_HAS(nn::SGD({x}, {.weight_decay = NAN}), "weight_decay");
  CHECK_THROWS_MESSAGE_HAS(nn::SGD({x}, {.nesterov = true}), "nesterov needs momentum > 0");
  CHECK_THROWS_MESSAGE_HAS(nn::Adam({x}, {.betas = {0.9, 1.0}}), "betas must lie in [0, 1)");
  CHECK_THROWS_MESSAGE_HAS(nn::Adam({x}, {.eps = -1e-8}), "eps");
  CHECK_THROWS_MESSAGE_HAS(nn::SGD({x, x}), "same tensor");
  CHECK_THROWS_MESSAGE_HAS(nn::SGD({Tensor()}), "undefined");
  CHECK_THROWS_MESSAGE_HAS(nn::SGD({x * 2}), "only leaves");
  nn::SGD optimizer({x});
  CHECK_THROWS_MESSAGE_HAS(optimizer.add_group({{x}, {}, {}}), "in another group already");
  CHECK_THROWS_MESSAGE_HAS(optimizer.set_lr(INFINITY), "lr must be finite");
  CHECK(optimizer.lr() == 1e-3);
}

TEST_CASE("the state moves to another optimizer, which goes on with the same steps") {
  const Tensor a = leaf(1), b = leaf(1);
  nn::AdamW first({a}, {.lr = 0.1});
  a.set_grad(full({2}, 0.5, f64));
  first.step();
  const auto state = first.state();
  REQUIRE(state.tensors.size() == 2);
  CHECK(state.type == "AdamW");
  CHECK(state.tensors[0].first == "state.0.exp_avg");
  CHECK(state.tensors[1].first == "state.0.exp_avg_sq");

  {
    const NoGrad guard;
    b.copy_(a);
  }
  nn::AdamW second({b}, {.lr = 7});
  second.load_state(state);
  CHECK(second.lr() == 0.1);
  b.set_grad(full({2}, -0.25, f64));
  a.set_grad(full({2}, -0.25, f64));
  first.step();  // must not touch what `second` has taken
  second.step();
  CHECK(a.to_vector<double>() == b.to_vector<double>());
}

TEST_CASE("a state that does not fit throws and changes nothing") {
  const Tensor x = leaf(1), y = zeros({3}, f64);
  nn::AdamW optimizer({x});
  x.set_grad(ones({2}, f64));
  optimizer.step();
  const auto good = optimizer.state();
  const auto rejects = [&](nn::OptimizerState state, const char* text) {
    CHECK_THROWS_MESSAGE_HAS(optimizer.load_state(state), text);
    CHECK(optimizer.state().numbers == good.numbers);
    CHECK(optimizer.state().tensors[0].second.is_same(good.tensors[0].second));
  };
  auto state = good;
  state.type = "SGD";
  rejects(state, "saved by SGD");
  state = good;
  state.tensors[0].second = y;
  rejects(state, "must have the parameter's shape [2], got [3]");
  state = good;
  state.tensors[0].first = "state.1.exp_avg";
  rejects(state, "no parameter has the state");
  state = good;
  state.tensors[0].first = "state.0.momentum_buffer";
  rejects(state, "no parameter has the state");
  state = good;
  state.numbers[0].first = "param_groups.1.lr";
  rejects(state, "there are 1 groups");
  state = good;
  state.numbers.erase(state.numbers.begin());
  rejects(state, "other groups");
  state = good;
  state.numbers.pop_back();
  rejects(state, "state.0.step");
  state = good;
  state.numbers.back().second = 1.5;
  rejects(state, "count");
}

TEST_CASE("moments follow a model that changes its dtype") {
  nn::Parameter weight(full({2}, 1, f32));
  nn::AdamW optimizer(std::vector<Tensor>{weight});
  weight.set_grad(ones({2}, f32));
  optimizer.step();
  struct Holder : nn::Module {
    explicit Holder(nn::Parameter w) : weight(std::move(w)) {}
    NORMA_PARTS(weight)
    nn::Parameter weight;
  } holder(std::move(weight));
  holder.to(f64);
  holder.weight.set_grad(ones({2}, f64));
  optimizer.step();
  CHECK(optimizer.state().tensors[0].second.dtype() == f64);
  CHECK(optimizer.state().numbers.back().second == 2);
}

namespace {

struct Block : nn::Module {
  Block() : linear(3, 4), norm({.normalized_shape = {2, 3}}) {
    temperature = nn::Parameter(ones({4, 1, 1}));
    position = nn::Parameter(ones({5, 3}));
  }
  NORMA_PARTS(linear, norm, narrow, temperature, position)
  nn::Linear linear;
  nn::LayerNorm norm;
  nn::Linear narrow{3, 1};
  nn::Parameter temperature, position;
};

}  // namespace

TEST_CASE("decay_groups: weights that mix features decay, biases, norm gains and temperatures do not") {
  Block block;
  const auto groups = nn::decay_groups(block, 0.25);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].weight_decay == 0.25);
  CHECK(groups[1].weight_decay == 0.0);
  const auto holds = [](const nn::ParamGroup& group, const Tensor& x) {
    for (const Tensor& y : group.parameters) {
      if (x.is_same(y)) return true;
    }
    return false;
  };
  CHECK(groups[0].parameters.size() + groups[1].parameters.size() == block.parameters().size());
  for (const Tensor& x : {Tensor(block.linear.weight), Tensor(block.narrow.weight), Tensor(block.position)}) {
    CHECK(holds(groups[0], x));
  }
  for (const Tensor& x : {Tensor(block.linear.bias), Tensor(block.norm.weight), Tensor(block.norm.bias),
                          Tensor(block.narrow.bias), Tensor(block.temperature)}) {
    CHECK(holds(groups[1], x));
  }
}

TEST_CASE("R132 accumulated micro-batches give the gradient of the whole batch") {
  Generator generator(3);
  nn::Linear layer(6, 2);
  const Tensor x = randn({8, 6}, f32, cpu, &generator), y = randn({8, 2}, f32, cpu, &generator);
  mse_loss(layer(x), y).backward();
  const Tensor whole = layer.weight.grad();
  layer.zero_grad();
  for (std::int64_t i = 0; i < 4; ++i) {
    const Slice rows{2 * i, 2 * i + 2};
    (mse_loss(layer(x.slice(0, rows)), y.slice(0, rows)) / 4).backward();
  }
  CHECK((layer.weight.grad() - whole).abs().max().item() < 1e-6);
  CHECK(whole.abs().max().item() > 0.01);
}

TEST_SUITE_END();
