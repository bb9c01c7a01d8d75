// Classifiers of digits, and their training.
#include "models/mnist_run.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "autograd/ops.h"
#include "core/allocator.h"
#include "models/convnet.h"
#include "models/mlp.h"
#include "nn/checkpoint.h"
#include "nn/norm/batch_norm.h"
#include "nn/probe.h"
#include "tests/messages.h"
#include "tests/models/run_files.h"
#include "tests/models/small_digits.h"
#include "tests/threads.h"

using namespace norma;
using namespace norma::models;
using namespace norma::tests;

namespace {

MnistResult run(const MnistSettings& settings, const std::string& resume = "") {
  const Output out;
  return run_mnist(settings, {.resume = resume, .out = out.file});
}

// All combinations that a run may have.
struct Choice {
  std::string model, norm;
};
std::vector<Choice> choices() {
  std::vector<Choice> all;
  for (const char* model : {"mlp", "conv"}) {
    for (const char* norm : {"none", "batch", "renorm", "instance", "group", "weight", "layer", "rms"}) {
      if (model != std::string("mlp") || norm != std::string("instance")) all.push_back({model, norm});
    }
  }
  return all;
}

}  // namespace

TEST_SUITE_BEGIN("mnist");

TEST_CASE("the MLP is its equation, and shows what enters its last activation") {
  manual_seed(2);
  Mlp model({.inputs = 6, .hidden = {5, 4}, .classes = 3, .norm = {.name = "layer"}});
  const Tensor x = randn({7, 2, 3});
  Tensor last_input;
  const Tensor logits = model(x, &last_input);
  CHECK(logits.shape() == Shape{7, 3});
  const Tensor flat = x.reshape({7, 6});
  const Tensor hidden = model.norms[0](model.layers[0](flat)).sigmoid();
  const Tensor input = model.norms[1](model.layers[1](hidden));
  CHECK((last_input - input).abs().max().item() == 0);
  CHECK((logits - model.head(input.sigmoid())).abs().max().item() == 0);
  CHECK(model.last_width() == 4);
  std::vector<std::string> names;
  for (const auto& [name, parameter] : model.named_parameters()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.1.weight",
                                          "layers.1.bias", "norms.0.weight", "norms.0.bias", "norms.1.weight",
                                          "norms.1.bias", "head.weight", "head.bias"});
}

TEST_CASE("the paper's net: three layers of 100 sigmoid units, small Gaussian weights") {
  manual_seed(1);
  Mlp model({});
  CHECK(model.parameter_count() == 784 * 100 + 100 + 2 * (100 * 100 + 100) + 100 * 10 + 10);
  const auto parameters = model.named_parameters();
  const Tensor& weight = parameters[0].second;
  CHECK(weight.std().item() == doctest::Approx(0.1).epsilon(0.02));
  CHECK(std::abs(weight.mean().item()) < 0.002);
  CHECK(parameters[1].second.abs().max().item() == 0);
}

TEST_CASE("a bias that the norm takes away again is left out") {
  const auto has_bias = [](nn::Module& model) {
    for (const auto& [name, parameter] : model.named_parameters()) {
      if (name == "layers.0.bias") return true;
    }
    return false;
  };
  for (const Choice& choice : choices()) {
    const std::string &model = choice.model, &norm = choice.norm;
    CAPTURE(norm);
    const bool useless = norm == "batch" || norm == "renorm" || norm == "instance";
    if (model == "mlp") {
      Mlp mlp({.inputs = 6, .hidden = {4}, .norm = {.name = norm}});
      CHECK(has_bias(mlp) != useless);
      continue;
    }
    ConvNet conv({.rows = 4, .columns = 4, .channels = 4, .norm = {.name = norm}});
    CHECK(has_bias(conv) != useless);
  }
}

TEST_CASE("the convolutional net is its equation, and shows what enters its last activation") {
  manual_seed(2);
  ConvNet model({.rows = 9, .columns = 6, .channels = 3, .classes = 5, .norm = {.name = "batch"}});
  const Tensor x = randn({4, 9, 6});
  Tensor last_input;
  const Tensor logits = model(x, &last_input);
  CHECK(logits.shape() == Shape{4, 5});
  CHECK(last_input.shape() == Shape{4, 6, 4, 3});
  const Tensor first = max_pool2d(relu(model.norms[0](model.layers[0](x.unsqueeze(1)))), 2);
  const Tensor input = model.norms[1](model.layers[1](first));
  CHECK((last_input - input).abs().max().item() == 0);
  CHECK((logits - model.head(max_pool2d(relu(input), 2).flatten(1))).abs().max().item() == 0);
  CHECK(model.last_width() == 6);
  CHECK_THROWS_MESSAGE_HAS(model(zeros({4, 6, 9})), "images must be [batch, 9, 6], got [4, 6, 9]");
  CHECK_THROWS_MESSAGE_HAS(ConvNet({.rows = 3}), "at least 4 x 4 pixels, got 3 x 28");
  CHECK_THROWS_MESSAGE_HAS(ConvNet({.norm = {.name = "nrom"}}), "ConvNet: unknown norm \"nrom\"");
}

TEST_CASE("R46 modes reach every norm of a net, and a forward pass moves its statistics once") {
  ConvNet model({.rows = 8, .columns = 8, .channels = 2, .norm = {.name = "batch"}});
  const auto buffers = [&] {
    std::vector<std::vector<double>> values;
    for (const auto& [name, buffer] : model.named_buffers())
      values.push_back(buffer.to(f64).to_vector<double>());
    return values;
  };
  const auto batches = [&](std::size_t i) {
    return model.norms[i].get<nn::BatchNorm2d>()->num_batches_tracked.item();
  };
  const Tensor x = randn({3, 8, 8});
  model.eval();
  model.eval();
  const auto before = buffers();
  const Tensor y = model(x);
  CHECK(buffers() == before);
  CHECK((model(x) - y).abs().max().item() == 0);
  model.norms[1].train();  // one inside of a net in eval mode
  model(x);
  CHECK((batches(0) == 0 && batches(1) == 1));
  model.train();
  model(x);
  CHECK((batches(0) == 1 && batches(1) == 2));
  // one norm at two places of a net sees two batches
  nn::BatchNorm1d shared(4);
  shared(shared(randn({5, 4})));
  CHECK(shared.num_batches_tracked.item() == 2);
}

TEST_CASE("MLP: options and images that make no sense are named") {
  CHECK_THROWS_MESSAGE_HAS(Mlp({.norm = {.name = "nrom"}}),
                           "Mlp: unknown norm \"nrom\"; known are none, batch");
  CHECK_THROWS_MESSAGE_HAS(Mlp({.norm = {.name = "instance"}}),
                           "would see one value at a time and give zeros");
  CHECK_THROWS_MESSAGE_HAS(Mlp({.norm = {.name = "group", .groups = 3}}), "GroupNorm");
  CHECK_THROWS_MESSAGE_HAS(Mlp({.hidden = {}}), "at least one hidden layer");
  CHECK_THROWS_MESSAGE_HAS(Mlp({.hidden = {3, 0}}), "all of width > 0, got [3, 0]");
  CHECK_THROWS_MESSAGE_HAS(Mlp({.inputs = 0}), "inputs and classes > 0, got 0 and 10");
  CHECK_THROWS_MESSAGE_HAS(Mlp({.init_std = 0}), "init_std");
  Mlp model({.inputs = 6, .hidden = {2}});
  CHECK_THROWS_MESSAGE_HAS(model(zeros({2, 7})), "images must be [batch, ..] of 6 pixels each, got [2, 7]");
  CHECK_THROWS_MESSAGE_HAS(model(Tensor()), "images must be");
}

TEST_CASE("the probe sees every layer of the MLP, and where a sigmoid saturates") {
  Mlp model({.inputs = 6, .hidden = {5, 4}, .init_std = 100});
  const nn::probe::Recorder recorder;
  cross_entropy(model(randn({9, 6})), zeros({9}, i64)).backward();
  std::vector<std::string> names;
  for (const auto& record : recorder.records()) names.push_back(record.layer);
  CHECK(names == std::vector<std::string>{"layers.0.input", "layers.0.activation", "layers.1.input",
                                          "layers.1.activation", "logits"});
  CHECK(recorder.records()[1].saturated > 0.8);
  CHECK(recorder.records()[0].saturated == 0);
  for (const auto& record : recorder.records()) CHECK(std::isfinite(record.gradient_norm));
}

TEST_CASE("a run of 50,000 steps has the published schedule of batch renormalization") {
  MnistSettings settings;
  settings.norm = "renorm";
  settings.steps = 50000;
  const auto model = make_classifier(settings, 2, 2);
  const auto limits_after = [&](std::int64_t batches) {
    auto* const norm = dynamic_cast<Mlp&>(*model).norms[0].get<nn::BatchRenorm1d>();
    REQUIRE(norm != nullptr);
    norm->num_batches_tracked = full({}, static_cast<double>(batches), i64);
    return norm->limits();
  };
  CHECK((limits_after(5000).r_max == 1 && limits_after(5000).d_max == 0));
  CHECK((limits_after(24000).d_max < 5 && limits_after(25001).d_max == 5));
  CHECK((limits_after(39000).r_max < 3 && limits_after(40001).r_max == 3));
}

TEST_CASE("quantiles are NumPy's") {
  std::vector<double> values{3, 1, 2, 10, 5};
  CHECK(quantile(values, 0) == 1);
  CHECK(quantile(values, 1) == 10);
  CHECK(quantile(values, 0.5) == 3);
  CHECK(quantile(values, 0.15) == doctest::Approx(1.6));
  CHECK(quantile(values, 0.85) == doctest::Approx(7.0));
  std::vector<double> one{4}, none, broken{1, NAN};
  CHECK(quantile(one, 0.85) == 4);
  CHECK(std::isnan(quantile(none, 0.5)));
  CHECK(std::isnan(quantile(broken, 0.5)));
  CHECK_THROWS_MESSAGE_HAS(quantile(one, 1.5), "p must lie in [0, 1], got 1.5");
}

TEST_CASE("an evaluation is over all test images, whatever the batches, and leaves the mode") {
  // 1203 images: three batches, the last of them short
  Generator generator(3);
  const Array images = Array::random(Random::uniform, {1303, 2, 2}, 0, 1, f32, cpu, generator);
  std::vector<std::int64_t> labels(1303);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int64_t>(i % 10);
  const Digits digits(images, Array::from(labels, {1303}), 100);
  manual_seed(6);
  Mlp model({.inputs = 4, .hidden = {3}, .init_std = 2});
  const DigitsEvaluation evaluation = evaluate(model, digits, 1);
  CHECK(model.is_training());
  const ImageBatch all = digits.test_batch(0, 5000);
  CHECK(all.labels.shape()[0] == 1203);
  Tensor input;
  const Tensor logits = model(Tensor(all.images), &input);
  CHECK(evaluation.loss == doctest::Approx(cross_entropy(logits, Tensor(all.labels)).item()).epsilon(1e-6));
  CHECK(evaluation.accuracy * 1203 ==
        doctest::Approx((logits.argmax() == Tensor(all.labels)).to(f64).sum().item()).epsilon(1e-9));
  std::vector<double> of_unit = input.select(1, 1).to(f64).to_vector<double>();
  CHECK(evaluation.quantiles[0] == quantile(of_unit, 0.15));
  CHECK(evaluation.quantiles[2] == quantile(of_unit, 0.85));
  CHECK_THROWS_MESSAGE_HAS(evaluate(model, digits, 3), "unit 3 is not in [0, 3)");
}

TEST_CASE("every norm learns the digits, in both nets") {
  const Threads one(1);  // such small nets gain nothing from more
  TemporaryFolder folder;
  for (const Choice& choice : choices()) {
    const std::string &model = choice.model, &norm = choice.norm;
    CAPTURE(model);
    CAPTURE(norm);
    MnistSettings settings = quick_mnist(folder);
    settings.model = model;
    settings.norm = norm;
    settings.layers = 1;
    settings.steps = model == "mlp" ? 150 : 40;
    settings.eval_every = 0;
    settings.lr = model == "mlp" ? 1 : 0.1;
    const MnistResult result = run(settings);
    REQUIRE(result.evaluation);
    CHECK(result.evaluation->accuracy > 0.9);
    CHECK(result.evaluation->quantiles[0] <= result.evaluation->quantiles[1]);
    CHECK(result.evaluation->quantiles[1] <= result.evaluation->quantiles[2]);
  }
}

TEST_CASE(
    "R121 a run on digits stopped and resumed equals one that never stopped, bit by bit, for every norm") {
  for (const Choice& choice : choices()) {
    const std::string &model = choice.model, &norm = choice.norm;
    CAPTURE(model);
    CAPTURE(norm);
    TemporaryFolder folder;
    MnistSettings whole = quick_mnist(folder);
    whole.model = model;
    whole.norm = norm;
    whole.steps = 15;  // two epochs and a half
    CHECK(run(whole).finished);
    MnistSettings parts = whole;
    parts.log = folder.path("parts.csv");
    parts.checkpoint = folder.path("parts.safetensors");
    parts.stop_at = 4;
    const MnistResult first = run(parts);
    CHECK((first.step == 4 && !first.finished && !first.evaluation));
    parts.stop_at = 0;
    const MnistResult last = run(parts, parts.checkpoint);
    CHECK((last.step == 15 && last.finished && last.evaluation));
    CHECK(saved_values(parts.checkpoint) == saved_values(whole.checkpoint));
    for (const char* name :
         {"step", "loss", "test_loss", "test_accuracy", "q15", "q50", "q85", "lr", "gradient_norm"}) {
      CHECK(column(parts.log, name) == column(whole.log, name));
    }
  }
}

TEST_CASE("R96 the same seed gives the same run, whatever the number of threads") {
  TemporaryFolder folder;
  MnistSettings settings = quick_mnist(folder);
  settings.width = 100;
  std::vector<std::vector<std::string>> losses;
  for (const int threads : {1, 2, 3}) {
    const Threads guard(threads);
    run(settings);
    losses.push_back(column(settings.log, "loss"));
  }
  CHECK(losses[0] == losses[1]);
  CHECK(losses[0] == losses[2]);
  settings.seed = 2;
  run(settings);
  CHECK(column(settings.log, "loss") != losses[0]);
}

TEST_CASE(
    "R36 R103 a batch of one image is refused where its statistics say nothing, and learned from elsewhere") {
  TemporaryFolder folder;
  for (const Choice& choice : choices()) {
    const std::string &model = choice.model, &norm = choice.norm;
    CAPTURE(model);
    CAPTURE(norm);
    MnistSettings settings = quick_mnist(folder);
    settings.model = model;
    settings.norm = norm;
    settings.batch = 1;
    settings.lr = 0.01;
    if (model == "mlp" && (norm == "batch" || norm == "renorm")) {
      CHECK_THROWS_MESSAGE_HAS(run(settings), "--batch 1: batch statistics of one image say nothing");
    } else {
      CHECK(run(settings).finished);
    }
  }
}

TEST_CASE("R82 a training step on digits asks the system for no memory in steady state") {
  TemporaryFolder folder;
  const MnistSettings settings = quick_mnist(folder);
  const Digits digits = Digits::load(settings.data, settings.train);
  const auto model = make_classifier(settings, digits.rows(), digits.columns());
  DigitsTrainer trainer(*model, digits, settings);
  for (int i = 0; i < 3; ++i) trainer.update();
  const MemoryStats before = memory_stats(cpu);
  for (int i = 0; i < 20; ++i) trainer.update();
  CHECK(memory_stats(cpu).system_allocations == before.system_allocations);
  CHECK(memory_stats(cpu).live_bytes == before.live_bytes);
}

TEST_CASE("a run on digits whose loss is not finite stops and keeps the checkpoint") {
  TemporaryFolder folder;
  MnistSettings settings = quick_mnist(folder);
  settings.activation = "relu";
  settings.stop_at = 5;
  run(settings);
  const std::string before = read_file(settings.checkpoint);
  settings.stop_at = 0;
  settings.lr = 1e30;
  CHECK_THROWS_MESSAGE_HAS(run(settings, settings.checkpoint), "try a lower --lr");
  CHECK(read_file(settings.checkpoint) == before);
}

TEST_CASE("R123 a checkpoint with NaN loads, and check_finite names the tensor") {
  TemporaryFolder folder;
  const MnistSettings settings = quick_mnist(folder);
  run(settings);
  nn::SafetensorsFile file = nn::load_safetensors(settings.checkpoint);
  CHECK(nn::check_finite(file.tensors).empty());
  const std::string name = "layers.0.weight";
  REQUIRE(nn::find(file.tensors, name) != nullptr);
  nn::find(file.tensors, name)->array().data<float>()[3] = NAN;
  nn::save_safetensors(folder.path("nan.safetensors"), file.tensors, file.metadata);
  const auto model = make_classifier(settings, small_size, small_size);
  model->load_state_dict(nn::load_model_state(folder.path("nan.safetensors")));
  CHECK(nn::check_finite(model->state_dict()) == std::vector<std::string>{name});
}

TEST_SUITE_END();
