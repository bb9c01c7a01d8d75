#include "nn/block.h"

#include "nn/feed_forward.h"
#include "nn/norm/norm.h"
#include "nn/residual.h"

namespace norma::nn {

PreNormBlock::PreNormBlock(const BlockOptions& o)
    : norm1(make_norm(o.norm, o.attention.embed_dim, o.eps)),
      attention(o.attention),
      norm2(make_norm(o.norm, o.attention.embed_dim, o.eps)),
      ffn(make_feed_forward(o.feed_forward, o.attention.embed_dim, o.hidden_dim, o.attention.bias)),
      dropout(o.dropout) {}

Tensor PreNormBlock::operator()(const Tensor& x, const AttentionInputs& inputs) {
  const Tensor h = residual::pre(x, norm1, [&](const Tensor& u) { return dropout(attention(u, inputs)); });
  return residual::pre(h, norm2, [&](const Tensor& u) { return dropout(ffn(u)); });
}

}  // namespace norma::nn
