// Transformer blocks: attention, feed-forward and the norms around them. TransformerBlock is any placement;
// the named blocks below it say one equation each.
#pragma once

#include "nn/dropout.h"
#include "nn/placement.h"

namespace norma::nn {

struct BlockOptions {
  /// Norms and temperature given here hold; what the placement says goes in besides.
  MultiheadAttentionOptions attention = {};
  std::string_view feed_forward = "gelu";  // a name of make_feed_forward
  std::int64_t hidden_dim = 0;             // of the feed-forward layer; 0: its default
  std::string_view norm = "layer";         // a name of make_norm
  std::optional<double> eps = {};          // of all norms; absent: each method's own
  double dropout = 0;                      // on the output of both sublayers while training
  /// Allow norms whose statistics mix positions in a causal block (attention.norms.allow_acausal counts too).
  bool allow_acausal = false;
};

/// x [.., length, embed_dim] -> the same shape: attention and feed-forward, each in its residual scheme. The
/// norms of the attention sublayer are norm1 and, where its scheme has two, norm1_out; those of the
/// feed-forward sublayer norm2 and norm2_out. Throws for options outside their ranges, and for a causal block
/// with a norm that mixes positions unless that is allowed.
class TransformerBlock : public Module {
 public:
  TransformerBlock(const BlockOptions& options, const LayerPlacement& placement);
  Tensor operator()(const Tensor& x, const AttentionInputs& inputs = {}) { return run(x, inputs).value(); }
  /// The same on a stream, so that the last sum can be made together with the norm that follows.
  Stream run(const Stream& x, const AttentionInputs& inputs = {});
  std::string describe() const override;

  AnyLayer norm1, norm1_out;
  MultiheadAttention attention;
  AnyLayer norm2, norm2_out;
  AnyLayer ffn;
  Dropout dropout;
  NORMA_PARTS(norm1, norm1_out, attention, norm2, norm2_out, ffn, dropout)

 private:
  Residual attention_residual_, ffn_residual_;
};

/// y = x + attention(norm1(x)), then y + ffn(norm2(y)). A stack of these wants a norm after the last.
class PreNormBlock : public TransformerBlock {
 public:
  explicit PreNormBlock(const BlockOptions& options)
      : TransformerBlock(options, {.attention = Residual::pre(), .ffn = Residual::pre()}) {}
};

/// y = norm1(x + attention(x)), then norm2(y + ffn(y)).
class PostNormBlock : public TransformerBlock {
 public:
  explicit PostNormBlock(const BlockOptions& options)
      : TransformerBlock(options, {.attention = Residual::post(), .ffn = Residual::post()}) {}
};

/// y = x + attention(x) with norms on q, k and v, then u + ffn(u) with u = norm2(y).
class HybridNormBlock : public TransformerBlock {
 public:
  explicit HybridNormBlock(const BlockOptions& options)
      : TransformerBlock(options, {.attention = Residual::plain(),
                                   .ffn = Residual::normed(),
                                   .norms = {.q = "block", .k = "block", .v = "block"}}) {}
};

/// y = x + norm1_out(attention(norm1(x))), then y + norm2_out(ffn(norm2(y))).
class SandwichNormBlock : public TransformerBlock {
 public:
  explicit SandwichNormBlock(const BlockOptions& options)
      : TransformerBlock(options, {.attention = Residual::sandwich(), .ffn = Residual::sandwich()}) {}
};

/// y = x + norm1(attention(x)), then y + norm2(ffn(y)).
class OutputNormBlock : public TransformerBlock {
 public:
  explicit OutputNormBlock(const BlockOptions& options)
      : TransformerBlock(options, {.attention = Residual::output(), .ffn = Residual::output()}) {}
};

}  // namespace norma::nn
