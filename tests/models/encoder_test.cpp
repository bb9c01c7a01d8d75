#include "models/encoder.h"

#include <doctest/doctest.h>

#include <set>

#include "autograd/ops.h"
#include "nn/optim/optimizer.h"
#include "tests/messages.h"
#include "tests/models/small_gpt.h"

using namespace norma;
using namespace norma::models;
using namespace norma::tests;

namespace {

EncoderOptions small() { return {.vocabulary = 11, .context = 8, .layers = 2, .heads = 2, .width = 16}; }

Encoder trained(const EncoderOptions& options) {
  manual_seed(3);
  Encoder model(options);
  const NoGrad guard;
  for (const Tensor& parameter : model.parameters())
    parameter.copy_(parameter + randn(parameter.shape(), parameter.dtype()) * 0.3);
  return model;
}

}  // namespace

TEST_SUITE_BEGIN("encoder");

TEST_CASE("Encoder: names and shapes are BERT's layout") {
  MaskedLanguageModel model(small());
  std::set<std::string> names;
  for (const auto& [name, parameter] : model.named_parameters()) names.insert(name);
  for (const char* name : {"encoder.token_embedding.weight", "encoder.position_embedding.weight",
                           "encoder.segment_embedding.weight", "encoder.embedding_norm.weight",
                           "encoder.blocks.1.norm2.bias", "dense.weight", "norm.weight", "bias"})
    CHECK_MESSAGE(names.contains(name), name);
  CHECK_FALSE(names.contains("encoder.norm.weight"));  // Post-Norm ends in a norm of its own
  CHECK(model(some_tokens(3, 5, 11)).shape() == Shape{3, 5, 11});
  SequenceClassifier classifier(small(), 4);
  CHECK(classifier(some_tokens(3, 5, 11)).shape() == Shape{3, 4});
  CHECK(classifier(some_tokens(0, 5, 11)).shape() == Shape{0, 4});
}

TEST_CASE("Encoder: Post-Norm blocks on normalized embeddings, written out") {
  Encoder model = trained(small());
  const Tensor tokens = some_tokens(2, 6, 11), segments = some_tokens(2, 6, 2, 8);
  Tensor x = model.token_embedding(tokens) + model.position_embedding.weight.narrow(0, 0, 6) +
             (*model.segment_embedding)(segments);
  x = model.embedding_norm(x);
  for (nn::TransformerBlock& block : model.blocks) {
    x = block.norm1(x + block.attention(x));
    x = block.norm2(x + block.ffn(x));
  }
  CHECK(largest_difference(model(tokens, {.segments = segments}), x) < 1e-5);
  CHECK(largest_difference(model(tokens), model(tokens, {.segments = zeros({2, 6}, i64)})) < 1e-6);
  CHECK(largest_difference(model(tokens), model(tokens, {.segments = segments})) > 1e-3);
}

TEST_CASE("Encoder: in every placement it looks both ways, and never at padding") {
  for (const nn::Placement& placement : nn::placements()) {
    CAPTURE(placement.name);
    EncoderOptions options = small();
    options.placement = placement;
    Encoder model = trained(options);
    auto values = some_tokens(1, 8, 11).to_vector<std::int64_t>();
    const Tensor before = model(tensor(values, {1, 8}));
    const Tensor mask = tensor<std::int64_t>({1, 1, 1, 1, 1, 0, 0, 0}, {1, 8}) > 0;
    const Tensor padded = model(tensor(values, {1, 8}), {.key_mask = mask});
    for (std::size_t i = 5; i < 8; ++i) values[i] = (values[i] + 3) % 11;
    CHECK(largest_difference(before.narrow(1, 0, 5), model(tensor(values, {1, 8})).narrow(1, 0, 5)) > 1e-4);
    const Tensor other = model(tensor(values, {1, 8}), {.key_mask = mask});
    CHECK(padded.narrow(1, 0, 5).to_vector<float>() == other.narrow(1, 0, 5).to_vector<float>());
    const Tensor short_one = model(tensor(values, {1, 8}).narrow(1, 0, 5));
    CHECK(largest_difference(padded.narrow(1, 0, 5), short_one) < 1e-4 * (1 + short_one.abs().max().item()));
    CHECK(model.norm.has_value() == placement.final_norm);
  }
}

TEST_CASE("mask_tokens: shares, targets, candidates") {
  Generator generator(1);
  const Tensor tokens = randint(1, 50, {200, 100}, cpu, &generator);
  const Tensor candidates = rand({200, 100}, f64, cpu, &generator) < 0.5;
  const MaskedTokens masked = mask_tokens(
      tokens, {.mask_token = 0, .vocabulary = 50, .probability = 0.3, .candidates = candidates}, &generator);
  const Tensor asked = masked.targets != -100;
  const auto share = [](const Tensor& x) { return x.to(f64).mean().item(); };
  CHECK(share(asked) == doctest::Approx(0.15).epsilon(0.05));
  CHECK(logical_and(asked, logical_not(candidates)).any().item() == 0);
  CHECK(logical_and(asked, masked.targets != tokens).any().item() == 0);
  CHECK(logical_and(logical_not(asked), masked.tokens != tokens).any().item() == 0);
  const double all = share(asked);
  CHECK(share(logical_and(asked, masked.tokens == 0)) / all == doctest::Approx(0.8 + 0.1 / 50).epsilon(0.05));
  CHECK(share(logical_and(asked, masked.tokens == tokens)) / all ==
        doctest::Approx(0.1 + 0.1 / 50).epsilon(0.15));
  CHECK_THROWS_MESSAGE_HAS(mask_tokens(tokens, {.mask_token = 50, .vocabulary = 50}),
                           "mask_token must lie in");
  CHECK_THROWS_MESSAGE_HAS(mask_tokens(tokens, {.probability = 2}), "probability must lie in [0, 1], got 2");
  CHECK_THROWS_MESSAGE_HAS(mask_tokens(zeros({2}), {}), "tokens must be i64");
}

TEST_CASE("Encoder: both heads learn") {
  // Tokens 1 .. 10 in order from a random start; the masked one follows from its neighbours, the class is the
  // start.
  const auto batch = [](Generator& generator) {
    const Tensor start = randint(0, 10, {32, 1}, cpu, &generator);
    Tensor values = start.to(f64) + arange(0, 8, 1, f64);
    values = values - floor(values / 10) * 10 + 1;
    return std::pair{values.to(i64), start.squeeze(1)};
  };
  EncoderOptions options = small();
  options.width = 32;
  manual_seed(2);
  MaskedLanguageModel filler(options);
  nn::AdamW optimizer(filler.parameters(), {.lr = 3e-3});
  Generator generator(7);
  for (int step = 0; step < 150; ++step) {
    const MaskedTokens masked = mask_tokens(batch(generator).first, {.vocabulary = 11}, &generator);
    optimizer.zero_grad();
    cross_entropy(filler(masked.tokens), masked.targets).backward();
    optimizer.step();
  }
  const auto [tokens, start] = batch(generator);
  const Tensor hidden = tokens.clone();
  hidden.select(1, 4).fill_(0);
  const Tensor found = filler(hidden).select(1, 4).argmax(-1);
  CHECK((found == tokens.select(1, 4)).to(f64).mean().item() > 0.95);

  SequenceClassifier classifier(options, 10);
  nn::AdamW second(classifier.parameters(), {.lr = 3e-3});
  for (int step = 0; step < 60; ++step) {
    const auto [x, y] = batch(generator);
    second.zero_grad();
    cross_entropy(classifier(x), y).backward();
    second.step();
  }
  CHECK((classifier(tokens).argmax(-1) == start).to(f64).mean().item() > 0.95);
}

TEST_CASE("Encoder: options and inputs that make no sense are refused") {
  const auto refused = [](auto change) {
    EncoderOptions options = small();
    change(options);
    return message_of([&] { Encoder model(options); });
  };
  CHECK(refused([](EncoderOptions& o) { o.layers = 0; }).find("layers > 0") != std::string::npos);
  CHECK(refused([](EncoderOptions& o) { o.segments = -1; }).find("segments must be >= 0") !=
        std::string::npos);
  CHECK(refused([](EncoderOptions& o) { o.norm = "big"; }).find("unknown norm \"big\"") != std::string::npos);
  EncoderOptions options = small();
  options.segments = 0;
  Encoder model(options);
  const Tensor tokens = some_tokens(1, 4, 11);
  CHECK_THROWS_MESSAGE_HAS(model(tokens, {.segments = tokens}), "has no segment embedding");
  CHECK_THROWS_MESSAGE_HAS(model(some_tokens(1, 9, 11)), "9 positions exceed the context of 8");
  CHECK_THROWS_MESSAGE_HAS(model(Tensor()), "tokens must be i64 [batch, length]");
  CHECK_THROWS_MESSAGE_HAS(SequenceClassifier(small(), 3)(some_tokens(2, 0, 11)), "at least one position");
  Encoder segmented(small());
  CHECK_THROWS_MESSAGE_HAS(segmented(tokens, {.segments = some_tokens(1, 3, 2)}),
                           "segments must be i64 [1, 4]");
  CHECK_THROWS_MESSAGE_HAS(model(tokens, {.key_mask = tokens}), "key_mask must be boolean");
}

TEST_SUITE_END();
