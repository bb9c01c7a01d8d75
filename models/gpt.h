// GPT: a decoder-only Transformer language model (Radford et al. 2019), with any norm in any placement.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nn/block.h"
#include "nn/embedding.h"
#include "nn/transformer_init.h"

namespace norma::models {

struct GptOptions {
  std::int64_t vocabulary = 256;  // number of tokens
  std::int64_t context = 128;     // most positions that the model sees at once
  std::int64_t layers = 4;        // blocks
  std::int64_t heads = 4;         // divides width
  std::int64_t kv_heads = 0;      // divides heads; 0: as many as heads
  std::int64_t width = 128;       // features of a position
  std::int64_t hidden = 0;        // of the feed-forward layers; 0: their default
  std::string norm = "layer";     // a name of nn::make_norm
  nn::Placement placement = nn::make_placement("pre");
  std::optional<double> eps = {};      // of the norms; absent: the method's own
  std::optional<double> softcap = {};  // of the attention scores, > 0; one of the placement's goes before
  bool allow_acausal = false;          // allow norms that let a position see later ones
  std::optional<nn::TransformerInit> init = {};  // absent: the placement's
  std::string positions = "learned";  // "learned": a table that is added; "rotary": rotated q and k
  std::string activation = "gelu";    // a name of nn::make_feed_forward
  bool tied = true;                   // the head uses the token embedding's weight
  bool bias = true;                   // of linear layers, where the layer has one by default
  double dropout = 0;                 // on embeddings, attention weights and both sublayers, in [0, 1)
  /// Keep the inputs of blocks alone for the backward pass and compute the rest again there (checkpoint):
  /// the same model with less memory, for the time of another forward pass. Not while attention is recorded
  /// or a probe looks.
  bool recompute = false;
};

/// One cache a block; length() positions have been seen.
using GptCache = std::vector<nn::KeyValueCache>;

/// tokens (i64) [batch, length] -> logits [batch, length, vocabulary]: position i predicts token i + 1.
///
/// Starting values: nn::initialize_transformer. Throws for options outside their ranges, for a norm that
/// mixes positions unless that is allowed, for tokens of another rank or dtype, and for more positions than
/// the context.
class Gpt : public nn::Module {
 public:
  explicit Gpt(const GptOptions& options);
  /// With a cache, tokens follow the positions seen before and are added to them; under NoGrad only.
  Tensor operator()(const Tensor& tokens, GptCache* cache = nullptr) {
    return logits(features(tokens, cache));
  }
  /// The two halves of the call: [batch, length, width] after the last norm, and from there to the logits.
  /// With records, each layer's attention is recorded there.
  Tensor features(const Tensor& tokens, GptCache* cache = nullptr,
                  std::vector<nn::AttentionRecord>* records = nullptr);
  Tensor logits(const Tensor& features);

  /// An empty cache for `context` positions.
  GptCache make_cache() const;
  const GptOptions& options() const { return options_; }
  Device device() const { return token_embedding.weight.device(); }
  std::string describe() const override;

  nn::Embedding token_embedding;
  std::optional<nn::Embedding> position_embedding;
  nn::Dropout dropout;
  std::vector<nn::TransformerBlock> blocks;
  std::optional<nn::AnyLayer> norm;  // absent when the placement has no final norm
  std::optional<nn::Linear> head;    // absent when tied
  NORMA_PARTS(token_embedding, position_embedding, dropout, blocks, norm, head)

 private:
  GptOptions options_;
};

}  // namespace norma::models
