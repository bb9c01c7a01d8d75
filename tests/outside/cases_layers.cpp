#include "nn/activation.h"
#include "nn/block.h"
#include "nn/dropout.h"
#include "nn/embedding.h"
#include "nn/feed_forward.h"
#include "nn/rotary.h"
#include "tests/outside/cases.h"

namespace norma::tests::outside {
namespace {

using In = Tensors&;
using Opt = const CaseOptions&;

nn::TemperatureOptions temperature_options(const CaseOptions& o, const char* form) {
  using Form = nn::TemperatureOptions::Form;
  return {.form = o.text(form) == "divide" ? Form::divide : Form::multiply,
          .heads = o.integer(o.has("temperature_heads") ? "temperature_heads" : "heads"),
          .logarithm = o.flag("logarithm")};
}

nn::MultiheadAttentionOptions attention_options(const CaseOptions& o) {
  nn::MultiheadAttentionOptions options;
  options.embed_dim = o.integer("embed_dim");
  options.num_heads = o.integer("num_heads");
  options.kv_heads = o.integer("kv_heads");
  options.bias = o.flag("bias");
  options.out_bias = o.flag("out_bias");
  options.causal = o.flag("causal");
  options.rotary = o.flag("rotary");
  if (o.number("softcap") > 0) options.softcap = o.number("softcap");
  if (!o.has("whole")) return options;
  const auto method = [&](const char* key) { return o.text(key) == "none" ? std::string() : o.text(key); };
  options.norms = {.q = method("q_norm"),
                   .k = method("k_norm"),
                   .v = method("v_norm"),
                   .context = method("context_norm"),
                   .out = method("out_norm"),
                   .eps = o.number("norm_eps"),
                   .after_rotary = o.flag("after_rotary")};
  if (o.flag("whole")) options.norms.width = nn::AttentionNormOptions::Width::whole;
  if (o.text("temperature") != "none") options.temperature = temperature_options(o, "temperature");
  return options;
}

Tensors multihead_attention(Tensors& in, const CaseOptions& o) {
  nn::MultiheadAttention attention(attention_options(o));
  take_parameters(attention, in, o);
  const std::string& kind = o.text("mask");
  nn::AttentionInputs inputs;
  if (kind == "padding") {
    inputs.key_mask = in[1];
  } else if (kind != "none") {
    inputs.mask = in[1];
  }
  if (kind == "both") inputs.key_mask = in[2];
  return {attention(in[0], inputs)};
}

/// The first positions, then the others one by one, through one cache.
Tensors cached_attention(Tensors& in, const CaseOptions& o) {
  nn::MultiheadAttention attention(attention_options(o));
  take_parameters(attention, in, o);
  const NoGrad no_grad;
  const std::int64_t length = in[0].size(1), first = o.integer("first");
  nn::KeyValueCache cache(length);
  const nn::AttentionInputs inputs{.cache = &cache};
  Tensors parts{attention(in[0].narrow(1, 0, first), inputs)};
  for (std::int64_t i = first; i < length; ++i) parts.push_back(attention(in[0].narrow(1, i, 1), inputs));
  return {cat(parts, 1)};
}

nn::BlockOptions block_options(const CaseOptions& o) {
  nn::BlockOptions options;
  options.attention = attention_options(o);
  options.feed_forward = o.text("feed_forward");
  options.hidden_dim = o.integer("hidden_dim");
  options.norm = o.text("norm");
  options.eps = o.number("eps");
  return options;
}

Tensors transformer_block(Tensors& in, const CaseOptions& o) {
  const nn::Placement placement = nn::make_placement(o.text("placement"));
  const nn::LayerPlacement layer = placement.layer(o.integer("layer"), o.integer("layers"));
  return with_parameters(nn::TransformerBlock(block_options(o), layer), in, o);
}

/// x * 10 as a layer.
class TimesTen : public nn::Module {
 public:
  Tensor operator()(const Tensor& x) const { return x * 10; }
  NORMA_PARTS()
};

Tensors placement_schemes(Tensors& in, const CaseOptions& o) {
  const nn::Placement placement = nn::make_placement(o.text("placement"));
  const nn::LayerPlacement layer = placement.layer(o.integer("layer"), o.integer("layers"));
  nn::AnyLayer ten = TimesTen();
  nn::Stream x(in[0]);
  for (const nn::Residual* scheme : {&layer.attention, &layer.ffn})
    x = scheme->apply(x, {ten, ten}, [](const Tensor& u) { return u + 1; });
  return {x.value()};
}

Tensors sequential(Tensors& in, const CaseOptions& o) {
  const std::int64_t hidden = o.integer("hidden");
  nn::Sequential row(nn::Linear(in[0].size(-1), hidden), nn::Tanh());
  row.push_back(nn::Linear(hidden, o.integer("out")));
  take_parameters(row, in, o);
  return {row(in[0])};
}

std::vector<Row> activation_rows() {
  return {
      {"Identity", [](In in, Opt) -> Tensors { return {nn::Identity()(in[0])}; }},
      {"ReLU", [](In in, Opt) -> Tensors { return {nn::ReLU()(in[0])}; }},
      {"SiLU", [](In in, Opt) -> Tensors { return {nn::SiLU()(in[0])}; }},
      {"Tanh", [](In in, Opt) -> Tensors { return {nn::Tanh()(in[0])}; }},
      {"Sigmoid", [](In in, Opt) -> Tensors { return {nn::Sigmoid()(in[0])}; }},
      {"Softplus", [](In in, Opt) -> Tensors { return {nn::Softplus()(in[0])}; }},
      {"GELU",
       [](In in, Opt o) -> Tensors {
         return {nn::GELU(o.text("form") == "erf" ? Gelu::erf : Gelu::tanh)(in[0])};
       }},
      {"Activation", [](In in, Opt o) -> Tensors { return {nn::Activation(o.text("name"))(in[0])}; }},
      {"Dropout",
       [](In in, Opt o) -> Tensors {
         nn::Dropout dropout(o.number("p"));
         dropout.eval();
         return {dropout(in[0])};
       }},
  };
}

std::vector<Row> module_rows() {
  return {
      {"Linear",
       [](In in, Opt o) {
         return with_parameters(nn::Linear(in[0].size(-1), o.integer("out"), o.flag("bias")), in, o);
       }},
      {"Embedding",
       [](In in, Opt o) { return with_parameters(nn::Embedding(in[1].size(0), in[1].size(1)), in, o); }},
      {"Sequential", sequential},
      {"rotate",
       [](In in, Opt o) -> Tensors {
         const Tensor& x = in[0];
         return {nn::rotate(
             x, nn::rotary_table(x.size(-2), x.size(-1), o.integer("offset"), o.number("base"), f64))};
       }},
      {"rotary_table",
       [](In, Opt o) -> Tensors {
         const nn::RotaryTable table = nn::rotary_table(o.integer("length"), o.integer("d"),
                                                        o.integer("offset"), o.number("base"), f64);
         return {table.cos, table.sin};
       }},
      {"MultiheadAttention", multihead_attention},
      {"KeyValueCache", cached_attention},
      {"FeedForward",
       [](In in, Opt o) {
         return with_parameters(nn::FeedForward({.embed_dim = in[0].size(-1),
                                                 .hidden_dim = o.integer("hidden_dim"),
                                                 .activation = o.text("activation"),
                                                 .bias = o.flag("bias")}),
                                in, o);
       }},
      {"SwiGLU",
       [](In in, Opt o) {
         return with_parameters(nn::SwiGLU({.embed_dim = in[0].size(-1),
                                            .hidden_dim = o.integer("hidden_dim"),
                                            .bias = o.flag("bias")}),
                                in, o);
       }},
      {"make_feed_forward",
       [](In in, Opt o) {
         return with_parameters(
             nn::make_feed_forward(o.text("name"), in[0].size(-1), o.integer("hidden_dim"), o.flag("bias")),
             in, o);
       }},
      {"PreNormBlock",
       [](In in, Opt o) -> Tensors { return with_parameters(nn::PreNormBlock(block_options(o)), in, o); }},
      {"TransformerBlock", transformer_block},
      {"make_placement", placement_schemes},
      {"Temperature",
       [](In in, Opt o) -> Tensors {
         return with_parameters(nn::Temperature(temperature_options(o, "form")), in, o);
       }},
  };
}

}  // namespace

std::vector<Row> layer_rows() {
  std::vector<Row> all = activation_rows();
  const std::vector<Row> modules = module_rows();
  all.insert(all.end(), modules.begin(), modules.end());
  return all;
}

}  // namespace norma::tests::outside
