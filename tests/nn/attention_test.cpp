// Attention layers: masks, caches, positions, options. Numbers are those of the robustness checklist.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "nn/attention.h"
#include "nn/block.h"
#include "nn/rotary.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

MultiheadAttention attention_of(MultiheadAttentionOptions options) {
  MultiheadAttention layer(options);
  layer.to(f64);
  randomize(layer, 5);
  return layer;
}

double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return (a.detach() - b.detach()).abs().max().item();
}

Tensor bools(const std::vector<bool>& values, const Shape& shape) { return tensor(values, shape); }

// The equations, one head at a time: softmax(q k^T / sqrt(d)) v.
Tensor by_hand(MultiheadAttention& layer, const Tensor& x, const Tensor& added_mask = {}) {
  const std::int64_t embed = layer.options().embed_dim, heads = layer.options().num_heads;
  const std::int64_t kv_heads = layer.options().kv_heads, d = embed / heads;
  const Tensor all = layer.qkv_proj(x);  // [batch, length, (heads + 2 kv_heads) d]
  std::vector<Tensor> contexts;
  for (std::int64_t h = 0; h < heads; ++h) {
    const std::int64_t shared = h / (heads / kv_heads);
    const Tensor q = all.narrow(-1, h * d, d);
    const Tensor k = all.narrow(-1, (heads + shared) * d, d);
    const Tensor v = all.narrow(-1, (heads + kv_heads + shared) * d, d);
    Tensor scores = matmul(q, k.transpose(-2, -1)) / std::sqrt(static_cast<double>(d));
    if (added_mask.defined()) scores = scores + added_mask;
    contexts.push_back(matmul(softmax(scores), v));
  }
  return layer.out_proj(cat(contexts, -1));
}

}  // namespace

TEST_SUITE_BEGIN("attention layers");

TEST_CASE("the layer is its equation, with shared key heads too") {
  const Tensor x = normal({2, 5, 12});
  for (const std::int64_t kv_heads : {6, 3, 2, 1}) {
    auto layer = attention_of({.embed_dim = 12, .num_heads = 6, .kv_heads = kv_heads});
    CHECK(difference(layer(x), by_hand(layer, x)) < 1e-12);
  }
  CHECK(attention_of({.embed_dim = 12, .num_heads = 6, .kv_heads = 2}).qkv_proj.out_features() == 20);
}

TEST_CASE("a causal layer looks back only") {
  auto layer = attention_of({.embed_dim = 8, .num_heads = 2, .causal = true});
  const Tensor x = normal({1, 6, 8});
  Tensor mask = zeros({6, 6}, f64);
  for (std::int64_t q = 0; q < 6; ++q) {
    if (q < 5) mask.select(0, q).narrow(0, q + 1, 5 - q).fill_(-infinity);
  }
  CHECK(difference(layer(x), by_hand(layer, x, mask)) < 1e-12);
  const Tensor changed = x.clone();
  changed.select(1, 4).fill_(3);
  CHECK(layer(changed).narrow(1, 0, 4).to_vector<double>() == layer(x).narrow(1, 0, 4).to_vector<double>());
}

TEST_CASE("R56 a position that may attend to nothing: the bias, and finite gradients") {
  auto layer = attention_of({.embed_dim = 4, .num_heads = 2});
  const Tensor x = normal({1, 3, 4}).set_requires_grad();
  const Tensor mask = bools({true, true, false, false, false, false, true, true, true}, {3, 3});
  const Tensor y = layer(x, {.mask = mask});
  CHECK(y.select(1, 1).to_vector<double>() == layer.out_proj.bias.to_vector<double>());
  const Tensor upstream = normal({1, 3, 4}, 3);
  const auto gradients = grad({y}, {x, layer.qkv_proj.weight}, {upstream});
  for (const Tensor& gradient : gradients) CHECK(gradient.isfinite().all().item() == 1);
  // The dead position's upstream gradient reaches nothing but the bias.
  const Tensor other = upstream.clone();
  other.select(1, 1).fill_(1e3);
  const auto again = grad({layer(x, {.mask = mask})}, {x, layer.qkv_proj.weight}, {other});
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(again[i].to_vector<double>() == gradients[i].to_vector<double>());
  }
}

TEST_CASE("R57 NaN in a padded position does not reach the others") {
  auto layer = attention_of({.embed_dim = 4, .num_heads = 2});
  const Tensor x = normal({2, 3, 4});
  const Tensor key_mask = bools({true, true, false, true, true, true}, {2, 3});
  const Tensor clean = layer(x, {.key_mask = key_mask});
  x.select(0, 0).select(0, 2).fill_(std::nan(""));
  const Tensor y = layer(x, {.key_mask = key_mask});
  // Rounding may differ: where something is not finite, hidden keys are skipped one by one, not multiplied.
  CHECK(difference(y.select(0, 0).narrow(0, 0, 2), clean.select(0, 0).narrow(0, 0, 2)) < 1e-14);
  CHECK(y.select(0, 1).to_vector<double>() == clean.select(0, 1).to_vector<double>());
}

TEST_CASE("R58 masks: boolean, added -inf, padding and their combination agree") {
  auto layer = attention_of({.embed_dim = 4, .num_heads = 2});
  const Tensor x = normal({2, 3, 4});
  const Tensor may = bools({true, false, true, true, true, false, true, true, true}, {3, 3});
  const Tensor added = where(may, zeros({3, 3}, f64), full({3, 3}, -infinity, f64));
  const Tensor y = layer(x, {.mask = may});
  CHECK(difference(y, by_hand(layer, x, added)) < 1e-12);
  CHECK(difference(layer(x, {.mask = added}), y) < 1e-12);
  CHECK(difference(layer(x, {.mask = may.unsqueeze(0)}), y) < 1e-12);
  CHECK(difference(layer(x, {.mask = may.unsqueeze(0).expand({2, 3, 3})}), y) < 1e-12);
  CHECK(difference(layer(x, {.mask = may.unsqueeze(0).unsqueeze(0)}), y) < 1e-12);

  const Tensor key_mask = bools({true, true, true, true, false, true}, {2, 3});
  const Tensor both = logical_and(may.unsqueeze(0), key_mask.unsqueeze(1));  // [batch, q, k]
  const Tensor expected = layer(x, {.mask = both});
  CHECK(difference(layer(x, {.mask = may, .key_mask = key_mask}), expected) < 1e-12);
  CHECK(difference(layer(x, {.mask = added, .key_mask = key_mask}), expected) < 1e-12);
  CHECK(difference(expected, y) > 1e-3);
  CHECK_THROWS_MESSAGE_HAS(layer(x, {.key_mask = added}),
                           "key_mask must be boolean [batch, k], got f64 [3, 3]");
  CHECK_THROWS_AS(layer(x, {.mask = bools({true, true}, {1, 2})}), Error);
}

TEST_CASE("R59 a softcap comes before the mask: the future does not leak") {
  auto layer = attention_of({.embed_dim = 4, .num_heads = 1, .causal = true, .softcap = 1});
  const Tensor x = normal({1, 4, 4});
  const Tensor changed = x.clone();
  changed.select(1, 3).fill_(100);
  CHECK(layer(x).narrow(1, 0, 3).to_vector<double>() == layer(changed).narrow(1, 0, 3).to_vector<double>());
}

TEST_CASE("R15 every option changes the output") {
  const Tensor x = normal({1, 4, 8});
  const MultiheadAttentionOptions plain{.embed_dim = 8, .num_heads = 2};
  const Tensor expected = attention_of(plain)(x);
  MultiheadAttentionOptions causal = plain, rotary = plain, capped = plain, dropped = plain;
  causal.causal = rotary.rotary = true;
  capped.softcap = 0.5;
  dropped.dropout = 0.5;
  for (const auto& options : {causal, rotary, capped, dropped}) {
    CHECK(difference(attention_of(options)(x), expected) > 1e-3);
  }
  auto evaluated = attention_of(dropped);
  evaluated.eval();
  CHECK(difference(evaluated(x), expected) == 0);
  rotary.rotary_base = 10;
  CHECK(difference(attention_of(rotary)(x),
                   attention_of({.embed_dim = 8, .num_heads = 2, .rotary = true})(x)) > 1e-4);
}

TEST_CASE("R60 lengths and head sizes that are no multiple of a block") {
  for (const std::int64_t length : {1, 2, 7, 49, 64, 65}) {
    for (const std::int64_t d : {1, 3, 32, 33}) {
      CAPTURE(length);
      CAPTURE(d);
      auto layer = attention_of({.embed_dim = 2 * d, .num_heads = 2, .causal = true});
      const Tensor x = normal({2, length, 2 * d}).set_requires_grad();
      const Tensor upstream = normal(x.shape(), 8);
      const Tensor y = layer(x);
      const auto dx = grad({y}, {x, layer.qkv_proj.weight}, {upstream});
      const DefinitionsOnly definitions;
      const Tensor expected = layer(x);
      const auto expected_dx = grad({expected}, {x, layer.qkv_proj.weight}, {upstream});
      CHECK(difference(y, expected) < 1e-10);
      CHECK(difference(dx[0], expected_dx[0]) < 1e-10);
      CHECK(difference(dx[1], expected_dx[1]) < 1e-9);
    }
  }
}

TEST_CASE("R61 R62 with a cache, in pieces of any length, the outputs are those of one pass") {
  const NoGrad no_grad;
  const Tensor x = normal({2, 7, 8});
  for (const bool rotary : {false, true}) {
    auto layer =
        attention_of({.embed_dim = 8, .num_heads = 4, .kv_heads = 2, .causal = true, .rotary = rotary});
    const Tensor whole = layer(x);
    for (const std::vector<std::int64_t>& pieces :
         {std::vector<std::int64_t>{1, 1, 1, 1, 1, 1, 1}, {4, 1, 2}, {7}}) {
      KeyValueCache cache(7);
      std::vector<Tensor> parts;
      for (const std::int64_t n : pieces) {
        parts.push_back(layer(x.narrow(1, cache.length(), n), {.cache = &cache}));
      }
      CHECK(cache.length() == 7);
      CHECK(difference(cat(parts, 1), whole) < 1e-12);
    }
  }
}

TEST_CASE("R62 a block generates from its cache") {
  const NoGrad no_grad;
  PreNormBlock block({.attention = {.embed_dim = 8, .num_heads = 2, .causal = true, .rotary = true}});
  const Tensor x = normal({1, 5, 8}).to(f32);
  const Tensor whole = block(x);
  KeyValueCache cache(5);
  for (std::int64_t i = 0; i < 5; ++i) {
    CHECK(difference(block(x.narrow(1, i, 1), {.cache = &cache}), whole.narrow(1, i, 1)) < 1e-5);
  }
}

TEST_CASE("R62 cache misuse is refused and changes nothing") {
  auto layer = attention_of({.embed_dim = 4, .num_heads = 2, .causal = true});
  KeyValueCache cache(3);
  CHECK_THROWS_MESSAGE_HAS(layer(normal({1, 1, 4}), {.cache = &cache}), "generate inside NoGrad");
  const NoGrad no_grad;
  layer(normal({1, 2, 4}), {.cache = &cache});
  CHECK_THROWS_MESSAGE_HAS(layer(normal({1, 2, 4}), {.cache = &cache}),
                           "KeyValueCache: holds 2 of 3 positions, 2 more do not fit");
  CHECK_THROWS_MESSAGE_HAS(layer(normal({2, 1, 4}), {.cache = &cache}), "must be like the cached ones");
  CHECK(cache.length() == 2);
  cache.clear();
  layer(normal({2, 3, 4}), {.cache = &cache});
  CHECK(cache.length() == 3);
  cache.clear(1);
  CHECK(cache.length() == 1);
  CHECK_THROWS_MESSAGE_HAS(cache.clear(2), "clear needs a length in [0, 1], got 2");
  CHECK_THROWS_MESSAGE_HAS(KeyValueCache(0), "capacity must be > 0, got 0");
}

TEST_CASE("rotary: scores depend on the distance of positions only, lengths are kept") {
  const Tensor q = normal({1, 6}, 1), k = normal({1, 6}, 2);
  const auto score = [&](std::int64_t i, std::int64_t j) {
    return (rotate(q, rotary_table(1, 6, i, 100, f64)) * rotate(k, rotary_table(1, 6, j, 100, f64)))
        .sum()
        .item();
  };
  CHECK(score(3, 1) == doctest::Approx(score(12, 10)).epsilon(1e-12));
  CHECK(score(3, 1) != doctest::Approx(score(3, 2)).epsilon(1e-6));
  const Tensor x = normal({2, 5, 6});
  const Tensor y = rotate(x, rotary_table(5, 6, 0, 100, f64));
  CHECK(difference(y.norm(-1), x.norm(-1)) < 1e-12);
  CHECK(y.select(1, 0).to_vector<double>() == x.select(1, 0).to_vector<double>());
  // Pair (1, 4) of position 2 turns by 2 * 100^(-2/6).
  const double angle = 2 * std::pow(100, -2.0 / 6);
  CHECK(
      y.at({0, 2, 1}) ==
      doctest::Approx(x.at({0, 2, 1}) * std::cos(angle) - x.at({0, 2, 4}) * std::sin(angle)).epsilon(1e-12));
  CHECK_THROWS_MESSAGE_HAS(rotary_table(2, 5), "d must be even and > 0, got 5");
  CHECK_THROWS_MESSAGE_HAS(rotate(x, rotary_table(4, 6)), "rotate: x must be [.., 4, 6]");
}

TEST_CASE("R33 R64 options out of range are refused at construction") {
  const auto make = [](MultiheadAttentionOptions options) { return MultiheadAttention(options); };
  CHECK_THROWS_MESSAGE_HAS(make({.embed_dim = 6, .num_heads = 4}),
                           "MultiheadAttention: embed_dim (6) is not divisible by num_heads (4)");
  CHECK_THROWS_MESSAGE_HAS(make({.embed_dim = 6, .num_heads = 0}), "needs embed_dim > 0 and num_heads > 0");
  CHECK_THROWS_MESSAGE_HAS(make({.embed_dim = 6, .num_heads = -1}), "needs embed_dim > 0 and num_heads > 0");
  CHECK_THROWS_MESSAGE_HAS(make({.num_heads = 2}), "needs embed_dim > 0 and num_heads > 0, got 0 and 2");
  CHECK_THROWS_MESSAGE_HAS(make({.embed_dim = 12, .num_heads = 6, .kv_heads = 4}),
                           "num_heads (6) is not divisible by kv_heads (4)");
  CHECK_THROWS_MESSAGE_HAS(make({.embed_dim = 12, .num_heads = 6, .kv_heads = -1}), "kv_heads must be >= 0");
  CHECK_THROWS_MESSAGE_HAS(make({.embed_dim = 6, .num_heads = 2, .rotary = true}),
                           "rotary needs an even head size, got 3");
  CHECK_THROWS_MESSAGE_HAS(make({.embed_dim = 6, .num_heads = 2, .dropout = 1}), "dropout must be in [0, 1)");
  for (const double cap : {0.0, -1.0, infinity, std::nan("")}) {
    CHECK_THROWS_MESSAGE_HAS(make({.embed_dim = 6, .num_heads = 2, .softcap = cap}),
                             "softcap must be finite and > 0");
  }
}

TEST_SUITE_END();
