#include "models/encoder.h"

#include "autograd/ops.h"
#include "models/data/text_dataset.h"
#include "nn/norm/norm.h"

namespace norma::models {
namespace {

EncoderOptions checked(const EncoderOptions& o) {
  NORMA_CHECK(o.vocabulary > 0 && o.context > 0 && o.layers > 0,
              "Encoder: needs vocabulary, context and layers > 0, got ", o.vocabulary, ", ", o.context,
              " and ", o.layers);
  NORMA_CHECK(o.width > 0 && o.heads > 0, "Encoder: needs width and heads > 0, got ", o.width, " and ",
              o.heads);
  NORMA_CHECK(o.segments >= 0, "Encoder: segments must be >= 0, got ", o.segments);
  NORMA_CHECK(o.placement.layer != nullptr, "Encoder: the placement \"", o.placement.name,
              "\" has no function (Placement::layer)");
  return o;
}

nn::BlockOptions block_options(const EncoderOptions& o) {
  return {
      .attention = {.embed_dim = o.width, .num_heads = o.heads, .dropout = o.dropout, .softcap = o.softcap},
      .feed_forward = o.activation,
      .hidden_dim = o.hidden,
      .norm = o.norm,
      .eps = o.eps,
      .dropout = o.dropout};
}

void check_index(const char* what, const Tensor& x, const Shape& shape) {
  NORMA_CHECK(x.defined() && x.dtype() == i64 && x.shape() == shape, "Encoder: ", what, " must be i64 ",
              shape, ", got ", x.defined() ? x.dtype() : f32, " ", x.defined() ? x.shape() : Shape{});
}

/// Heads start as the encoder's own matrices do.
void initialize(nn::Module& module, const EncoderOptions& o) {
  nn::initialize_transformer(
      module, {.init = o.init.value_or(o.placement.init), .layers = o.layers, .width = o.width});
}

}  // namespace

Encoder::Encoder(const EncoderOptions& options)
    : token_embedding(checked(options).vocabulary, options.width),
      position_embedding(options.context, options.width),
      embedding_norm(nn::make_norm(options.norm, options.width, options.eps)),
      dropout(options.dropout),
      options_(options) {
  if (options.segments > 0) segment_embedding.emplace(options.segments, options.width);
  blocks.reserve(static_cast<std::size_t>(options.layers));
  for (std::int64_t i = 0; i < options.layers; ++i)
    blocks.emplace_back(block_options(options), options.placement.layer(i, options.layers));
  if (options.placement.final_norm) norm = nn::make_norm(options.norm, options.width, options.eps);
  initialize(*this, options);
}

Tensor Encoder::operator()(const Tensor& tokens, const EncoderInputs& inputs) {
  NORMA_CHECK(tokens.defined() && tokens.dim() == 2 && tokens.dtype() == i64,
              "Encoder: tokens must be i64 [batch, length], got ",
              tokens.defined() ? tokens.shape() : Shape{}, " of ", tokens.defined() ? tokens.dtype() : f32);
  const std::int64_t length = tokens.size(1);
  NORMA_CHECK(length <= options_.context, "Encoder: ", length, " positions exceed the context of ",
              options_.context);
  NORMA_CHECK(!inputs.segments.defined() || segment_embedding,
              "Encoder: has no segment embedding (segments = 0), but segments are given");
  Tensor x = token_embedding(tokens) + position_embedding.weight.narrow(0, 0, length);
  if (inputs.segments.defined()) {
    check_index("segments", inputs.segments, tokens.shape());
    x = x + (*segment_embedding)(inputs.segments);
  } else if (segment_embedding) {
    x = x + segment_embedding->weight.narrow(0, 0, 1);
  }
  nn::Stream stream(dropout(embedding_norm(x)));
  for (nn::TransformerBlock& block : blocks) stream = block.run(stream, {.key_mask = inputs.key_mask});
  return norm ? stream.through(*norm).normed : stream.value();
}

std::string Encoder::describe() const {
  return "placement=" + options_.placement.name + ", context=" + std::to_string(options_.context);
}

MaskedLanguageModel::MaskedLanguageModel(const EncoderOptions& options)
    : encoder(options),
      dense(options.width, options.width),
      norm(nn::make_norm(options.norm, options.width, options.eps)),
      bias(zeros({options.vocabulary})) {
  initialize(dense, options);
}

Tensor MaskedLanguageModel::operator()(const Tensor& tokens, const EncoderInputs& inputs) {
  return linear(norm(gelu(dense(encoder(tokens, inputs)))), encoder.token_embedding.weight, bias);
}

SequenceClassifier::SequenceClassifier(const EncoderOptions& options, std::int64_t classes)
    : encoder(options),
      pooler(options.width, options.width),
      dropout(options.dropout),
      classifier(options.width, classes) {
  initialize(pooler, options);
  initialize(classifier, options);
}

Tensor SequenceClassifier::operator()(const Tensor& tokens, const EncoderInputs& inputs) {
  NORMA_CHECK(!tokens.defined() || tokens.dim() != 2 || tokens.size(1) > 0,
              "SequenceClassifier: tokens must have at least one position, got ", tokens.shape());
  const Tensor first = encoder(tokens, inputs).select(1, 0);  // [batch, width]
  return classifier(dropout(pooler(first).tanh()));
}

MaskedTokens mask_tokens(const Tensor& tokens, const MaskingOptions& o, Generator* generator) {
  NORMA_CHECK(tokens.defined() && tokens.dtype() == i64, "mask_tokens: tokens must be i64");
  NORMA_CHECK(o.probability >= 0 && o.probability <= 1, "mask_tokens: probability must lie in [0, 1], got ",
              o.probability);
  NORMA_CHECK(o.vocabulary > 0 && o.mask_token >= 0 && o.mask_token < o.vocabulary,
              "mask_tokens: mask_token must lie in [0, vocabulary = ", o.vocabulary, "), got ", o.mask_token);
  const NoGrad guard;
  const Shape& shape = tokens.shape();
  Tensor asked = rand(shape, f64, tokens.device(), generator) < o.probability;
  if (o.candidates.defined()) {
    NORMA_CHECK(o.candidates.dtype() == boolean && o.candidates.shape() == shape,
                "mask_tokens: candidates must be boolean ", shape, ", got ", o.candidates.dtype(), " ",
                o.candidates.shape());
    asked = logical_and(asked, o.candidates);
  }
  const Tensor fate = rand(shape, f64, tokens.device(), generator);
  const Tensor random = randint(0, o.vocabulary, shape, tokens.device(), generator);
  const Tensor hidden = logical_and(asked, fate < 0.8);
  const Tensor replaced = logical_and(asked, logical_and(fate >= 0.8, fate < 0.9));
  const Tensor seen = where(replaced, random, tokens);
  return {
      .tokens = where(hidden, full(shape, static_cast<double>(o.mask_token), i64, tokens.device()), seen),
      .targets = where(asked, tokens, full(shape, static_cast<double>(ignore_index), i64, tokens.device()))};
}

}  // namespace norma::models
