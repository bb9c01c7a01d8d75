// Modules: identity of parameters, names, loading, modes, printing.
#include <doctest/doctest.h>

#include <limits>
#include <memory>
#include <optional>

#include "autograd/ops.h"
#include "nn/activation.h"
#include "nn/any_layer.h"
#include "nn/dropout.h"
#include "nn/linear.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/norm.h"
#include "tests/messages.h"

using namespace norma;
using namespace norma::nn;

namespace {

std::vector<std::string> names_of(const StateDict& state) {
  std::vector<std::string> names;
  for (const auto& [name, value] : state) names.push_back(name);
  return names;
}

std::vector<double> values_of(const Tensor& x) { return x.detach().to(f64).to_vector<double>(); }

class Mlp : public Module {
 public:
  Mlp(std::int64_t in, std::int64_t hidden, std::int64_t out) : up(in, hidden), down(hidden, out) {}
  Tensor operator()(const Tensor& x) { return down(relu(up(x))); }
  NORMA_PARTS(up, down)
  Linear up, down;
};

// One part of every kind.
class Everything : public Module {
 public:
  Everything() : scale(ones({2})), steps(full({}, 3, i64)), layer(Linear(2, 1)) {
    blocks.emplace_back(1, 1, 1);
    blocks.emplace_back(1, 1, 1);
    owned = std::make_unique<Linear>(1, 2, false);
    gains.emplace_back(ones({1}));
  }
  NORMA_PARTS(scale, absent, steps, layer, blocks, maybe, owned, gains, nothing)
  Parameter scale, absent;
  Buffer steps;
  AnyLayer layer;
  std::vector<Mlp> blocks;
  std::optional<LayerNorm> maybe;
  std::unique_ptr<Linear> owned;
  std::vector<Parameter> gains;
  AnyLayer nothing;
};

const std::vector<std::string> everything_keys{"scale",
                                               "steps",
                                               "layer.weight",
                                               "layer.bias",
                                               "blocks.0.up.weight",
                                               "blocks.0.up.bias",
                                               "blocks.0.down.weight",
                                               "blocks.0.down.bias",
                                               "blocks.1.up.weight",
                                               "blocks.1.up.bias",
                                               "blocks.1.down.weight",
                                               "blocks.1.down.bias",
                                               "owned.weight",
                                               "gains.0"};

}  // namespace

TEST_SUITE_BEGIN("modules");

TEST_CASE("copying a parameter copies values, not identity and not the gradient") {
  Parameter a(tensor({1, 2}));
  a.set_grad(tensor({5, 6}));
  Parameter b = a;
  CHECK(values_of(b) == std::vector<double>{1, 2});
  CHECK(b.requires_grad());
  CHECK_FALSE(b.grad().defined());
  CHECK_FALSE(b.is_same(a));
  CHECK_FALSE(b.array().shares_storage(a.array()));
  a.set_requires_grad(false);
  CHECK_FALSE(Parameter(static_cast<const Parameter&>(a)).requires_grad());
}

TEST_CASE("a parameter takes values over, not memory or history") {
  const Tensor x = tensor({1, 2}).set_requires_grad();
  const Tensor y = x * 2;
  Parameter p(y);
  CHECK(p.is_leaf());
  CHECK_FALSE(p.array().shares_storage(y.array()));
  CHECK_THROWS_MESSAGE_HAS(Parameter(arange(0, 3)), "Parameter: needs a floating dtype, got i64");
}

TEST_CASE("moving a parameter keeps its identity") {
  Parameter a(tensor({1, 2}));
  const Tensor handle = a;
  Parameter b = std::move(a);
  CHECK(b.is_same(handle));
  std::vector<Parameter> many;
  many.push_back(std::move(b));
  for (int i = 0; i < 20; ++i) many.emplace_back(tensor({0}));  // grows several times
  CHECK(many[0].is_same(handle));
  Parameter c(tensor({3, 4}));
  const Tensor other = c;
  std::swap(many[0], c);
  CHECK(c.is_same(handle));
  CHECK(many[0].is_same(other));
}

TEST_CASE("assigning to a parameter writes into the same memory") {
  Linear layer(2, 1);
  const std::vector<Tensor> handles = layer.parameters();
  layer.weight = tensor<double>({7, 8}, {1, 2});  // converted
  CHECK(values_of(handles[0]) == std::vector<double>{7, 8});
  CHECK(layer.weight.dtype() == f32);
  const Linear fresh(2, 1);
  layer = fresh;
  CHECK(layer.weight.is_same(handles[0]));
  CHECK(values_of(handles[0]) == values_of(fresh.weight));
  layer = Linear(2, 1);
  CHECK(layer.weight.is_same(handles[0]));
  CHECK(layer.weight.requires_grad());
  CHECK_THROWS_MESSAGE_HAS(layer.weight = tensor({1, 2}),
                           "Parameter: assigned values must have shape [1, 2], got [2]");
  layer.bias = Parameter();
  CHECK_FALSE(layer.bias.defined());
  CHECK(layer.parameters().size() == 1);
}

TEST_CASE("an assignment between forward and backward is noticed") {
  Linear layer(2, 1);
  const Tensor x = tensor<double>({1, 2}, {1, 2}).to(f32).set_requires_grad();
  const Tensor y = layer(x).sum();
  layer.weight = zeros({1, 2});
  CHECK_THROWS_AS(y.backward(), Error);
}

TEST_CASE("buffers hold any dtype and want no gradient") {
  Buffer count(full({}, 3, i64));
  Buffer copy = count;
  count = full({}, 4, i64);
  CHECK(copy.item() == 3);
  CHECK(count.item() == 4);
  CHECK_FALSE(count.requires_grad());
  const Tensor handle = count;
  count = copy;
  CHECK(count.is_same(handle));
  CHECK(handle.item() == 3);
}

TEST_CASE("names are those of the members, of every kind of part") {
  Everything all;
  CHECK(names_of(all.state_dict()) == everything_keys);
  CHECK(names_of(all.named_buffers()) == std::vector<std::string>{"steps"});
  CHECK(all.named_parameters().size() == everything_keys.size() - 1);
  CHECK(all.named_parameters()[0].second.is_same(all.scale));
  all.maybe.emplace(2);
  all.nothing = ReLU();
  CHECK(names_of(all.state_dict()).size() == everything_keys.size() + 2);
  all.layer = AnyLayer();
  CHECK(names_of(all.state_dict()).size() == everything_keys.size());
}

TEST_CASE("a parts list of expressions is refused") {
  std::string_view names = "up, blocks[0]";
  CHECK(nn::detail::next_part_name(names) == "up");
  CHECK_THROWS_AS(nn::detail::next_part_name(names), Bug);
}

TEST_CASE("moved modules keep the identity of their parameters") {
  Mlp model(2, 3, 1);
  const std::vector<Tensor> handles = model.parameters();
  std::vector<Mlp> models;
  models.push_back(std::move(model));
  for (int i = 0; i < 9; ++i) models.emplace_back(2, 3, 1);
  const std::vector<Tensor> after = models[0].parameters();
  for (std::size_t i = 0; i < handles.size(); ++i) CHECK(after[i].is_same(handles[i]));
}

TEST_CASE("the state dictionary shows the module's own memory, without history") {
  Mlp model(2, 3, 1);
  const StateDict state = model.state_dict();
  CHECK_FALSE(state[0].second.requires_grad());
  state[0].second.fill_(4);
  CHECK(model.up.weight.at({2, 1}) == 4);
}

TEST_CASE("R120 loading: strict lists all that is wrong and changes nothing") {
  Mlp model(2, 3, 1);
  const Mlp before = model;
  StateDict state;
  state.emplace_back("up.weight", zeros({3, 2}));
  state.emplace_back("up.bias", zeros({4}));
  state.emplace_back("left.weight", zeros({1}));
  for (const char* text : {"missing keys: down.weight, down.bias", "unexpected keys: left.weight",
                           "wrong shapes: up.bias must be [3], got [4]", "nothing was loaded"}) {
    CHECK_THROWS_MESSAGE_HAS(model.load_state_dict(state), text);
  }
  CHECK_THROWS_MESSAGE_HAS(model.load_state_dict(state, false), "up.bias must be [3], got [4]");
  CHECK(values_of(model.up.weight) == values_of(before.up.weight));
  state.emplace_back("up.weight", zeros({3, 2}));
  CHECK_THROWS_MESSAGE_HAS(model.load_state_dict(state, false), "\"up.weight\" is given twice");
  state.back() = {"down.bias", Tensor()};
  CHECK_THROWS_MESSAGE_HAS(model.load_state_dict(state, false), "\"down.bias\" is an undefined tensor");
  CHECK(values_of(model.up.weight) == values_of(before.up.weight));
}

TEST_CASE("R120 loading: without strict the lists come back") {
  Mlp model(2, 3, 1);
  const LoadResult result =
      model.load_state_dict({{"up.bias", full({3}, 2, f64)}, {"left.weight", zeros({1})}}, false);
  CHECK(result.missing == std::vector<std::string>{"up.weight", "down.weight", "down.bias"});
  CHECK(result.unexpected == std::vector<std::string>{"left.weight"});
  CHECK(values_of(model.up.bias) == std::vector<double>{2, 2, 2});
  CHECK(model.up.bias.dtype() == f32);
}

TEST_CASE("freezing is not a mode") {
  Mlp model(2, 3, 1);
  model.requires_grad_(false);
  CHECK(model.is_training());
  for (const Tensor& parameter : model.parameters()) CHECK_FALSE(parameter.requires_grad());
  CHECK_FALSE(model(ones({1, 2})).requires_grad());
  model.requires_grad_();
  model.down.requires_grad_(false);
  model(ones({1, 2})).sum().backward();
  CHECK(model.up.weight.grad().defined());
  CHECK_FALSE(model.down.weight.grad().defined());
  model.zero_grad();
  CHECK_FALSE(model.up.weight.grad().defined());
}

TEST_CASE("R46 modes reach every module below, through every kind of part") {
  Everything all;
  all.maybe.emplace(2);
  all.nothing = Dropout();
  all.eval();
  all.eval();
  const auto* linear = all.layer.get<Linear>();
  REQUIRE(linear != nullptr);
  for (const Module* module :
       std::initializer_list<const Module*>{&all, linear, &all.blocks[1], &all.blocks[1].down, &*all.maybe,
                                            all.owned.get(), all.nothing.get<Dropout>()}) {
    CHECK_FALSE(module->is_training());
  }
  all.blocks[1].train();
  CHECK(all.blocks[1].down.is_training());
  CHECK_FALSE(all.blocks[0].down.is_training());
  all.train();
  CHECK(linear->is_training());
}

TEST_CASE("conversion keeps handles and leaves integers alone") {
  Everything all;
  const Tensor handle = all.parameters()[0];
  all.scale.set_grad(ones({2}));
  all.to(f64);
  CHECK(handle.dtype() == f64);
  CHECK_FALSE(handle.grad().defined());
  CHECK(all.steps.dtype() == i64);
  all.to(reference);
  CHECK(handle.device() == reference);
  CHECK(all.steps.device() == reference);
  CHECK(all.scale.requires_grad());
  CHECK_THROWS_MESSAGE_HAS(all.to(i64), "to: a module needs a floating dtype, got i64");
}

TEST_CASE("printing shows the tree with shapes and counts") {
  CHECK(Linear(3, 4).to_string() ==
        "Linear(in_features=3, out_features=4, bias=true)  # 16 parameters: weight [4, 3], bias [4]");
  CHECK(Sequential(Linear(1, 1, false), ReLU()).to_string() ==
        "Sequential(  # 1 parameter\n"
        "  (0): Linear(in_features=1, out_features=1, bias=false)  # 1 parameter: weight [1, 1]\n"
        "  (1): ReLU()\n"
        ")");
  CHECK(AnyLayer(Dropout(0.25)).to_string() == "Dropout(p=0.25)");
  Mlp model(2, 3, 1);
  CHECK(model.parameter_count() == 13);
  CHECK(model.type_name() == "Mlp");
}

TEST_CASE("AnyLayer holds a value") {
  AnyLayer a = Linear(2, 2), b = a;
  const Tensor handle = a.parameters()[0];
  CHECK_FALSE(b.parameters()[0].is_same(handle));
  CHECK(values_of(b.parameters()[0]) == values_of(handle));
  b = Linear(2, 2);
  a = b;  // the same type: values are written
  CHECK(a.parameters()[0].is_same(handle));
  CHECK(values_of(b.parameters()[0]) == values_of(handle));
  AnyLayer moved = std::move(a);
  CHECK(moved.parameters()[0].is_same(handle));
  moved = ReLU();
  CHECK(moved.parameters().empty());
  CHECK(moved.get<Linear>() == nullptr);
  CHECK_THROWS_MESSAGE_HAS(AnyLayer()(ones({1})), "AnyLayer: holds no layer");
}

TEST_CASE("Sequential composes, and can be walked and extended") {
  Sequential layers(Linear(2, 3), ReLU());
  layers.push_back(Linear(3, 1));
  CHECK(names_of(layers.state_dict()) ==
        std::vector<std::string>{"0.weight", "0.bias", "2.weight", "2.bias"});
  const Tensor x = ones({4, 2});
  CHECK(values_of(layers(x)) == values_of(layers[2](layers[1](layers[0](x)))));
  CHECK(Sequential()(x).is_same(x));
  CHECK_THROWS_MESSAGE_HAS(layers[3], "Sequential: has 3 layers, got position 3");
  Sequential copy = layers;
  CHECK(copy.size() == 3);
}

TEST_CASE("dropout drops while training only") {
  Dropout dropout(0.25);
  const Tensor x = ones({100, 100});
  const Tensor y = dropout(x);
  const double kept = (y != 0.0).to(f64).mean().item();
  CHECK(kept == doctest::Approx(0.75).epsilon(0.03));
  CHECK(y.max().item() == doctest::Approx(1 / 0.75));
  dropout.eval();
  CHECK(values_of(dropout(x)) == values_of(x));
  for (const double p : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_MESSAGE_HAS(Dropout(p), "Dropout: p must be in [0, 1)");
  }
}

TEST_CASE("constructors name what is wrong") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_MESSAGE_HAS(Linear(0, 2), "Linear: needs in_features > 0 and out_features > 0, got 0 and 2");
  CHECK_THROWS_MESSAGE_HAS(Activation("swish"), "unknown name \"swish\"; known are relu, gelu");
  CHECK_THROWS_MESSAGE_HAS(LayerNorm({.normalized_shape = {3}, .eps = -1e-5}), "eps must be finite and >= 0");
  CHECK_THROWS_MESSAGE_HAS(LayerNorm({.normalized_shape = {3}, .eps = nan}), "eps must be finite and >= 0");
  CHECK_THROWS_MESSAGE_HAS(LayerNorm({.eps = 1e-5}), "normalized_shape must have at least one extent");
  CHECK_THROWS_MESSAGE_HAS(LayerNorm(0), "normalized_shape must have at least one extent, all > 0, got [0]");
}

TEST_CASE("R27 eps = 0 gives NaN in rows without variance, and only there") {
  LayerNorm norm({.normalized_shape = {3}, .eps = 0});
  const Tensor y = norm(tensor<float>({1, 2, 3, 5, 5, 5}, {2, 3}));
  CHECK(y.select(0, 0).isfinite().all().item() == 1);
  CHECK(y.select(0, 1).isnan().all().item() == 1);
}

TEST_CASE("R43 a parameter of another dtype than x is refused") {
  LayerNorm norm(3);
  CHECK_THROWS_AS(norm(ones({2, 3}, f64)), Error);
}

#ifdef NORMA_DEBUG
namespace {
class Forgetful : public Module {
 public:
  NORMA_PARTS(kept)
  Linear kept{1, 1}, forgotten{2, 3};
};
}  // namespace

TEST_CASE("a debug build names the class that forgets a part") {
  Forgetful direct;
  CHECK_THROWS_MESSAGE_HAS(direct.parameters(), "Forgetful: a parameter of shape [3, 2]");
  class Outer : public Module {
   public:
    Outer() { inner.resize(1); }
    NORMA_PARTS(inner)
    std::vector<Forgetful> inner;
  };
  CHECK_THROWS_MESSAGE_HAS(Outer().named_parameters(), "Forgetful: a parameter of shape [3, 2]");
  CHECK(Linear(2, 3).parameters().size() == 2);
}
#endif

TEST_SUITE_END();
