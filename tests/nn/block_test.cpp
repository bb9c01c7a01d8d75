// Feed-forward layers, residual schemes and blocks: each is its equation.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/block.h"
#include "nn/feed_forward.h"
#include "nn/init.h"
#include "nn/loss.h"
#include "nn/norm/layer_norm.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return (a.detach() - b.detach()).abs().max().item();
}

template <class Layer>
Layer in_f64(Layer layer) {
  layer.to(f64);
  randomize(layer, 6);
  return layer;
}

}  // namespace

TEST_SUITE_BEGIN("blocks");

TEST_CASE("activations by name are the functions of that name") {
  const double x = 0.7;
  const double cubic = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
  const std::pair<const char*, double> expected[] = {
      {"relu", x},
      {"gelu", x / 2 * (1 + std::erf(x / std::sqrt(2.0)))},
      {"gelu_tanh", x / 2 * (1 + std::tanh(cubic))},
      {"silu", x / (1 + std::exp(-x))},
      {"tanh", std::tanh(x)},
      {"sigmoid", 1 / (1 + std::exp(-x))},
      {"softplus", std::log1p(std::exp(x))},
      {"identity", x},
  };
  for (const auto& row : expected) {
    CAPTURE(row.first);
    CHECK(Activation(row.first)(Tensor::scalar(x, f64)).item() == doctest::Approx(row.second).epsilon(1e-12));
  }
  CHECK(ReLU()(Tensor::scalar(-1)).item() == 0);
  CHECK(GELU(Gelu::tanh)(Tensor::scalar(x, f64)).item() ==
        doctest::Approx(expected[2].second).epsilon(1e-12));
}

TEST_CASE("feed-forward layers") {
  const Tensor x = normal({3, 6});
  auto gelu_layer = in_f64(FeedForward({.embed_dim = 6}));
  CHECK(gelu_layer.up_proj.out_features() == 24);
  CHECK(difference(gelu_layer(x), gelu_layer.down_proj(gelu(gelu_layer.up_proj(x)))) == 0);
  auto relu_layer =
      in_f64(FeedForward({.embed_dim = 6, .hidden_dim = 5, .activation = "relu", .bias = false}));
  CHECK(relu_layer.up_proj.out_features() == 5);
  CHECK_FALSE(relu_layer.up_proj.bias.defined());
  CHECK(difference(relu_layer(x), relu_layer.down_proj(relu(relu_layer.up_proj(x)))) == 0);
  auto gated = in_f64(SwiGLU({.embed_dim = 6}));
  CHECK(gated.gate_proj.out_features() == 16);
  const Tensor gate = gated.gate_proj(x);
  CHECK(difference(gated(x), gated.down_proj(gate * gate.sigmoid() * gated.up_proj(x))) < 1e-12);
  CHECK(make_feed_forward("swiglu", 6, 4).get<SwiGLU>() != nullptr);
  CHECK(make_feed_forward("relu", 6, 4).get<FeedForward>()->activation.describe() == "relu");
  CHECK_THROWS_MESSAGE_HAS(make_feed_forward("maxout", 6), "Activation: unknown name \"maxout\"");
  CHECK_THROWS_MESSAGE_HAS(FeedForward({.hidden_dim = 4}), "FeedForward: needs embed_dim > 0");
}

TEST_CASE("R53 a Pre-Norm block is its equation") {
  auto block = in_f64(PreNormBlock({.attention = {.embed_dim = 8, .num_heads = 2, .causal = true}}));
  const Tensor x = normal({2, 4, 8});
  const Tensor h = x + block.attention(block.norm1(x));
  CHECK(difference(block(x), h + block.ffn(block.norm2(h))) == 0);
  CHECK(block.norm1.get<LayerNorm>() != nullptr);
}

TEST_CASE("a Pre-Norm block whose sublayers give zero is the identity") {
  auto block = in_f64(PreNormBlock({.attention = {.embed_dim = 8, .num_heads = 2}}));
  for (Linear* last : {&block.attention.out_proj, &block.ffn.get<FeedForward>()->down_proj}) {
    init::zeros_(last->weight);
    init::zeros_(last->bias);
  }
  const Tensor x = normal({2, 4, 8});
  CHECK(difference(block(x), x) == 0);
}

TEST_CASE("block options reach their layers") {
  const MultiheadAttentionOptions attention{.embed_dim = 8, .num_heads = 2};
  const Tensor x = normal({1, 4, 8});
  const Tensor plain = in_f64(PreNormBlock({.attention = attention}))(x);
  CHECK(difference(in_f64(PreNormBlock({.attention = attention, .feed_forward = "relu"}))(x), plain) > 1e-3);
  CHECK(difference(in_f64(PreNormBlock({.attention = attention, .eps = 0.5}))(x), plain) > 1e-3);
  CHECK(PreNormBlock({.attention = attention, .norm = "rms"}).named_parameters()[1].first ==
        "attention.qkv_proj.weight");
  CHECK(PreNormBlock({.attention = attention, .hidden_dim = 5})
            .ffn.get<FeedForward>()
            ->up_proj.out_features() == 5);
  auto dropped = in_f64(PreNormBlock({.attention = attention, .dropout = 0.5}));
  CHECK(difference(dropped(x), plain) > 1e-3);
  dropped.eval();
  CHECK(difference(dropped(x), plain) == 0);
}

TEST_CASE("dropout falls on the output of both sublayers") {
  const Tensor x = normal({4, 50, 8});
  for (const bool keep_attention : {true, false}) {
    auto block = in_f64(PreNormBlock({.attention = {.embed_dim = 8, .num_heads = 2}, .dropout = 0.25}));
    Linear& silenced = keep_attention ? block.ffn.get<FeedForward>()->down_proj : block.attention.out_proj;
    init::zeros_(silenced.weight);
    init::zeros_(silenced.bias);
    const double dropped = (block(x) == x).to(f64).mean().item();
    CHECK(dropped == doctest::Approx(0.25).epsilon(0.2));
  }
}

TEST_CASE("a block hands masks on") {
  auto block = in_f64(PreNormBlock({.attention = {.embed_dim = 4, .num_heads = 1}}));
  const Tensor x = normal({1, 3, 4});
  const Tensor lower = (ones({3, 3}, f64).tril() > 0.5);
  const Tensor changed = x.clone();
  changed.select(1, 2).fill_(9);
  const Tensor y = block(x, {.mask = lower}), z = block(changed, {.mask = lower});
  CHECK(difference(y.narrow(1, 0, 2), z.narrow(1, 0, 2)) == 0);
  CHECK(difference(block(x).narrow(1, 0, 2), block(changed).narrow(1, 0, 2)) > 1e-3);
}

TEST_CASE("losses pass their options on") {
  const Tensor logits = normal({4, 3}), targets = tensor<std::int64_t>({0, 2, 1, 1}, {4});
  CHECK(CrossEntropyLoss({.ignore_index = 1, .reduction = Reduction::sum})(logits, targets).item() ==
        cross_entropy(logits, targets, {.ignore_index = 1, .reduction = Reduction::sum}).item());
  CHECK(MSELoss(Reduction::none)(logits, logits * 2).shape() == logits.shape());
  CHECK(MSELoss()(logits, logits + 3).item() == doctest::Approx(9));
  CHECK(BCEWithLogitsLoss()(zeros({2}), ones({2})).item() == doctest::Approx(std::log(2.0)));
}

TEST_SUITE_END();
