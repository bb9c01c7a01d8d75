// BatchNorm: running statistics, modes, masks, and what it does to causality.
#include "nn/norm/batch_norm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/any_layer.h"
#include "nn/linear.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

using Values = std::vector<double>;

Tensor column(const Values& values) { return tensor(values, {static_cast<std::int64_t>(values.size()), 1}); }

template <class Layer>
Layer in_f64(Layer layer) {
  layer.to(f64);
  return layer;
}

BatchNorm1d one_channel(std::optional<double> momentum = 0.1) {
  return in_f64(BatchNorm1d({.num_features = 1, .momentum = momentum}));
}

void check_state(BatchNorm& layer, double mean, double var, std::int64_t batches) {
  CHECK(layer.running_mean.item() == doctest::Approx(mean).epsilon(1e-12));
  CHECK(layer.running_var.item() == doctest::Approx(var).epsilon(1e-12));
  CHECK(layer.num_batches_tracked.item() == static_cast<double>(batches));
}

Values all_of(StateDict state) {
  Values values;
  for (const auto& [name, tensor] : state) {
    for (const double value : tensor.to(f64).to_vector<double>()) values.push_back(value);
  }
  return values;
}

double largest(const Tensor& x) { return x.abs().max().item(); }

}  // namespace

TEST_SUITE_BEGIN("batch norm layers");

TEST_CASE("golden numbers: running statistics after one batch of 1, 2, 3, 4") {
  BatchNorm1d layer = one_channel();
  check_state(layer, 0, 1, 0);
  layer(column({1, 2, 3, 4}));
  CHECK(layer.running_mean.item() == doctest::Approx(0.25).epsilon(1e-9));
  CHECK(layer.running_var.item() == doctest::Approx(1.066666667).epsilon(1e-9));
  CHECK(layer.num_batches_tracked.item() == 1);
  CHECK(layer.num_batches_tracked.dtype() == i64);
}

TEST_CASE("R35 the running variance is unbiased: exact for 2 and 3 values") {
  BatchNorm1d two = one_channel(1), three = one_channel(1);
  const Tensor y = two(column({1, 3}));
  check_state(two, 2, 2, 1);
  CHECK(y.at({1, 0}) == doctest::Approx(1 / std::sqrt(1 + 1e-5)).epsilon(1e-12));  // by the biased one
  three(column({1, 2, 6}));
  check_state(three, 3, 7, 1);
}

TEST_CASE("R36 batch norm, one value per channel: throws, and nothing has changed") {
  BatchNorm1d flat(3);
  BatchNorm2d image(3);
  const Values before = all_of(flat.state_dict());
  CHECK_THROWS_MESSAGE_HAS(flat(zeros({1, 3})), "more than 1 value per channel");
  CHECK_THROWS_MESSAGE_HAS(flat(zeros({1, 3})), "[1, 3]");
  CHECK_THROWS_MESSAGE_HAS(image(zeros({1, 3, 1, 1})), "[1, 3, 1, 1]");
  CHECK(all_of(flat.state_dict()) == before);
  CHECK(image(normal({1, 3, 2, 2}).to(f32)).shape() == Shape{1, 3, 2, 2});
}

TEST_CASE("R37 batch norm of one value per channel works in eval mode") {
  BatchNorm1d layer = one_channel();
  layer.running_mean = tensor({2}, f64);
  layer.running_var = tensor({9}, f64);
  layer.eval();
  CHECK(layer(column({8})).item() == doctest::Approx(6 / std::sqrt(9 + 1e-5)).epsilon(1e-12));
}

TEST_CASE("R38 an empty batch gives an empty result and changes no state") {
  BatchNorm2d layer(3);
  const Values before = all_of(layer.state_dict());
  for (const bool training : {true, false}) {
    layer.train(training);
    CHECK(layer(zeros({0, 3, 4, 5})).shape() == Shape{0, 3, 4, 5});
    CHECK(layer(zeros({2, 3, 0, 5})).shape() == Shape{2, 3, 0, 5});
  }
  layer.train();
  layer(normal({2, 3, 4, 5}).to(f32), zeros({2, 4, 5}, boolean));  // nothing counts
  CHECK(all_of(layer.state_dict()) == before);
}

TEST_CASE("R39 R27 R40 constructors name what is wrong") {
  CHECK_THROWS_MESSAGE_HAS(BatchNorm1d(0), "BatchNorm1d: num_features must be > 0, got 0");
  CHECK_THROWS_MESSAGE_HAS(BatchNorm2d({.num_features = 3, .eps = -1e-5}),
                           "BatchNorm2d: eps must be finite and >= 0, got -1e-05");
  CHECK_THROWS_MESSAGE_HAS(BatchNorm3d({.num_features = 3, .eps = std::nan("")}),
                           "BatchNorm3d: eps must be finite");
  CHECK_THROWS_MESSAGE_HAS(BatchNorm1d({.num_features = 3, .momentum = 1.5}),
                           "BatchNorm1d: momentum, the share of the new value, must be in [0, 1]");
}

TEST_CASE("R43 parameters and running statistics that do not fit x throw") {
  BatchNorm1d layer(3);
  CHECK_THROWS_MESSAGE_HAS(layer(normal({4, 3})), "batch_norm: weight must be f64 on cpu, got f32 on cpu");
  BatchNorm1d plain({.num_features = 3, .affine = false});
  plain.eval();
  CHECK_THROWS_MESSAGE_HAS(plain(normal({4, 3})), "batch_norm: mean must be f64 on cpu, got f32 on cpu");
  CHECK_THROWS_MESSAGE_HAS(layer.running_mean = zeros({4}), "must have shape [3], got [4]");
}

TEST_CASE("R44 momentum is the share of the new value; absent, all batches count alike") {
  const std::vector<Values> batches{{1, 3}, {2, 6}, {-4, 8}};
  BatchNorm1d moving = one_channel(0.1), cumulative = one_channel(std::nullopt);
  double mean = 0, var = 1, mean_sum = 0, var_sum = 0;
  for (std::size_t step = 0; step < batches.size(); ++step) {
    const double a = batches[step][0], b = batches[step][1];
    const double batch_mean = (a + b) / 2, batch_var = (a - b) * (a - b) / 2;  // unbiased
    mean = 0.9 * mean + 0.1 * batch_mean;
    var = 0.9 * var + 0.1 * batch_var;
    mean_sum += batch_mean;
    var_sum += batch_var;
    const auto seen = static_cast<std::int64_t>(step) + 1;
    moving(column(batches[step]));
    check_state(moving, mean, var, seen);
    cumulative(column(batches[step]));
    check_state(cumulative, mean_sum / static_cast<double>(seen), var_sum / static_cast<double>(seen), seen);
  }
  check_state(cumulative, (2 + 4 + 2) / 3.0, (2 + 8 + 72) / 3.0, 3);
}

TEST_CASE("R45 without running statistics: batch statistics in eval too, no buffers") {
  BatchNorm1d layer = in_f64(BatchNorm1d({.num_features = 3, .track_running_stats = false}));
  CHECK(layer.named_buffers().empty());
  const Tensor x = normal({5, 3}), trained = layer(x);
  layer.eval();
  CHECK(layer(x).to_vector<double>() == trained.to_vector<double>());
  CHECK(largest(trained.mean(0)) < 1e-12);
}

TEST_CASE("R46 modes reach batch norms inside; each call updates once") {
  Sequential net(Linear(3, 3), BatchNorm1d(3), AnyLayer(BatchNorm1d(3)));
  BatchNorm1d* const inner = net[2].get<BatchNorm1d>();
  REQUIRE(inner != nullptr);
  const Tensor x = normal({6, 3}).to(f32);
  net.eval();
  net.eval();
  CHECK_FALSE(inner->is_training());
  net(x);
  CHECK(inner->num_batches_tracked.item() == 0);
  net.train();
  CHECK(inner->is_training());
  net(x);
  net(x);
  CHECK(inner->num_batches_tracked.item() == 2);
  CHECK(net[1].get<BatchNorm1d>()->num_batches_tracked.item() == 2);
}

TEST_CASE("R47 under NoGrad a training forward still updates the running statistics") {
  BatchNorm1d a = one_channel(), b = one_channel();
  const Tensor x = column({1, 4, 7});
  {
    const NoGrad no_grad;
    CHECK_FALSE(a(x).requires_grad());
  }
  CHECK(b(x).requires_grad());
  CHECK(all_of(a.state_dict()) == all_of(b.state_dict()));
  CHECK(a.num_batches_tracked.item() == 1);
  CHECK_FALSE(b.running_mean.requires_grad());
}

TEST_CASE("eval mode changes no state, and treats samples apart") {
  BatchNorm2d layer(3);
  randomize(layer, 3);
  const Tensor x = normal({4, 3, 2, 2}).to(f32);
  for (int step = 0; step < 3; ++step) layer(x);
  layer.eval();
  const Values before = all_of(layer.state_dict());
  const Tensor y = layer(x);
  CHECK(all_of(layer.state_dict()) == before);
  CHECK(layer(x.narrow(0, 2, 1)).to_vector<float>() == y.narrow(0, 2, 1).to_vector<float>());
  layer.train();
  CHECK(largest(layer(x) - y) > 0.01);
}

TEST_CASE("a state dictionary carries running statistics over; copies go their own way") {
  BatchNorm1d source(3), target(3);
  randomize(source, 5);
  for (std::uint64_t step = 0; step < 3; ++step) source(normal({4, 3}, step).to(f32) + 2);
  target.load_state_dict(source.state_dict());
  CHECK(target.num_batches_tracked.item() == 3);
  BatchNorm1d copy = source;
  AnyLayer held = source;
  source(normal({4, 3}).to(f32) * 100);
  for (BatchNorm1d* layer : {&target, &copy, held.get<BatchNorm1d>()}) {
    CHECK(layer->num_batches_tracked.item() == 3);
    CHECK(largest(layer->running_var) < 10);
    layer->eval();
  }
  const Tensor x = normal({2, 3}, 9).to(f32);
  CHECK(target(x).to_vector<float>() == copy(x).to_vector<float>());
  CHECK(target(x).to_vector<float>() == held(x).to_vector<float>());
}

TEST_CASE("two forwards before one backward: the statistics in between change nothing in the graph") {
  BatchNorm1d layer = in_f64(BatchNorm1d(3)), same = layer;
  const Tensor x = normal({4, 3}).set_requires_grad();
  const Tensor dy = normal({4, 3}, 2);
  const Tensor expected = grad({same(x)}, {x}, {dy})[0];
  const Tensor first = layer(x);
  layer(x * 5);
  layer.eval();
  const Tensor evaluated = layer(x);
  layer.train();
  layer(x * 7);
  CHECK(grad({first}, {x}, {dy})[0].to_vector<double>() == expected.to_vector<double>());
  CHECK(largest(grad({evaluated}, {x}, {dy})[0]) > 0);
}

TEST_CASE("a mask: padding has no influence on y, gradients and running statistics") {
  const Tensor mask = tensor(std::vector<bool>{1, 1, 1, 1, 0, 0}, {2, 3});
  BatchNorm1d padded = in_f64(BatchNorm1d(2)), packed = padded, other = padded;
  const Tensor x = normal({2, 2, 3});
  const Tensor rows = cat({x[0].t(), x[1].narrow(1, 0, 1).t()});  // the four positions that count
  const Tensor y = padded(x, mask), expected = packed(rows);
  CHECK(largest(y[0].t() - expected.narrow(0, 0, 3)) < 1e-12);
  CHECK(largest(y[1].narrow(1, 0, 1).t() - expected.narrow(0, 3, 1)) < 1e-12);
  CHECK(largest(y[1].narrow(1, 1, 2)) == 0);
  CHECK(largest(padded.running_mean - packed.running_mean) < 1e-14);
  CHECK(largest(padded.running_var - packed.running_var) < 1e-14);
  const Tensor filled = x.masked_fill(logical_not(mask).unsqueeze(1), std::nan(""));
  CHECK(other(filled, mask).to_vector<double>() == y.to_vector<double>());
  CHECK(all_of(other.state_dict()) == all_of(padded.state_dict()));
  padded.eval();
  CHECK(largest(padded(filled, mask)[1].narrow(1, 1, 2)) == 0);
  CHECK(padded(rows, tensor(std::vector<bool>{1, 0, 1, 1}, {4})).at({1, 0}) ==
        0);  // x [n, channels]: mask [n]
}

TEST_CASE("batch norm over (n, channels, length) is not causal in training; in eval mode it is") {
  BatchNorm1d layer = in_f64(BatchNorm1d(4));
  const Tensor x = normal({2, 4, 6}), changed = x.clone();
  changed.narrow(2, 5, 1).add_(1.5);  // the last position
  const auto past = [&](const Tensor& input) { return layer(input).narrow(2, 0, 5); };
  CHECK(largest(past(x) - past(changed)) > 0.01);
  const Tensor leaf = x.clone().set_requires_grad();
  const Tensor dx = grad({layer(leaf).narrow(2, 0, 5)}, {leaf}, {normal({2, 4, 5}, 2)})[0];
  CHECK(largest(dx.narrow(2, 5, 1)) > 1e-3);
  layer.eval();
  CHECK(largest(past(x) - past(changed)) == 0);
}

TEST_CASE("the layer's weight matrix may be scaled: same output, gradient divided by the scale") {
  const Tensor u = normal({8, 4}), w = normal({3, 4}, 2).set_requires_grad(), dy = normal({8, 3}, 3);
  const Tensor larger = (w * 4).detach().set_requires_grad();
  BatchNorm1d layer = in_f64(BatchNorm1d({.num_features = 3, .eps = 0}));
  const Tensor y = layer(linear(u, w)), z = layer(linear(u, larger));
  CHECK(largest(y - z) < 1e-12);
  CHECK(largest(grad({y}, {w}, {dy})[0] - grad({z}, {larger}, {dy})[0] * 4) < 1e-12);
}

TEST_CASE("R15 every option changes the output or the state") {
  const Tensor x = normal({6, 3}) * 2 + 1;
  const auto state_after = [&](const BatchNormOptions& options) {
    BatchNorm1d layer = in_f64(BatchNorm1d(options));
    randomize(layer, 4);
    Values values = layer(x).to_vector<double>();
    for (const double value : all_of(layer.named_buffers())) values.push_back(value);
    return values;
  };
  const Values base = state_after({.num_features = 3});
  CHECK(base == state_after({.num_features = 3}));
  CHECK(base != state_after({.num_features = 3, .eps = 0.1}));
  CHECK(base != state_after({.num_features = 3, .momentum = 0.2}));
  CHECK(base != state_after({.num_features = 3, .momentum = std::nullopt}));
  CHECK(base != state_after({.num_features = 3, .affine = false}));
  CHECK(base != state_after({.num_features = 3, .weight = false}));
  CHECK(base != state_after({.num_features = 3, .bias = false}));
  CHECK(base != state_after({.num_features = 3, .track_running_stats = false}));
}

TEST_CASE("printing") {
  CHECK(BatchNorm2d(3).describe() == "3, eps=1e-05, momentum=0.1, affine=true, track_running_stats=true");
  CHECK(BatchNorm1d({.num_features = 3, .momentum = std::nullopt}).describe().find("momentum=none") !=
        std::string::npos);
}

TEST_SUITE_END();
