#include "models/gpt.h"

#include "autograd/ops.h"
#include "autograd/recompute.h"
#include "nn/norm/norm.h"
#include "nn/probe.h"

namespace norma::models {
namespace {

GptOptions checked(const GptOptions& o) {
  NORMA_CHECK(o.vocabulary > 0 && o.context > 0 && o.layers > 0,
              "GPT: needs vocabulary, context and layers > 0, got ", o.vocabulary, ", ", o.context, " and ",
              o.layers);
  NORMA_CHECK(o.width > 0 && o.heads > 0, "GPT: needs width and heads > 0, got ", o.width, " and ", o.heads);
  NORMA_CHECK(o.placement.layer != nullptr, "GPT: the placement \"", o.placement.name,
              "\" has no function (Placement::layer)");
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
                        .rotary = o.positions == "rotary",
                        .softcap = o.softcap},
          .feed_forward = o.activation,
          .hidden_dim = o.hidden,
          .norm = o.norm,
          .eps = o.eps,
          .dropout = o.dropout,
          .allow_acausal = o.allow_acausal};
}

}  // namespace

Gpt::Gpt(const GptOptions& options)
    : token_embedding(checked(options).vocabulary, options.width),
      dropout(options.dropout),
      options_(options) {
  if (options.positions == "learned") position_embedding.emplace(options.context, options.width);
  blocks.reserve(static_cast<std::size_t>(options.layers));
  for (std::int64_t i = 0; i < options.layers; ++i)
    blocks.emplace_back(block_options(options), options.placement.layer(i, options.layers));
  if (options.placement.final_norm) norm = nn::make_norm(options.norm, options.width, options.eps);
  if (!options.tied) head.emplace(options.width, options.vocabulary, false);
  const std::int64_t kv_heads = options.kv_heads == 0 ? options.heads : options.kv_heads;
  nn::initialize_transformer(*this, {.init = options.init.value_or(options.placement.init),
                                     .layers = options.layers,
                                     .width = options.width,
                                     .kv_width = options.width / options.heads * kv_heads});
}

Tensor Gpt::features(const Tensor& tokens, GptCache* cache, std::vector<nn::AttentionRecord>* records) {
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
  nn::Stream stream(nn::probe::note("embedding", dropout(x)));
  if (records != nullptr) records->resize(blocks.size());
  const bool recompute =
      options_.recompute && cache == nullptr && records == nullptr && !nn::probe::is_recording();
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (recompute) {
      const auto run = [&block = blocks[i]](const std::vector<Tensor>& in) { return block(in[0]); };
      stream = checkpoint(run, {stream.value()});
      continue;
    }
    const nn::probe::Scope scope("blocks", i);
    stream = blocks[i].run(stream, {.cache = cache == nullptr ? nullptr : &(*cache)[i],
                                    .record = records == nullptr ? nullptr : &(*records)[i]});
    // A stream's last sum is made only where somebody looks.
    if (nn::probe::is_recording()) stream = nn::probe::note("output", stream.value());
  }
  return nn::probe::note("features", norm ? stream.through(*norm).normed : stream.value());
}

Tensor Gpt::logits(const Tensor& features) {
  return head ? (*head)(features) : linear(features, token_embedding.weight);
}

GptCache Gpt::make_cache() const { return GptCache(blocks.size(), nn::KeyValueCache(options_.context)); }

std::string Gpt::describe() const {
  return "placement=" + options_.placement.name + ", context=" + std::to_string(options_.context) +
         ", positions=" + options_.positions + (options_.tied ? ", tied head" : "");
}

}  // namespace norma::models
