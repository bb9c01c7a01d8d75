// What the scores of an attention layer look like: the figures that tell whether a softmax is saturated.
#pragma once

#include "autograd/ops.h"

namespace norma::nn {

/// One number for each query head, over all rows of a call that see at least one key; f64 [heads].
struct AttentionRecord {
  Tensor entropy;        // mean over the rows of -sum p ln p, in nats: 0 .. ln(keys)
  Tensor largest_score;  // largest score that is not masked, after scale and cap; -inf when all are masked
  Tensor saturated;      // share of the rows whose largest weight exceeds saturated_above, in [0, 1]
};

/// Records the attention that scaled_dot_product_attention(q, k, .., options) makes, dropout left out. q [..,
/// heads, q_length, d], k [.., kv_heads, k_length, d]. Nothing is added to the graph; the scores are made for
/// a few queries at a time.
AttentionRecord record_attention(const Tensor& q, const Tensor& k, const SdpaOptions& options,
                                 double saturated_above = 0.99);

}  // namespace norma::nn
