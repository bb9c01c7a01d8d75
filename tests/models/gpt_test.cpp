#include "models/gpt.h"

#include <doctest/doctest.h>

#include <set>

#include "nn/causality.h"
#include "tests/messages.h"
#include "tests/models/small_gpt.h"

using namespace norma;
using namespace norma::models;
using namespace norma::tests;

TEST_SUITE_BEGIN("gpt");

TEST_CASE("GPT: names, shapes and number of parameters") {
  Gpt tied(small_options());
  // tokens, positions, blocks (2 norms, attention 4 w^2 + 4 w, feed-forward 8 w^2 + 5 w), last norm
  CHECK(tied.parameter_count() == 11 * 16 + 8 * 16 + 2 * (12 * 256 + 13 * 16) + 2 * 16);
  std::set<std::string> names;
  for (const auto& [name, parameter] : tied.named_parameters()) names.insert(name);
  for (const char* name :
       {"token_embedding.weight", "position_embedding.weight", "blocks.1.norm1.weight",
        "blocks.0.attention.qkv_proj.bias", "blocks.1.ffn.down_proj.weight", "norm.bias"}) {
    CHECK_MESSAGE(names.contains(name), name);
  }
  GptOptions options = small_options();
  options.tied = false;
  options.positions = "rotary";
  Gpt untied(options);
  CHECK(untied.parameter_count() == tied.parameter_count() + 11 * 16 - 8 * 16);
  CHECK(untied(some_tokens(3, 5, 11)).shape() == Shape{3, 5, 11});
  CHECK(tied.to_string().find("tied head") != std::string::npos);
}

TEST_CASE("GPT: a new model knows nothing, for every norm, activation and kind of positions") {
  for (const char* norm : {"layer", "rms"}) {
    for (const char* activation : {"gelu", "swiglu", "relu"}) {
      for (const char* positions : {"learned", "rotary"}) {
        GptOptions options = small_options();
        options.norm = norm;
        options.activation = activation;
        options.positions = positions;
        options.kv_heads = 1;
        Gpt model(options);
        const double loss = cross_entropy(model(some_tokens(4, 8, 11)), some_tokens(4, 8, 11, 6)).item();
        CAPTURE(norm);
        CAPTURE(activation);
        CAPTURE(positions);
        CHECK(std::abs(loss - std::log(11.0)) < 0.05);
      }
    }
  }
}

TEST_CASE("GPT: no placement lets a later token through") {
  for (const nn::Placement& placement : nn::placements()) {
    CAPTURE(placement.name);
    GptOptions options = small_options();
    options.placement = placement;
    Gpt model = trained_gpt(options);
    model.eval();
    const nn::CausalityReport report = nn::is_causal(model, some_tokens(2, 6, 11), {.vocabulary = 11});
    CHECK_MESSAGE(report.causal, report.how);
  }
}

TEST_CASE(
    "GPT: blocks that are computed again give the same gradients, in every placement, with less memory") {
  const auto step = [](const nn::Placement& placement, bool recompute, std::int64_t& bytes) {
    GptOptions options = small_options();
    options.placement = placement;
    options.dropout = 0.2;
    options.layers = 4;
    options.recompute = recompute;
    Gpt model = trained_gpt(options);
    manual_seed(8);
    const std::int64_t before = memory_stats(cpu).live_bytes;
    const Tensor loss = cross_entropy(model(some_tokens(4, 8, 11)), some_tokens(4, 8, 11, 6));
    bytes = memory_stats(cpu).live_bytes - before;
    loss.backward();
    std::vector<Tensor> all{loss.detach()};
    for (const auto& [name, parameter] : model.named_parameters()) all.push_back(parameter.grad());
    return all;
  };
  for (const nn::Placement& placement : nn::placements()) {
    CAPTURE(placement.name);
    std::int64_t kept = 0, again = 0;
    const auto want = step(placement, false, kept), got = step(placement, true, again);
    CHECK(again < kept / 2);
    REQUIRE(want.size() == got.size());
    for (std::size_t i = 0; i < want.size(); ++i) {
      REQUIRE(want[i].defined() == got[i].defined());
      if (want[i].defined())
        CHECK(largest_difference(want[i], got[i]) <= 1e-6 * want[i].detach().abs().max().item());
    }
  }
}

TEST_CASE("GPT: a later token does not reach earlier positions") {
  for (const char* positions : {"learned", "rotary"}) {
    GptOptions options = small_options();
    options.positions = positions;
    Gpt model = trained_gpt(options);
    auto values = some_tokens(1, 8, 11).to_vector<std::int64_t>();
    const Tensor before = model(tensor(values, {1, 8}));
    values[5] = (values[5] + 1) % 11;
    const Tensor after = model(tensor(values, {1, 8}));
    CHECK(before.narrow(1, 0, 5).to_vector<float>() == after.narrow(1, 0, 5).to_vector<float>());
    CHECK(largest_difference(before.narrow(1, 5, 3), after.narrow(1, 5, 3)) > 1e-3);
  }
}

TEST_CASE("R62 GPT: pieces through the cache give the logits of one pass") {
  for (const char* positions : {"learned", "rotary"}) {
    GptOptions options = small_options();
    options.positions = positions;
    options.kv_heads = 1;
    Gpt model = trained_gpt(options);
    const NoGrad guard;
    const Tensor tokens = some_tokens(2, 8, 11);
    GptCache cache = model.make_cache();
    std::vector<Tensor> parts;
    for (const auto& [begin, length] : std::vector<std::pair<int, int>>{{0, 3}, {3, 1}, {4, 1}, {5, 3}}) {
      parts.push_back(model(tokens.narrow(1, begin, length), &cache));
    }
    CHECK(largest_difference(cat(parts, 1), model(tokens)) < 1e-5);
    CHECK_THROWS_MESSAGE_HAS(model(tokens.narrow(1, 0, 1), &cache), "9 positions exceed the context of 8");
  }
}

TEST_CASE(
    "R62 GPT: in every placement, pieces through the cache give the logits of one pass, token by token too") {
  for (const nn::Placement& placement : nn::placements()) {
    for (const char* norm : {"layer", "rms"}) {
      CAPTURE(placement.name);
      GptOptions options = small_options();
      options.placement = placement;
      options.norm = norm;
      options.positions = "rotary";
      options.kv_heads = 1;
      Gpt model = trained_gpt(options);
      const NoGrad guard;
      const Tensor tokens = some_tokens(2, 8, 11);
      GptCache cache = model.make_cache();
      std::vector<Tensor> parts{model(tokens.narrow(1, 0, 4), &cache)};
      for (std::int64_t i = 4; i < 8; ++i) parts.push_back(model(tokens.narrow(1, i, 1), &cache));
      const Tensor whole = model(tokens);
      CHECK(largest_difference(cat(parts, 1), whole) < 1e-5 * (1 + whole.abs().max().item()));
    }
  }
}

TEST_CASE("GPT: in every placement, a later token does not reach earlier logits, and all parameters learn") {
  for (const nn::Placement& placement : nn::placements()) {
    CAPTURE(placement.name);
    GptOptions options = small_options();
    options.placement = placement;
    Gpt model = trained_gpt(options);
    auto values = some_tokens(1, 8, 11).to_vector<std::int64_t>();
    const Tensor before = model(tensor(values, {1, 8}));
    values[5] = (values[5] + 1) % 11;
    const Tensor after = model(tensor(values, {1, 8}));
    CHECK(before.narrow(1, 0, 5).to_vector<float>() == after.narrow(1, 0, 5).to_vector<float>());
    cross_entropy(before, some_tokens(1, 8, 11, 6)).backward();
    for (const nn::NamedTensor& named : model.named_parameters()) {
      CAPTURE(named.first);
      REQUIRE(named.second.grad().defined());
      CHECK(named.second.grad().abs().max().item() > 0);
    }
    CHECK(model.norm.has_value() == placement.final_norm);
  }
}

TEST_CASE("R15 GPT: cap, eps, norm and records reach the layers") {
  const Tensor tokens = some_tokens(2, 8, 11);
  const auto logits = [&](auto change) {
    GptOptions options = small_options();
    change(options);
    return trained_gpt(options)(tokens);
  };
  const Tensor plain = logits([](GptOptions&) {});
  CHECK(largest_difference(plain, logits([](GptOptions& o) { o.softcap = 0.05; })) > 1e-3);
  CHECK(largest_difference(plain, logits([](GptOptions& o) { o.eps = 0.5; })) > 1e-3);
  for (const char* norm :
       {"layer_simple", "rms", "rms_inside", "prms", "l2", "scale", "dyt", "ada", "group", "none"})
    CHECK(largest_difference(plain, logits([&](GptOptions& o) { o.norm = norm; })) > 1e-3);
  GptOptions options = small_options();
  Gpt model = trained_gpt(options);
  std::vector<nn::AttentionRecord> records;
  static_cast<void>(model.features(tokens, nullptr, &records));
  REQUIRE(records.size() == 2);
  for (const nn::AttentionRecord& record : records) {
    CHECK(record.entropy.shape() == Shape{2});
    CHECK(record.entropy.max().item() <= std::log(8.0));
  }
}

TEST_CASE("GPT: options and tokens that make no sense are refused") {
  const auto refused = [](auto change) {
    GptOptions options = small_options();
    change(options);
    return message_of([&] { Gpt model(options); });
  };
  CHECK(refused([](GptOptions& o) { o.layers = 0; }).find("layers > 0") != std::string::npos);
  CHECK(refused([](GptOptions& o) { o.vocabulary = 0; }).find("vocabulary") != std::string::npos);
  CHECK(refused([](GptOptions& o) { o.heads = 3; }).find("16") != std::string::npos);
  CHECK(refused([](GptOptions& o) { o.positions = "none"; }).find("\"rotary\"") != std::string::npos);
  CHECK(refused([](GptOptions& o) { o.norm = "batchy"; }).find("batchy") != std::string::npos);
  CHECK(refused([](GptOptions& o) { o.dropout = 1; }) != "");
  CHECK(refused([](GptOptions& o) { o.softcap = 0; }).find("softcap must be finite and > 0") !=
        std::string::npos);
  CHECK(refused([](GptOptions& o) { o.placement.layer = nullptr; }).find("Placement::layer") !=
        std::string::npos);
  Gpt model(small_options());
  CHECK_THROWS_MESSAGE_HAS(model(some_tokens(1, 9, 11)), "9 positions exceed the context of 8");
  CHECK_THROWS_MESSAGE_HAS(model(Tensor()), "tokens must be i64 [batch, length]");
  CHECK_THROWS_MESSAGE_HAS(model(zeros({1, 4})), "of f32");
  CHECK_THROWS_MESSAGE_HAS(model(full({1, 4}, 11, i64)), "11");
  CHECK(model(zeros({0, 4}, i64)).shape() == Shape{0, 4, 11});
}

TEST_CASE("GPT: kernels and definitions agree on loss and gradients") {
  Gpt model = trained_gpt(small_options());
  model.to(f64);
  const Tensor tokens = some_tokens(2, 8, 11), targets = some_tokens(2, 8, 11, 6);
  const auto gradients = [&] { return grad({cross_entropy(model(tokens), targets)}, model.parameters()); };
  const auto with_kernels = gradients();
  const DefinitionsOnly definitions;
  const auto without = gradients();
  for (std::size_t i = 0; i < without.size(); ++i)
    CHECK(largest_difference(with_kernels[i], without[i]) < 1e-12);
}

TEST_CASE("R96 losses are the same bits in every run and with 1, 2, 3 and 4 threads") {
  TemporaryFolder folder;
  Settings settings = quick_settings(folder);
  settings.width = 64;  // large enough that the kernels share their work
  settings.batch = 64;
  const auto task = make_task(settings);
  const auto losses = [&](int threads) {
    const Threads scope(threads);
    manual_seed(settings.seed);
    Gpt model(gpt_options(settings, task->vocabulary_size(), task->context()));
    Trainer trainer(model, *task, settings);
    std::vector<double> all;
    for (int step = 0; step < 20; ++step) {
      const StepReport report = trainer.update();
      all.push_back(report.loss);
      all.push_back(report.gradient_norm);
    }
    return all;
  };
  const std::vector<double> expected = losses(1);
  CHECK(expected.front() > expected[38]);
  for (const int threads : {1, 2, 3, 4}) CHECK(losses(threads) == expected);
}

TEST_SUITE_END();
