#include "models/gpt.h"

#include <cmath>

#include "autograd/ops.h"
#include "nn/init.h"
#include "nn/norm/norm.h"

namespace norma::models {
namespace {

GptOptions checked(const GptOptions& o) {
  NORMA_CHECK(o.vocabulary > 0 && o.context > 0 && o.layers > 0,
              "GPT: needs vocabulary, context and layers > 0, got ", o.vocabulary, ", ", o.context, " and ",
              o.layers);
  NORMA_CHECK(o.width > 0 && o.heads > 0, "GPT: needs width and heads > 0, got ", o.width, " and ", o.heads);
  NORMA_CHECK(o.positions == "learned" || o.positions == "rotary",
              "GPT: positions must be \"learned\" or \"rotary\", got \"", o.positions, "\"");
  return o;
}

nn::BlockOptions block_options(const GptOptions& o) {
  return {.attention = {.embed_dim = o.width,
                        .num_heads = o.heads,
                        .kv_heads = o.kv_heads,
                        .bias = o.bias,
                        .out_bias = o.bias,
                        .dropout = o.dropout,
                        .causal = true,
                        .rotary = o.positions == "rotary"},
          .feed_forward = o.activation,
          .hidden_dim = o.hidden,
          .norm = o.norm,
          .dropout = o.dropout};
}

void initialize(Gpt& model) {
  constexpr double std = 0.02;
  const double back = std / std::sqrt(2 * static_cast<double>(model.options().layers));
  for (const auto& [name, parameter] : model.named_parameters()) {
    if (name.ends_with("bias")) {
      nn::init::zeros_(parameter);
    } else if (parameter.dim() >= 2) {
      const bool to_stream = name.ends_with("out_proj.weight") || name.ends_with("down_proj.weight");
      nn::init::normal_(parameter, 0, to_stream ? back : std);
    }
  }
}

}  // namespace

Gpt::Gpt(const GptOptions& options)
    : token_embedding(checked(options).vocabulary, options.width),
      dropout(options.dropout),
      norm(nn::make_norm(options.norm, options.width, nn::BlockOptions{}.eps)),
      options_(options) {
  if (options.positions == "learned") position_embedding.emplace(options.context, options.width);
  blocks.reserve(static_cast<std::size_t>(options.layers));
  for (std::int64_t i = 0; i < options.layers; ++i) blocks.emplace_back(block_options(options));
  if (!options.tied) head.emplace(options.width, options.vocabulary, false);
  initialize(*this);
}

Tensor Gpt::features(const Tensor& tokens, GptCache* cache) {
  NORMA_CHECK(tokens.defined() && tokens.dim() == 2 && tokens.dtype() == i64,
              "GPT: tokens must be i64 [batch, length], got ", tokens.defined() ? tokens.shape() : Shape{},
              " of ", tokens.defined() ? tokens.dtype() : f32);
  NORMA_CHECK(cache == nullptr || cache->size() == blocks.size(),
              "GPT: the cache must come from make_cache()");
  const std::int64_t seen = cache == nullptr ? 0 : cache->front().length();
  const std::int64_t length = tokens.size(1);
  NORMA_CHECK(seen + length <= options_.context, "GPT: ", seen + length, " positions exceed the context of ",
              options_.context);
  Tensor x = token_embedding(tokens);  // [batch, length, width]
  if (position_embedding) x = x + position_embedding->weight.narrow(0, seen, length);
  x = dropout(x);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    x = blocks[i](x, {.cache = cache == nullptr ? nullptr : &(*cache)[i]});
  }
  return norm(x);
}

Tensor Gpt::logits(const Tensor& features) {
  return head ? (*head)(features) : linear(features, token_embedding.weight);
}

GptCache Gpt::make_cache() const { return GptCache(blocks.size(), nn::KeyValueCache(options_.context)); }

std::string Gpt::describe() const {
  return "context=" + std::to_string(options_.context) + ", positions=" + options_.positions +
         (options_.tied ? ", tied head" : "");
}

}  // namespace norma::models
