// Every check of a layer, run on every row of the layer table.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <span>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::tests;

namespace {

template <class Check>
void for_each_row(Check check) {
  for (const LayerRow& row : layer_table()) {
    CAPTURE(row.name);
    check(row);
  }
}

struct Outcome {
  Tensor y;
  std::vector<Tensor> gradients;  // of the floating inputs, then of the parameters
};

// Forward and backward, in eval mode, under a fixed random upstream gradient.
Outcome run(const LayerRow& row, nn::Module& layer, const Inputs& samples) {
  layer.eval();
  Inputs inputs;
  std::vector<Tensor> wanted;
  for (const Tensor& sample : samples) {
    inputs.push_back(sample.clone().detach());
    if (!is_floating(sample.dtype())) continue;
    inputs.back().set_requires_grad();
    wanted.push_back(inputs.back());
  }
  for (const Tensor& parameter : layer.parameters()) wanted.push_back(parameter);
  Outcome outcome;
  outcome.y = row.call(layer, inputs);
  const Tensor upstream = normal(outcome.y.shape(), 99).to(outcome.y.dtype()).to(outcome.y.device());
  outcome.gradients = grad({outcome.y}, wanted, {upstream}, {.allow_unused = true});
  return outcome;
}

void check_close(const Tensor& a, const Tensor& b, double tolerance) {
  REQUIRE(a.defined() == b.defined());
  if (!a.defined()) return;
  REQUIRE(a.shape() == b.shape());
  const auto left = a.detach().to(cpu).to(f64).to_vector<double>();
  const auto right = b.detach().to(cpu).to(f64).to_vector<double>();
  for (std::size_t i = 0; i < left.size(); ++i) {
    CHECK(std::abs(left[i] - right[i]) <= tolerance * (1 + std::abs(right[i])));
  }
}

void check_close(const Outcome& a, const Outcome& b, double tolerance) {
  check_close(a.y, b.y, tolerance);
  REQUIRE(a.gradients.size() == b.gradients.size());
  for (std::size_t i = 0; i < a.gradients.size(); ++i) {
    CAPTURE(i);
    check_close(a.gradients[i], b.gradients[i], tolerance);
  }
}

std::unique_ptr<nn::Module> random_layer(const LayerRow& row, DType dtype = f64) {
  auto layer = row.make();
  randomize(*layer, 7);
  layer->to(dtype);
  return layer;
}

std::vector<std::string> keys_of(nn::Module& layer) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : layer.state_dict()) keys.push_back(key);
  return keys;
}

// Makes the parameters handles of the given tensors, in order, so that a layer becomes a function of them.
class Substitute final : public nn::PartVisitor {
 public:
  explicit Substitute(std::span<const Tensor> values) : values_(values) {}
  void parameter(std::string_view, nn::Parameter& part) override {
    static_cast<Tensor&>(part) = values_[next_++];
  }
  void buffer(std::string_view, nn::Buffer&) override {}
  void module(std::string_view, nn::Module& part) override { part.visit_parts(*this); }

 private:
  std::span<const Tensor> values_;
  std::size_t next_ = 0;
};

// Names of the classes declared as "class Name : public Module", or from a layer that others extend, in the
// headers of a folder.
const std::set<std::string> bases{"Module", "BatchNorm", "BatchRenorm", "InstanceNorm"};
void add_layer_classes(const std::filesystem::path& folder, std::set<std::string>& names) {
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".h") continue;
    std::ifstream text(file.path());
    for (std::string line; std::getline(text, line);) {
      const std::size_t colon = line.find(" : public ");
      if (!line.starts_with("class ") || colon == std::string::npos) continue;
      const std::string base = line.substr(colon + 10, line.find(' ', colon + 10) - colon - 10);
      if (!bases.contains(base)) continue;
      const std::string declared = line.substr(6, colon - 6);
      names.insert(declared.substr(0, declared.find(' ')));
    }
  }
}

}  // namespace

void tests::check_layers(Device device, Device oracle) {
  for_each_row([=](const LayerRow& row) {
    const auto layer = random_layer(row), plain = random_layer(row);
    plain->to(oracle);
    const Outcome expected = run(row, *plain, converted(row.inputs, f64, oracle));
    CHECK(expected.y.device() == oracle);
    layer->to(device);
    const Outcome got = run(row, *layer, converted(row.inputs, f64, device));
    CHECK(got.y.device() == device);
    check_close(got, expected, 1e-10);
    layer->to(f32);
    const Outcome single = run(row, *layer, converted(row.inputs, f32, device));
    CHECK(single.y.dtype() == f32);
    check_close(single, expected, 2e-5);
  });
}

TEST_SUITE_BEGIN("layers");

TEST_CASE("every layer class has a row") {
  const std::filesystem::path root(NORMA_SOURCE_DIR);
  std::set<std::string> missing;
  add_layer_classes(root / "nn", missing);
  add_layer_classes(root / "nn" / "norm", missing);
  REQUIRE(missing.contains("Linear"));
  REQUIRE(missing.contains("LayerNorm"));
  REQUIRE(missing.contains("BatchNorm3d"));
  for_each_row([&](const LayerRow& row) { missing.erase(row.name.substr(0, row.name.find(' '))); });
  for (const std::string& name : missing) FAIL_CHECK("no row of tests/nn/layer_table.cpp is a " << name);
}

TEST_CASE("a row is named after its class, and its keys are PyTorch's") {
  for_each_row([](const LayerRow& row) {
    const auto layer = row.make();
    CHECK(row.name.substr(0, row.name.find(' ')) == layer->type_name());
    CHECK(keys_of(*layer) == row.keys);
  });
}

TEST_CASE("live parameters are the visited ones, also in a copy, and all are freed") {
  for_each_row([](const LayerRow& row) {
    const std::int64_t before = nn::Parameter::live_count();
    {
      const auto layer = row.make();
      const std::int64_t made = nn::Parameter::live_count() - before;
      CHECK(made == static_cast<std::int64_t>(layer->parameters().size()) + row.absent);
      const auto copy = row.copy(*layer);
      CHECK(nn::Parameter::live_count() - before == 2 * made);
    }
    CHECK(nn::Parameter::live_count() == before);
  });
}

TEST_CASE("a copy computes the same and is independent") {
  for_each_row([](const LayerRow& row) {
    const auto layer = random_layer(row);
    const auto copy = row.copy(*layer);
    CHECK(keys_of(*copy) == row.keys);
    const Outcome expected = run(row, *layer, row.inputs);
    check_close(run(row, *copy, row.inputs), expected, 0);
    for (const auto& [key, value] : copy->state_dict()) value.fill_(0.125);
    check_close(run(row, *layer, row.inputs), expected, 0);
  });
}

TEST_CASE("a state dictionary carries a layer over") {
  for_each_row([](const LayerRow& row) {
    const auto source = random_layer(row), target = row.make();
    target->to(f64);
    randomize(*target, 8);
    target->load_state_dict(source->state_dict());
    check_close(run(row, *target, row.inputs), run(row, *source, row.inputs), 0);
  });
}

TEST_CASE("train and eval set the mode, and nothing else") {
  for_each_row([](const LayerRow& row) {
    const auto layer = row.make();
    CHECK(layer->is_training());
    layer->eval();
    CHECK_FALSE(layer->is_training());
    layer->eval();
    CHECK_FALSE(layer->is_training());
    for (const Tensor& parameter : layer->parameters()) CHECK(parameter.requires_grad());
    layer->train();
    CHECK(layer->is_training());
  });
}

TEST_CASE("a wrong input gives the documented message") {
  for_each_row([](const LayerRow& row) {
    const auto layer = random_layer(row);
    for (const WrongInput& wrong : row.wrong) {
      CHECK_THROWS_MESSAGE_HAS(row.call(*layer, wrong.inputs), wrong.message);
    }
  });
}

TEST_CASE("gradients of inputs and parameters match central differences") {
  for_each_row([](const LayerRow& row) {
    if (!row.numeric) return;
    const auto layer = random_layer(row);
    layer->eval();
    Inputs leaves;
    for (const Tensor& x : row.inputs)
      leaves.push_back(is_floating(x.dtype()) ? x.clone().detach().set_requires_grad() : x);
    const std::size_t arguments = leaves.size();
    for (const Tensor& parameter : layer->parameters()) leaves.push_back(parameter);
    const auto function = [&](const std::vector<Tensor>& all) {
      const Inputs inputs(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(arguments));
      Substitute parameters(std::span<const Tensor>{all}.subspan(arguments));
      layer->visit_parts(parameters);
      const Tensor y = row.call(*layer, inputs);
      return y * normal(y.shape(), 99);
    };
    const GradCheckReport first = gradcheck(function, leaves, {.random_direction = !row.second});
    CHECK_MESSAGE(first.passed, first.message);
    if (!row.second) return;
    const GradCheckReport second = gradgradcheck(function, leaves, {.random_direction = true});
    CHECK_MESSAGE(second.passed, second.message);
  });
}

TEST_CASE("kernels compute what the definitions say, forward and backward") {
  for_each_row([](const LayerRow& row) {
    const auto layer = random_layer(row);
    const Outcome fused = run(row, *layer, row.inputs);
    const DefinitionsOnly definitions;
    check_close(fused, run(row, *layer, row.inputs), 1e-10);
  });
}

TEST_CASE("the cpu computes what the reference backend does, in f64 and in f32") {
  check_layers(cpu, reference);
}

TEST_SUITE_END();
