// A bidirectional Transformer in BERT's layout (Devlin et al. 2018, arXiv:1810.04805): token, position and
// segment embeddings, summed and normalized, then blocks in any placement (Post-Norm is BERT's); a head that
// fills in masked tokens and one that classifies the whole sequence.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nn/block.h"
#include "nn/embedding.h"
#include "nn/transformer_init.h"

namespace norma::models {

struct EncoderOptions {
  std::int64_t vocabulary = 256;  // number of tokens
  std::int64_t context = 128;     // most positions
  std::int64_t segments = 2;      // kinds of segment; 0: no segment embedding
  std::int64_t layers = 4;
  std::int64_t heads = 4;      // divides width
  std::int64_t width = 128;    // features of a position
  std::int64_t hidden = 0;     // of the feed-forward layers; 0: their default
  std::string norm = "layer";  // a name of nn::make_norm, statistics over positions included
  nn::Placement placement = nn::make_placement("post");
  std::optional<double> eps = {};                // of the norms; BERT's is 1e-12
  std::optional<double> softcap = {};            // of the attention scores, > 0
  std::optional<nn::TransformerInit> init = {};  // absent: the placement's
  std::string activation = "gelu";               // a name of nn::make_feed_forward
  double dropout = 0;  // on embeddings, attention weights and both sublayers, in [0, 1)
};

struct EncoderInputs {
  Tensor segments = {};  // i64 [batch, length]; absent: all 0
  Tensor key_mask = {};  // boolean [batch, length]: false at padding, which no position attends to
};

/// tokens (i64) [batch, length] -> features [batch, length, width]. Throws for options outside their ranges,
/// for tokens or segments of another shape or dtype, and for more positions than the context.
class Encoder : public nn::Module {
 public:
  explicit Encoder(const EncoderOptions& options);
  Tensor operator()(const Tensor& tokens, const EncoderInputs& inputs = {});
  const EncoderOptions& options() const { return options_; }
  std::string describe() const override;

  nn::Embedding token_embedding, position_embedding;
  std::optional<nn::Embedding> segment_embedding;
  nn::AnyLayer embedding_norm;
  nn::Dropout dropout;
  std::vector<nn::TransformerBlock> blocks;
  std::optional<nn::AnyLayer> norm;  // absent when the placement has no final norm
  NORMA_PARTS(token_embedding, position_embedding, segment_embedding, embedding_norm, dropout, blocks, norm)

 private:
  EncoderOptions options_;
};

/// tokens [batch, length] -> logits [batch, length, vocabulary]: decoder(norm(gelu(dense(features)))), the
/// decoder being the token embedding's weight with a bias of its own.
class MaskedLanguageModel : public nn::Module {
 public:
  explicit MaskedLanguageModel(const EncoderOptions& options);
  Tensor operator()(const Tensor& tokens, const EncoderInputs& inputs = {});

  Encoder encoder;
  nn::Linear dense;
  nn::AnyLayer norm;
  nn::Parameter bias;  // [vocabulary]
  NORMA_PARTS(encoder, dense, norm, bias)
};

/// tokens [batch, length >= 1] -> logits [batch, classes], from the features of position 0:
/// classifier(dropout(tanh(pooler(features[0])))).
class SequenceClassifier : public nn::Module {
 public:
  SequenceClassifier(const EncoderOptions& options, std::int64_t classes);
  Tensor operator()(const Tensor& tokens, const EncoderInputs& inputs = {});

  Encoder encoder;
  nn::Linear pooler;
  nn::Dropout dropout;
  nn::Linear classifier;
  NORMA_PARTS(encoder, pooler, dropout, classifier)
};

struct MaskingOptions {
  std::int64_t mask_token = 0;
  std::int64_t vocabulary = 256;  // replacements are drawn from [0, vocabulary)
  double probability = 0.15;      // of a position to be asked for, in [0, 1]
  Tensor candidates = {};  // boolean, the shape of tokens: false where nothing is asked; absent: all true
};

struct MaskedTokens {
  Tensor tokens;   // i64, what the model sees
  Tensor targets;  // i64: the token at the positions asked for, -100 (cross_entropy's ignore_index) elsewhere
};

/// Section 3.1 of the paper: of the positions asked for, 80% become mask_token, 10% a random token, 10% stay.
/// Throws for options outside their ranges and for tokens of another dtype.
MaskedTokens mask_tokens(const Tensor& tokens, const MaskingOptions& options, Generator* generator = nullptr);

}  // namespace norma::models
