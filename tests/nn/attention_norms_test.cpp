// Norms, temperature and records inside attention, against equations written out one head at a time.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/normalization.h"
#include "nn/attention.h"
#include "nn/init.h"
#include "nn/norm/norm.h"
#include "nn/norm/rms_norm.h"
#include "nn/rotary.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

using Width = AttentionNormOptions::Width;

double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return (a.detach() - b.detach()).abs().max().item();
}

MultiheadAttention attention_of(const MultiheadAttentionOptions& options, std::uint64_t seed = 5) {
  MultiheadAttention layer(options);
  layer.to(f64);
  randomize(layer, seed);
  return layer;
}

Tensor maybe(std::optional<AnyLayer>& norm, const Tensor& x) { return norm ? (*norm)(x) : x; }

/// Rows q, k, v [batch, length, d] of one head, normalized and rotated as the options say.
struct Head {
  Tensor q, k, v;
};

Head head_of(MultiheadAttention& layer, const Tensor& all, std::int64_t h) {
  const MultiheadAttentionOptions& o = layer.options();
  const std::int64_t d = o.embed_dim / o.num_heads, shared = h / (o.num_heads / o.kv_heads);
  const std::int64_t q_width = o.num_heads * d, kv_width = o.kv_heads * d;
  Tensor q = all.narrow(-1, 0, q_width), k = all.narrow(-1, q_width, kv_width),
         v = all.narrow(-1, q_width + kv_width, kv_width);
  const bool whole = o.norms.width == Width::whole;
  if (whole) q = maybe(layer.q_norm, q), k = maybe(layer.k_norm, k), v = maybe(layer.v_norm, v);
  Head head{q.narrow(-1, h * d, d), k.narrow(-1, shared * d, d), v.narrow(-1, shared * d, d)};
  const auto rotate_both = [&] {
    const RotaryTable table = rotary_table(all.size(-2), d, 0, o.rotary_base, f64);
    head.q = rotate(head.q, table), head.k = rotate(head.k, table);
  };
  if (o.rotary && o.norms.after_rotary) rotate_both();
  if (!whole) {
    head.q = maybe(layer.q_norm, head.q), head.k = maybe(layer.k_norm, head.k);
    head.v = maybe(layer.v_norm, head.v);
  }
  if (o.rotary && !o.norms.after_rotary) rotate_both();
  return head;
}

Tensor scores_of(MultiheadAttention& layer, const Head& head, std::int64_t h) {
  Tensor scores = matmul(head.q, head.k.transpose(-2, -1));
  if (layer.temperature) {
    const Tensor& weight = layer.temperature->weight;
    const Tensor number = weight.dim() == 1 ? weight : weight.select(0, h).reshape({1});
    scores = layer.options().temperature->form == TemperatureOptions::Form::divide ? scores / number
                                                                                   : scores * number;
  } else {
    scores = scores / std::sqrt(static_cast<double>(head.q.size(-1)));
  }
  return layer.options().softcap ? softcap(scores, *layer.options().softcap) : scores;
}

Tensor by_hand(MultiheadAttention& layer, const Tensor& x) {
  const bool whole = layer.options().norms.width == Width::whole;
  const Tensor all = layer.qkv_proj(x);
  std::vector<Tensor> contexts;
  for (std::int64_t h = 0; h < layer.options().num_heads; ++h) {
    const Head head = head_of(layer, all, h);
    const Tensor context = matmul(softmax(scores_of(layer, head, h)), head.v);
    contexts.push_back(whole ? context : maybe(layer.context_norm, context));
  }
  const Tensor joined = cat(contexts, -1);
  return maybe(layer.out_norm, layer.out_proj(whole ? maybe(layer.context_norm, joined) : joined));
}

MultiheadAttentionOptions with_norms(const AttentionNormOptions& norms) {
  return {.embed_dim = 12, .num_heads = 6, .kv_heads = 3, .norms = norms};
}

}  // namespace

TEST_SUITE_BEGIN("attention norms");

TEST_CASE("each norm is a switch of its own, per head and over the whole width") {
  const Tensor x = normal({2, 5, 12});
  const Tensor plain = attention_of(with_norms({}))(x);
  for (const char* method : {"layer", "rms", "rms_inside", "l2", "scale", "dyt"}) {
    for (const Width width : {Width::head, Width::whole}) {
      for (int part = 0; part < 6; ++part) {
        AttentionNormOptions norms{.width = width};
        std::string* const slots[] = {&norms.q, &norms.k, &norms.v, &norms.context, &norms.out};
        for (int slot = 0; slot < 5; ++slot) {
          if (part == slot || part == 5) *slots[slot] = method;
        }
        CAPTURE(method);
        CAPTURE(part);
        MultiheadAttention layer = attention_of(with_norms(norms));
        CHECK(difference(layer(x), by_hand(layer, x)) < 1e-12);
        CHECK(difference(layer(x), plain) > 1e-3);
      }
    }
  }
}

TEST_CASE("norms stand before the rotation, or after it") {
  const Tensor x = normal({2, 5, 8});
  for (const bool after : {false, true}) {
    MultiheadAttention layer = attention_of({.embed_dim = 8,
                                             .num_heads = 2,
                                             .rotary = true,
                                             .norms = {.q = "layer", .k = "rms", .after_rotary = after}});
    CHECK(difference(layer(x), by_hand(layer, x)) < 1e-12);
  }
}

TEST_CASE("rotation commutes with l2 and uniform rms norms, and not with a gain for each dimension") {
  const Tensor x = normal({1, 6, 8});
  const auto gap = [&](const char* method, bool uniform) {
    std::vector<Tensor> outputs;
    for (const bool after : {false, true}) {
      MultiheadAttention layer = attention_of({.embed_dim = 8,
                                               .num_heads = 2,
                                               .rotary = true,
                                               .norms = {.q = method, .k = method, .after_rotary = after}});
      for (const auto& [name, parameter] : layer.named_parameters()) {
        if (uniform && name.find("_norm.weight") != std::string::npos) init::constant_(parameter, 1.5);
      }
      outputs.push_back(layer(x));
    }
    return difference(outputs[0], outputs[1]);
  };
  CHECK(gap("l2", true) < 1e-12);
  CHECK(gap("rms", true) < 1e-12);
  CHECK(gap("rms", false) > 1e-3);
  CHECK(gap("layer", true) > 1e-3);
}

TEST_CASE("temperature takes the place of 1 / sqrt(d), for all heads or each") {
  const Tensor x = normal({2, 5, 12});
  using Form = TemperatureOptions::Form;
  for (const Form form : {Form::divide, Form::multiply}) {
    for (const std::int64_t heads : {1, 6}) {
      MultiheadAttentionOptions options = with_norms({.q = "l2", .k = "l2"});
      options.temperature = TemperatureOptions{.form = form, .heads = heads};
      options.softcap = 0.8;
      MultiheadAttention layer = attention_of(options);
      layer.temperature->weight = heads == 1 ? full({1}, 0.3, f64) : rand({6, 1, 1}, f64) + 0.2;
      CHECK(difference(layer(x), by_hand(layer, x)) < 1e-12);
    }
  }
  CHECK(TemperatureOptions::log2_of_length(72).initial == doctest::Approx(12.32).epsilon(1e-3));
  CHECK(TemperatureOptions::log2_of_length(75).initial == doctest::Approx(12.44).epsilon(1e-3));
  CHECK(TemperatureOptions::log2_of_length(79).initial == doctest::Approx(12.59).epsilon(1e-3));
}

TEST_CASE("a temperature below its smallest value counts as that") {
  Temperature temperature({.smallest = 0.5});
  temperature.to(f64);
  temperature.weight = full({1}, -3, f64);
  CHECK(temperature(tensor({1}, f64)).item() == 2);
}

TEST_CASE("the gradient of the temperature is -sum(dS S) / tau, whatever is masked") {
  MultiheadAttentionOptions options{.embed_dim = 4, .num_heads = 1, .causal = true};
  options.norms = {.q = "l2", .k = "l2"};
  options.temperature = TemperatureOptions{};
  MultiheadAttention layer = attention_of(options);
  layer.temperature->weight = full({1}, 0.7, f64);
  const Tensor x = normal({1, 4, 4}), dy = normal({1, 4, 4}, 3);
  const Tensor found = grad({layer(x)}, {layer.temperature->weight}, {dy})[0];
  CHECK(std::isfinite(found.item()));
  const double step = 1e-6;
  const auto loss = [&](double tau) {
    layer.temperature->weight = full({1}, tau, f64);
    return (layer(x).detach() * dy).sum().item();
  };
  CHECK(found.item() == doctest::Approx((loss(0.7 + step) - loss(0.7 - step)) / (2 * step)).epsilon(1e-6));
}

TEST_CASE("R51 R52 a norm on q, k or v makes attention blind to its scale") {
  const Tensor x = normal({1, 5, 8});
  for (int part = 0; part < 3; ++part) {
    for (const bool normed : {true, false}) {
      AttentionNormOptions norms;
      std::string* const slots[] = {&norms.q, &norms.k, &norms.v};
      if (normed) *slots[part] = "rms";
      MultiheadAttention layer =
          attention_of({.embed_dim = 8, .num_heads = 2, .bias = false, .norms = norms});
      const Tensor before = layer(x);
      const NoGrad guard;
      const Tensor rows = layer.qkv_proj.weight.detach().narrow(0, part * 8, 8);
      rows.copy_(rows * 1000);
      CAPTURE(part);
      if (normed) {
        CHECK(difference(layer(x), before) < 1e-4);
      } else {
        CHECK(difference(layer(x), before) > 1e-2);
      }
    }
  }
}

TEST_CASE(
    "QKV-Norm: a subspace that q and k do not read leaves the scores alone; under Pre-Norm it does not") {
  // Menary et al. 2024: x = x_a + x_b, and W_Q, W_K read x_a only.
  AttentionNormOptions norms{.q = "rms", .k = "rms", .v = "rms"};
  MultiheadAttention qkv = attention_of({.embed_dim = 8, .num_heads = 1, .bias = false, .norms = norms});
  MultiheadAttention plain = attention_of({.embed_dim = 8, .num_heads = 1, .bias = false});
  AnyLayer pre = make_norm("rms", 8);
  pre.to(f64);
  for (MultiheadAttention* layer : {&qkv, &plain}) {
    const NoGrad guard;
    layer->qkv_proj.weight.detach().narrow(0, 0, 16).narrow(1, 4, 4).fill_(0);
  }
  const Tensor x = normal({1, 5, 8}), louder = x.clone();
  louder.narrow(-1, 4, 4).copy_(x.narrow(-1, 4, 4) * 5);
  const auto entropy = [](MultiheadAttention& layer, const Tensor& u) {
    AttentionRecord record;
    static_cast<void>(layer(u, {.record = &record}));
    return record.entropy.item();
  };
  CHECK(std::abs(entropy(qkv, x) - entropy(qkv, louder)) < 1e-12);
  CHECK(std::abs(entropy(plain, x) - entropy(plain, louder)) < 1e-12);
  CHECK(std::abs(entropy(plain, pre(x)) - entropy(plain, pre(louder))) > 1e-3);
  // The attention branch does not see the scale of a token, and its context is bounded by sqrt(d_head).
  const Tensor scales = tensor({0.1, 1, 3, 10, 100}, f64).unsqueeze(1);
  CHECK(difference(qkv(x * scales), qkv(x)) < 1e-6);
  CHECK(difference(plain(x * scales), plain(x)) > 1e-2);
  MultiheadAttention bound({.embed_dim = 8, .num_heads = 2, .norms = norms});
  bound.to(f64);
  bound.out_proj.weight = eye(8, f64);
  init::zeros_(bound.out_proj.bias);
  const Tensor context = bound(x * 50).unflatten(-1, {2, 4}).norm(-1);
  CHECK(context.max().item() <= 2 + 1e-9);
}

TEST_CASE("scaling W_V scales the gradient of W_O, unless v is normalized") {
  // Orders of Theorem 1 of HybridNorm: |dS/dW_O| is |W_V| under Pre-Norm and 1 under QKV-Norm.
  const Tensor x = normal({1, 5, 8}), dy = normal({1, 5, 8}, 2);
  for (const bool normed : {true, false}) {
    AttentionNormOptions norms;
    if (normed) norms.q = norms.k = norms.v = "rms";
    MultiheadAttention layer = attention_of({.embed_dim = 8, .num_heads = 2, .bias = false, .norms = norms});
    const auto gradient = [&] { return grad({layer(x)}, {layer.out_proj.weight}, {dy})[0]; };
    const Tensor before = gradient();
    {
      const NoGrad guard;
      const Tensor rows = layer.qkv_proj.weight.detach().narrow(0, 16, 8);
      rows.copy_(rows * 10);
    }
    CHECK(difference(gradient(), before * (normed ? 1 : 10)) < 1e-6 * before.abs().max().item() * 10);
  }
}

TEST_CASE("RMSNorm on q and k with 1 / sqrt(d) is the paper's QKNorm with g = sqrt(d)") {
  const Tensor x = normal({1, 5, 8});
  MultiheadAttention rms = attention_of({.embed_dim = 8, .num_heads = 2, .norms = {.q = "rms", .k = "rms"}});
  init::ones_(rms.q_norm->get<RMSNorm>()->weight);
  init::ones_(rms.k_norm->get<RMSNorm>()->weight);
  MultiheadAttentionOptions options{.embed_dim = 8, .num_heads = 2, .norms = {.q = "l2", .k = "l2"}};
  options.temperature = TemperatureOptions{.form = TemperatureOptions::Form::multiply, .initial = 2};
  MultiheadAttention paper(options);
  paper.to(f64);
  paper.qkv_proj = rms.qkv_proj;
  paper.out_proj = rms.out_proj;
  CHECK(difference(rms(x), paper(x)) < 1e-6);  // the eps of the two are not the same
}

TEST_CASE("R62 with norms and temperature, pieces through a cache give the outputs of one pass") {
  const NoGrad guard;
  const Tensor x = normal({2, 7, 8});
  for (const bool after : {false, true}) {
    MultiheadAttentionOptions options{
        .embed_dim = 8, .num_heads = 4, .kv_heads = 2, .causal = true, .rotary = true};
    options.norms = {
        .q = "layer", .k = "layer", .v = "rms", .context = "rms", .out = "layer", .after_rotary = after};
    options.temperature = TemperatureOptions{.initial = 0.5, .heads = 4};
    MultiheadAttention layer = attention_of(options);
    KeyValueCache cache(7);
    std::vector<Tensor> parts;
    for (const std::int64_t n : {3, 1, 2, 1})
      parts.push_back(layer(x.narrow(1, cache.length(), n), {.cache = &cache}));
    CHECK(difference(cat(parts, 1), layer(x)) < 1e-12);
  }
}

TEST_CASE("a record: entropy, largest score and saturated rows of each head") {
  const std::int64_t length = 150;  // more than one block of queries
  MultiheadAttentionOptions options{
      .embed_dim = 8, .num_heads = 4, .kv_heads = 2, .causal = true, .softcap = 30};
  MultiheadAttention layer = attention_of(options);
  {
    const NoGrad guard;
    layer.qkv_proj.weight.copy_(layer.qkv_proj.weight * 4);
  }
  const Tensor x = normal({2, length, 8});
  AttentionRecord record;
  const Tensor y = layer(x, {.record = &record});
  CHECK(difference(y, layer(x)) == 0);
  const Tensor all = layer.qkv_proj(x);
  const Tensor future = ones({length, length}, f64).triu(1) > 0.5;
  for (std::int64_t h = 0; h < 4; ++h) {
    const Tensor scores = scores_of(layer, head_of(layer, all, h), h).masked_fill(future, -INFINITY);
    const Tensor p = softmax(scores);
    CHECK(record.entropy.at({h}) ==
          doctest::Approx(-(p * p.masked_fill(p == 0, 1).log()).sum(-1).mean().item()).epsilon(1e-9));
    CHECK(record.largest_score.at({h}) == doctest::Approx(scores.amax().item()).epsilon(1e-12));
    CHECK(record.saturated.at({h}) ==
          doctest::Approx((p.amax(-1) > 0.99).to(f64).mean().item()).epsilon(1e-12));
    CHECK(record.saturated.at({h}) > 0);
  }
}

TEST_CASE("a record of masked rows, of no keys, and its limits") {
  MultiheadAttention layer = attention_of({.embed_dim = 4, .num_heads = 2});
  const Tensor x = normal({1, 3, 4});
  AttentionRecord record;
  const Tensor nothing = zeros({1, 3}, f64) > 1;
  static_cast<void>(layer(x, {.key_mask = nothing, .record = &record}));
  CHECK(record.entropy.to_vector<double>() == std::vector<double>{0, 0});
  CHECK(record.largest_score.at({0}) == -INFINITY);
  const Tensor first = tensor<std::int64_t>({1, 0, 0}, {1, 3}) > 0;
  static_cast<void>(layer(x, {.key_mask = first, .record = &record}));
  CHECK(record.saturated.to_vector<double>() == std::vector<double>{1, 1});
  CHECK_THROWS_MESSAGE_HAS(record_attention(normal({2, 3}), normal({2, 3}), {}),
                           "record_attention: q must be");
  CHECK(record_attention(normal({1, 2, 0, 4}), normal({1, 2, 3, 4}), {}).entropy.to_vector<double>() ==
        std::vector<double>{0, 0});
}

TEST_CASE("bounded scores: with l2 norms none exceeds 1 / tau") {
  MultiheadAttentionOptions options{.embed_dim = 8, .num_heads = 2, .norms = {.q = "l2", .k = "l2"}};
  options.temperature = TemperatureOptions{.initial = 0.25};
  MultiheadAttention layer = attention_of(options);
  layer.temperature->weight = full({1}, 0.25, f64);
  AttentionRecord record;
  static_cast<void>(layer(normal({1, 50, 8}) * 100, {.record = &record}));
  CHECK(record.largest_score.max().item() <= 4 + 1e-12);
}

TEST_CASE("R64 R33 norm options that make no sense are refused") {
  const auto refused = [](const AttentionNormOptions& norms) {
    MultiheadAttentionOptions options = with_norms(norms);
    options.rotary = true;
    return message_of([&] { MultiheadAttention layer(options); });
  };
  CHECK(refused({.q = "median"}).find("unknown norm \"median\"") != std::string::npos);
  CHECK(refused({.width = Width::whole, .after_rotary = true}).find("per head") != std::string::npos);
  CHECK(refused({.q = "layer", .eps = -1}).find("eps") != std::string::npos);
  MultiheadAttentionOptions options = with_norms({});
  options.temperature = TemperatureOptions{.heads = 4};
  CHECK_THROWS_MESSAGE_HAS(MultiheadAttention(options),
                           "temperature needs 1 number or one for each of 6 heads");
  for (const double initial : {0.0, -1.0, std::nan(""), double(INFINITY)})
    CHECK_THROWS_MESSAGE_HAS(Temperature({.initial = initial}),
                             "Temperature: initial must be finite and > 0");
  CHECK_THROWS_MESSAGE_HAS(Temperature({.heads = 2})(normal({3, 4, 5})), "q must be [.., 2, length, d]");
  CHECK_THROWS_MESSAGE_HAS(TemperatureOptions::log2_of_length(1), "length >= 2");
}

TEST_SUITE_END();
