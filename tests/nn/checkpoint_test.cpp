#include "nn/checkpoint.h"

#include <doctest/doctest.h>

#include <fstream>

#include "autograd/ops.h"
#include "core/file.h"
#include "nn/linear.h"
#include "nn/optim/clip.h"
#include "nn/optim/schedule.h"
#include "tests/messages.h"
#include "tests/temporary.h"

using namespace norma;

namespace {

// With all that a run may hold: weights, a running statistic, a counter, dropout.
struct Mlp : nn::Module {
  Mlp() : up(6, 16), down(16, 3), running_mean(zeros({16})), num_batches_tracked(zeros({}, i64)) {}
  Tensor operator()(const Tensor& x, Generator& generator) {
    const Tensor h = up(x).tanh();
    {
      const NoGrad guard;
      running_mean.copy_(running_mean * 0.9 + h.mean(0) * 0.1);
      num_batches_tracked.copy_(num_batches_tracked + 1);
    }
    return down(dropout(h - running_mean.clone(), 0.25, is_training(), &generator));
  }
  NORMA_PARTS(up, down, running_mean, num_batches_tracked)
  nn::Linear up, down;
  nn::Buffer running_mean, num_batches_tracked;
};

// A run of its own: nothing is shared with another one.
struct Run {
  explicit Run(std::uint64_t seed) : data(seed), noise(seed + 1) {
    Generator generator(seed + 2);
    for (const Tensor& x : model.parameters()) {
      const NoGrad guard;
      x.copy_(randn(x.shape(), f32, cpu, &generator) * 0.3);
    }
  }

  void train(std::int64_t steps) {
    for (; steps > 0; --steps, ++checkpoint.step) {
      const Tensor x = randn({4, 6}, f32, cpu, &data), targets = randint(0, 3, {4}, cpu, &data);
      optimizer.zero_grad();
      cross_entropy(model(x, noise), targets).backward();
      nn::clip_grad_norm_(model.named_parameters(), 0.5, true);
      optimizer.set_lr(schedule(checkpoint.step));
      optimizer.step();
    }
  }

  Mlp model;
  nn::AdamW optimizer{nn::decay_groups(model, 0.1)};
  nn::Schedule schedule = nn::make_schedule("cosine", {.lr = 0.05, .warmup = 3, .total = 20});
  Generator data, noise;
  nn::Checkpoint checkpoint{&model, &optimizer, {{"data", &data}, {"noise", &noise}}, 0, {}};
};

std::vector<std::vector<double>> values_of(nn::Module& module) {
  std::vector<std::vector<double>> values;
  for (const auto& [name, x] : module.state_dict()) values.push_back(x.to(f64).to_vector<double>());
  return values;
}

bool same_state(const nn::OptimizerState& a, const nn::OptimizerState& b) {
  if (a.numbers != b.numbers || a.tensors.size() != b.tensors.size()) return false;
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    if (a.tensors[i].first != b.tensors[i].first) return false;
    if (a.tensors[i].second.to_vector<float>() != b.tensors[i].second.to_vector<float>()) return false;
  }
  return true;
}

}  // namespace

TEST_SUITE_BEGIN("checkpoint");

TEST_CASE("R121 a run that is saved and resumed goes on bit by bit") {
  const tests::TemporaryFolder folder;
  Run whole(1);
  whole.train(20);

  Run first(1);
  first.train(5);
  first.checkpoint.metadata = {{"width", "16"}};
  nn::save_checkpoint(folder.path("a"), first.checkpoint);
  first.train(2);  // what comes after must not matter

  Run second(77);  // other weights, other generators
  nn::load_checkpoint(folder.path("a"), second.checkpoint);
  CHECK(second.checkpoint.step == 5);
  CHECK(second.checkpoint.metadata == nn::Metadata{{"width", "16"}});
  second.train(15);
  CHECK(values_of(second.model) == values_of(whole.model));
  CHECK(same_state(second.optimizer.state(), whole.optimizer.state()));
  CHECK(second.noise.state().offset == whole.noise.state().offset);
  CHECK(second.model.num_batches_tracked.item() == 20);

  nn::save_checkpoint(folder.path("b"), second.checkpoint);
  nn::save_checkpoint(folder.path("c"), whole.checkpoint);
  second.checkpoint.metadata.clear();
  nn::save_checkpoint(folder.path("b"), second.checkpoint);
  CHECK(read_file(folder.path("b")) == read_file(folder.path("c")));
}

TEST_CASE("each part of a checkpoint matters: left out, the run goes another way") {
  const tests::TemporaryFolder folder;
  Run whole(1);
  whole.train(5);
  nn::save_checkpoint(folder.path("a"), whole.checkpoint);
  whole.train(5);
  for (int left_out = 0; left_out < 4; ++left_out) {
    CAPTURE(left_out);
    Run run(77);
    nn::Checkpoint part = run.checkpoint;
    if (left_out == 0) part.model = nullptr;
    if (left_out == 1) part.optimizer = nullptr;
    if (left_out >= 2) part.generators.erase(part.generators.begin() + (left_out - 2));
    nn::load_checkpoint(folder.path("a"), part);
    run.checkpoint.step = part.step;
    run.train(5);
    CHECK(values_of(run.model) != values_of(whole.model));
  }
}

TEST_CASE("the file holds the model under its own names, so others can read the weights") {
  const tests::TemporaryFolder folder;
  Run run(1);
  run.train(1);
  run.checkpoint.metadata = {{"text", "a b"}};
  nn::save_checkpoint(folder.path("a"), run.checkpoint);
  const auto file = nn::load_safetensors(folder.path("a"));
  std::size_t of_model = 0;
  for (const auto& [name, x] : run.model.state_dict()) {
    ++of_model;
    REQUIRE(nn::find(file.tensors, name) != nullptr);
    CHECK(nn::find(file.tensors, name)->shape() == x.shape());
  }
  CHECK(of_model == 6);
  CHECK(nn::load_model_state(folder.path("a")).size() == of_model);
  CHECK(file.tensors.size() == of_model + 2 * 4);
  CHECK(nn::find(file.tensors, "optimizer.state.3.exp_avg_sq") != nullptr);
  CHECK(*nn::find(file.metadata, "optimizer.state.3.step") == "1");
  CHECK(*nn::find(file.metadata, "optimizer") == "AdamW");
  CHECK(*nn::find(file.metadata, "user.text") == "a b");
  const auto peeked = nn::peek_checkpoint(folder.path("a"));
  CHECK(peeked.step == 1);
  CHECK(peeked.metadata == run.checkpoint.metadata);
  const std::string bytes = read_file(folder.path("a"));
  std::ofstream(folder.path("cut"), std::ios::binary) << bytes.substr(0, bytes.size() - 1);
  CHECK_THROWS_MESSAGE_HAS(nn::peek_checkpoint(folder.path("cut")), "reach beyond");

  Run other(5);
  other.model.load_state_dict(nn::load_model_state(folder.path("a")));
  CHECK(values_of(other.model) == values_of(run.model));
}

TEST_CASE("R120 a checkpoint that does not fit throws and changes nothing") {
  const tests::TemporaryFolder folder;
  const std::string path = folder.path("a");
  Run saved(1);
  saved.train(2);
  nn::save_checkpoint(path, saved.checkpoint);
  const auto good = nn::load_safetensors(path);

  Run run(7);
  run.train(1);
  const auto weights = values_of(run.model);
  const auto moments = run.optimizer.state();
  const auto rejects = [&](const nn::SafetensorsFile& file, const char* text) {
    nn::save_safetensors(path, file.tensors, file.metadata);
    CHECK_THROWS_MESSAGE_HAS(nn::load_checkpoint(path, run.checkpoint), text);
    CHECK(values_of(run.model) == weights);
    CHECK(same_state(run.optimizer.state(), moments));
    CHECK(run.data.state().seed == 7);
    CHECK(run.checkpoint.step == 1);
  };
  const auto without_text = [&](const char* name) {
    nn::SafetensorsFile file = good;
    std::erase_if(file.metadata, [&](const auto& pair) { return pair.first == name; });
    return file;
  };
  const auto with_text = [&](const char* name, const char* text) {
    nn::SafetensorsFile file = good;
    for (auto& [key, value] : file.metadata) {
      if (key == name) value = text;
    }
    return file;
  };
  const auto without_tensor = [&](const char* name) {
    nn::SafetensorsFile file = good;
    std::erase_if(file.tensors, [&](const auto& pair) { return pair.first == name; });
    return file;
  };
  rejects(without_tensor("down.bias"), "down.bias");
  rejects(without_text("step"), "the checkpoint has no \"step\"");
  rejects(without_text("generator.noise"), "the checkpoint has no \"generator.noise\"");
  rejects(without_text("optimizer"), "the checkpoint has no \"optimizer\"");
  rejects(without_text("optimizer.param_groups.1.lr"), "group 1");
  rejects(without_text("optimizer.state.2.step"), "state.2.step");
  rejects(with_text("step", "5x"), "\"step\" is no number: \"5x\"");
  rejects(with_text("step", "-5"), "the step is negative");
  rejects(with_text("generator.data", "12"), "must hold seed and position");
  rejects(with_text("generator.data", "12 -1"), "is no number");
  rejects(with_text("generator.data", "12 18446744073709551616"), "is no number");
  rejects(with_text("optimizer", "SGD"), "saved by SGD");
  rejects(with_text("optimizer.param_groups.0.lr", "nan"), "must be finite");
  nn::SafetensorsFile file = good;
  file.tensors[0].second = zeros({1});
  rejects(file, "up.weight");
  file = good;
  file.tensors.emplace_back("optimizer.state.9.exp_avg", zeros({1}));
  rejects(file, "state.9.exp_avg");
  file = good;
  file.tensors.emplace_back("more", zeros({1}));
  rejects(file, "more");

  nn::save_safetensors(path, good.tensors, good.metadata);
  nn::load_checkpoint(path, run.checkpoint);
  CHECK(values_of(run.model) == values_of(saved.model));
}

TEST_CASE("a model key that looks like the optimizer's is refused when saving") {
  struct Odd : nn::Module {
    NORMA_PARTS(optimizer)
    nn::Linear optimizer{2, 2};
  } odd;
  const tests::TemporaryFolder folder;
  CHECK_THROWS_MESSAGE_HAS(nn::save_checkpoint(folder.path("a"), {.model = &odd}), "optimizer.weight");
  CHECK_THROWS_MESSAGE_HAS(nn::save_checkpoint(folder.path("a"), {.generators = {{"x", nullptr}}}),
                           "\"x\" is null");
  CHECK(folder.count() == 0);
}

TEST_SUITE_END();
