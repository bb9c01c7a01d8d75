// Transformer blocks: attention, feed-forward and the norms around them.
#pragma once

#include <optional>

#include "nn/any_layer.h"
#include "nn/attention.h"
#include "nn/dropout.h"

namespace norma::nn {

struct BlockOptions {
  MultiheadAttentionOptions attention = {};
  std::string_view feed_forward = "gelu";  // a name of make_feed_forward
  std::int64_t hidden_dim = 0;             // of the feed-forward layer; 0: its default
  std::string_view norm = "layer";         // a name of make_norm
  std::optional<double> eps = 1e-5;        // of the norms; absent: the default of the method
  double dropout = 0;                      // on the output of both sublayers while training
};

/// Pre-Norm (Xiong et al. 2020, arXiv:2002.04745, Table 1): h = x + attention(norm1(x)), y = h +
/// ffn(norm2(h)). x [.., length, embed_dim]; y has its shape. A stack of these wants a norm after the last.
class PreNormBlock : public Module {
 public:
  explicit PreNormBlock(const BlockOptions& options);
  Tensor operator()(const Tensor& x, const AttentionInputs& inputs = {});

  AnyLayer norm1;
  MultiheadAttention attention;
  AnyLayer norm2;
  AnyLayer ffn;
  Dropout dropout;
  NORMA_PARTS(norm1, attention, norm2, ffn, dropout)
};

}  // namespace norma::nn
