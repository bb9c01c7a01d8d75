#include "nn/causality.h"

#include <doctest/doctest.h>

#include "autograd/normalization.h"
#include "autograd/ops.h"
#include "nn/attention.h"
#include "nn/block.h"
#include "nn/dropout.h"
#include "nn/embedding.h"
#include "nn/norm/batch_norm.h"
#include "nn/norm/norm.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

// Statistics over batch and length, as batch normalization takes them while training.
Tensor over_all_positions(const Tensor& x) {
  return (x - x.mean({0, 1}, keepdim)) / (x.var({0, 1}, false, keepdim) + 1e-5).sqrt();
}

struct BatchNormOverTime : Module {
  BatchNorm1d norm{8};
  Tensor operator()(const Tensor& x) { return norm(x.transpose(1, 2)).transpose(1, 2); }
  NORMA_PARTS(norm)
};

MultiheadAttentionOptions attention(bool causal) {
  return {.embed_dim = 8, .num_heads = 2, .causal = causal, .rotary = true};
}

}  // namespace

TEST_SUITE_BEGIN("causality");

TEST_CASE("norms of one position each are causal") {
  const Tensor x = normal({2, 5, 8});
  for (const NormInfo& info : norm_methods()) {
    CAPTURE(info.name);
    AnyLayer norm = make_norm(info.name, 8);
    norm.to(f64);
    const CausalityReport report = is_causal(norm, x);
    CAPTURE(report.how);
    CHECK(report.causal == info.per_token);
    if (info.per_token) CHECK(report.position == -1);
  }
}

TEST_CASE("every placement with norms of one position each is causal, by value and by gradient") {
  for (const Placement& placement : placements()) {
    CAPTURE(placement.name);
    for (const std::int64_t layer : {0, 3}) {  // where they differ: the first and the last
      TransformerBlock block({.attention = attention(true), .norm = "rms"}, placement.layer(layer, 4));
      block.to(f64);
      randomize(block, 7);
      const CausalityReport report = is_causal(block, normal({2, 5, 8}));
      CHECK_MESSAGE(report.causal, report.how);
    }
  }
}

TEST_CASE("batch norm over a sequence is causal in eval mode alone, and is left as it was") {
  BatchNormOverTime norm;
  norm.to(f64);
  const Tensor x = normal({2, 5, 8});
  norm.train();
  const CausalityReport report = is_causal(norm, x);
  CHECK((!report.causal && report.position == 0));
  CHECK(norm.is_training());
  CHECK(norm.norm.num_batches_tracked.item() == 0);
  CHECK(norm.norm.running_mean.abs().max().item() == 0);
  norm(x);
  norm.eval();
  CHECK(is_causal(norm, x));
}

TEST_CASE("statistics over positions are not") {
  const CausalityReport report = is_causal(over_all_positions, normal({2, 5, 8}));
  CHECK_FALSE(report);
  CHECK(report.position == 0);
  CHECK(report.how == "the output at 0 changes with the inputs after 0");
}

TEST_CASE("attention is causal when it is told to be, in f32 and f64, by kernel and by definition") {
  for (const DType dtype : {f32, f64}) {
    for (const bool causal : {true, false}) {
      MultiheadAttention layer(attention(causal));
      layer.to(dtype);
      const Tensor x = normal({2, 7, 8}).to(dtype);
      CHECK(is_causal(layer, x).causal == causal);
      const DefinitionsOnly guard;
      CHECK(is_causal(layer, x).causal == causal);
      PreNormBlock block({.attention = attention(causal)});
      block.to(dtype);
      CHECK(is_causal(block, x).causal == causal);
    }
  }
}

TEST_CASE("a leak by value alone, or by gradient alone, is found where it is") {
  const Tensor x = normal({1, 6, 3});
  const auto next = [](const Tensor& in) { return cat({in.narrow(1, 1, 5), in.narrow(1, 0, 1)}, 1); };
  // position 2 looks ahead, the others do not
  const Tensor only_2 = (arange(0, 6, 1, f64) == 2).to(f64).reshape({1, 6, 1});
  const CausalityReport value =
      is_causal([&](const Tensor& in) { return in + next(in).detach() * only_2; }, x);
  CHECK((!value.causal && value.position == 2));
  CHECK(value.how == "the output at 2 changes with the inputs after 2");
  const auto silent = [&](const Tensor& in) {
    const Tensor ahead = next(in) * only_2;
    return in + (ahead - ahead.detach());  // 0, with a gradient
  };
  const CausalityReport gradient = is_causal(silent, x);
  CHECK((!gradient.causal && gradient.position == 2));
  CHECK(gradient.how.starts_with("the gradient of the output at 2 with respect to the input at 3 is up to"));
}

TEST_CASE("models of tokens are asked by value") {
  manual_seed(3);
  Embedding table(9, 8);
  for (const bool causal : {true, false}) {
    MultiheadAttention layer(attention(causal));
    const auto model = [&](const Tensor& tokens) { return layer(table(tokens)); };
    CHECK(is_causal(model, randint(0, 9, {2, 6})).causal == causal);
    CHECK(is_causal(model, zeros({1, 6}, i64), {.vocabulary = 9}).causal == causal);
    CHECK_THROWS_MESSAGE_HAS(is_causal(model, zeros({1, 6}, i64)), "need a vocabulary");
  }
}

TEST_CASE("dropout is no leak, and the generator stands where it stood") {
  Dropout dropout(0.5);
  const Tensor x = normal({2, 4, 3});
  manual_seed(11);
  CHECK(is_causal(dropout, x));
  CHECK(default_generator().state().offset == 0);
}

TEST_CASE("parameters keep their gradients") {
  MultiheadAttention layer(attention(true));
  CHECK(is_causal(layer, normal({1, 4, 8}).to(f32)));
  for (const Tensor& parameter : layer.parameters()) CHECK_FALSE(parameter.grad().defined());
}

TEST_CASE("inputs that have no positions are refused; one position is causal") {
  const auto same = [](const Tensor& x) { return x; };
  CHECK(is_causal(same, normal({3, 1, 2})));
  CHECK_THROWS_MESSAGE_HAS(is_causal(same, normal({3})), "must be [batch, length, ..]");
  CHECK_THROWS_MESSAGE_HAS(is_causal(same, normal({3, 0})), "at least one element");
  CHECK_THROWS_MESSAGE_HAS(is_causal(same, zeros({2, 2}, boolean)), "floating dtype or i64");
  CHECK_THROWS_MESSAGE_HAS(is_causal([](const Tensor& x) { return x.sum(1, keepdim); }, normal({3, 4, 2})),
                           "the output must begin with the input's batch and length");
}

TEST_SUITE_END();
