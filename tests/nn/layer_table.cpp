#include "autograd/ops.h"
#include "nn/activation.h"
#include "nn/any_layer.h"
#include "nn/block.h"
#include "nn/dropout.h"
#include "nn/embedding.h"
#include "nn/feed_forward.h"
#include "nn/init.h"
#include "nn/loss.h"
#include "tests/nn/layer_row.h"

namespace norma::tests {
namespace {

using namespace nn;

Tensor indices(const std::vector<std::int64_t>& values, const Shape& shape) { return tensor(values, shape); }

void add_activations(std::vector<LayerRow>& rows) {
  const Inputs x{normal({3, 4})};
  rows.push_back(row(
      "Identity", [] { return Identity(); }, x));
  rows.push_back(row(
      "ReLU", [] { return ReLU(); }, x));
  rows.push_back(row(
      "GELU", [] { return GELU(); }, x));
  rows.push_back(row(
      "GELU tanh form", [] { return GELU(Gelu::tanh); }, x));
  rows.push_back(row(
      "SiLU", [] { return SiLU(); }, x));
  rows.push_back(row(
      "Tanh", [] { return Tanh(); }, x));
  rows.push_back(row(
      "Sigmoid", [] { return Sigmoid(); }, x));
  rows.push_back(row(
      "Softplus", [] { return Softplus(); }, x));
  for (const char* name : {"relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "softplus", "identity"}) {
    rows.push_back(row(
        "Activation " + std::string(name), [name] { return Activation(name); }, x));
  }
  rows.push_back(row(
      "Dropout", [] { return Dropout(0.25); }, x));
}

void add_basic(std::vector<LayerRow>& rows) {
  const Inputs x{normal({2, 3, 4})};
  const std::vector<WrongInput> wrong{
      {{normal({2, 3})}, "Linear: the last axis of x must have extent 4 (in_features), got shape [2, 3]"},
      {{Tensor()}, "undefined"}};
  rows.push_back(row(
      "Linear", [] { return Linear(4, 5); }, x, {"weight", "bias"}, 0, wrong));
  rows.push_back(row(
      "Linear without bias", [] { return Linear(4, 5, false); }, x, {"weight"}, 1, wrong));
  rows.push_back(row("Embedding", [] { return Embedding(5, 3); }, {indices({0, 4, 2, 2, 0, 1}, {2, 3})},
                     {"weight"}, 0, {{{indices({0, 5}, {2})}, "5"}, {{indices({-1}, {1})}, "-1"}}));
  rows.push_back(row(
      "Sequential", [] { return Sequential(Linear(4, 3), Tanh(), Linear(3, 2, false)); }, x,
      {"0.weight", "0.bias", "2.weight"}, 1, wrong));
  rows.push_back(row(
      "AnyLayer", [] { return AnyLayer(Linear(4, 5)); }, x, {"weight", "bias"}, 0, wrong));
  const Tensor targets = indices({0, 2, 1, -100}, {4});
  rows.push_back(row("CrossEntropyLoss", [] { return CrossEntropyLoss({.label_smoothing = 0.1}); },
                     {normal({4, 3}), targets}, {}, 0,
                     {{{normal({4, 3}), indices({0, 3, 1, 1}, {4})}, "3"}}));
  rows.push_back(row("MSELoss", [] { return MSELoss(); }, {normal({3, 2}, 1), normal({3, 2}, 2)}));
  rows.push_back(row("BCEWithLogitsLoss", [] { return BCEWithLogitsLoss(Reduction::sum); },
                     {normal({3, 2}, 1), normal({3, 2}, 2).sigmoid()}));
}

void add_attention(std::vector<LayerRow>& rows) {
  const Inputs x{normal({2, 5, 8})};
  const std::vector<std::string> keys{"qkv_proj.weight", "qkv_proj.bias", "out_proj.weight", "out_proj.bias"};
  const std::vector<WrongInput> wrong{
      {{normal({2, 5, 6})}, "MultiheadAttention: x must be [.., length, 8] (embed_dim), got [2, 5, 6]"},
      {{normal({8})}, "MultiheadAttention: x must be [.., length, 8]"}};
  rows.push_back(row(
      "MultiheadAttention", [] { return MultiheadAttention({.embed_dim = 8, .num_heads = 2}); }, x, keys, 0,
      wrong));
  rows.push_back(row(
      "MultiheadAttention causal, rotary, fewer key heads",
      [] {
        return MultiheadAttention({.embed_dim = 8,
                                   .num_heads = 4,
                                   .kv_heads = 2,
                                   .causal = true,
                                   .rotary = true,
                                   .rotary_base = 100});
      },
      x, keys, 0, wrong));
  rows.push_back(row(
      "MultiheadAttention with softcap, without biases, unbatched",
      [] {
        return MultiheadAttention(
            {.embed_dim = 8, .num_heads = 2, .bias = false, .out_bias = false, .softcap = 0.7});
      },
      {normal({5, 8})}, {"qkv_proj.weight", "out_proj.weight"}, 2));
  LayerRow masked = row(
      "MultiheadAttention masked", [] { return MultiheadAttention({.embed_dim = 8, .num_heads = 2}); }, x,
      keys);
  masked.call = [](Module& layer, const Inputs& in) {
    const Tensor padding = in[0].select(-1, 0).detach().abs() < 1;  // [batch, length]
    return dynamic_cast<MultiheadAttention&>(layer)(in[0], {.mask = in[1], .key_mask = padding});
  };
  masked.inputs = {normal({2, 5, 8}), normal({5, 5}, 2)};
  rows.push_back(masked);
}

void add_blocks(std::vector<LayerRow>& rows) {
  const Inputs x{normal({2, 3, 4})};
  const std::vector<WrongInput> wrong{{{normal({2, 3, 5})}, "got shape [2, 3, 5]"}};
  rows.push_back(row(
      "FeedForward", [] { return FeedForward({.embed_dim = 4}); }, x,
      {"up_proj.weight", "up_proj.bias", "down_proj.weight", "down_proj.bias"}, 0, wrong));
  rows.push_back(row(
      "SwiGLU", [] { return SwiGLU({.embed_dim = 4, .hidden_dim = 6}); }, x,
      {"gate_proj.weight", "up_proj.weight", "down_proj.weight"}, 3, wrong));
  rows.push_back(row(
      "PreNormBlock",
      [] { return PreNormBlock({.attention = {.embed_dim = 4, .num_heads = 2, .causal = true}}); }, x,
      {"norm1.weight", "norm1.bias", "attention.qkv_proj.weight", "attention.qkv_proj.bias",
       "attention.out_proj.weight", "attention.out_proj.bias", "norm2.weight", "norm2.bias",
       "ffn.up_proj.weight", "ffn.up_proj.bias", "ffn.down_proj.weight", "ffn.down_proj.bias"},
      0, wrong, false));
  rows.push_back(row(
      "TransformerBlock",
      [] {
        return TransformerBlock(
            {.attention = {.embed_dim = 4, .num_heads = 2, .bias = false, .out_bias = false}, .norm = "rms"},
            {.attention = Residual::sandwich(), .ffn = Residual::post()});
      },
      x,
      {"norm1.weight", "norm1_out.weight", "attention.qkv_proj.weight", "attention.out_proj.weight",
       "norm2.weight", "ffn.up_proj.weight", "ffn.down_proj.weight"},
      4, {}, false));
  rows.push_back(row(
      "PreNormBlock with RMSNorm and SwiGLU",
      [] {
        return PreNormBlock(
            {.attention = {.embed_dim = 4, .num_heads = 1, .bias = false, .out_bias = false, .rotary = true},
             .feed_forward = "swiglu",
             .hidden_dim = 3,
             .norm = "rms"});
      },
      x,
      {"norm1.weight", "attention.qkv_proj.weight", "attention.out_proj.weight", "norm2.weight",
       "ffn.gate_proj.weight", "ffn.up_proj.weight", "ffn.down_proj.weight"},
      5, {{{normal({2, 3, 5})}, "RMSNorm: x must end in the normalized shape [4], got shape [2, 3, 5]"}},
      false));
}

}  // namespace

std::vector<LayerRow> layer_table() {
  std::vector<LayerRow> rows;
  add_activations(rows);
  add_basic(rows);
  add_attention(rows);
  add_blocks(rows);
  for (auto part : {channel_layer_rows, row_norm_layer_rows, convolution_layer_rows, weight_layer_rows}) {
    for (LayerRow& row : part()) rows.push_back(std::move(row));
  }
  return rows;
}

void randomize(Module& layer, std::uint64_t seed) {
  Generator generator(seed);
  for (const Tensor& parameter : layer.parameters()) init::normal_(parameter, 0, 0.5, &generator);
}

Tensor normal(const Shape& shape, std::uint64_t seed) {
  Generator generator(seed);
  return randn(shape, f64, cpu, &generator);
}

Inputs converted(const Inputs& inputs, DType dtype, Device device) {
  Inputs result;
  for (const Tensor& x : inputs) result.push_back((is_floating(x.dtype()) ? x.to(dtype) : x).to(device));
  return result;
}

}  // namespace norma::tests
