// Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762), with grouped key/value heads
// (arXiv:2305.13245), rotary positions and a key/value cache.
#pragma once

#include <optional>

#include "nn/key_value_cache.h"
#include "nn/linear.h"

namespace norma::nn {

struct MultiheadAttentionOptions {
  std::int64_t embed_dim = 0;
  std::int64_t num_heads = 0;  // divides embed_dim
  std::int64_t kv_heads = 0;   // divides num_heads; 0: as many as num_heads
  bool bias = true;            // of the projections to q, k and v
  bool out_bias = true;        // of the output projection
  double dropout = 0;          // on the attention weights while training, in [0, 1)
  bool causal = false;         // a position sees itself and earlier ones
  bool rotary = false;         // rotate q and k by position (nn/rotary.h); needs an even head size
  double rotary_base = 10000;
  std::optional<double> softcap = {};  // scores become cap * tanh(score / cap), before the mask; > 0
};

struct AttentionInputs {
  /// Boolean (true = may attend) or floating (added to the scores): [q, k], [batch, q, k] or [batch, heads,
  /// q, k], extents of 1 broadcast.
  Tensor mask = {};
  /// Positions seen before x; x is added to them. k counts both.
  KeyValueCache* cache = nullptr;
  /// Boolean [batch, k]: false where a key is padding. May come together with mask.
  Tensor key_mask = {};
};

/// x [.., length, embed_dim] -> the same shape: out_proj(concat over heads of softmax(q k^T / sqrt(d)) v), q,
/// k and v being slices of qkv_proj(x) in this order. A position that may attend to nothing gives the bias of
/// out_proj. Throws for options outside their ranges, and for an x whose last extent is not embed_dim.
class MultiheadAttention : public Module {
 public:
  explicit MultiheadAttention(const MultiheadAttentionOptions& options);
  Tensor operator()(const Tensor& x, const AttentionInputs& inputs = {}) const;
  const MultiheadAttentionOptions& options() const { return options_; }
  std::string describe() const override;

  Linear qkv_proj;  // weight [(num_heads + 2 kv_heads) * d_head, embed_dim]
  Linear out_proj;
  NORMA_PARTS(qkv_proj, out_proj)

 private:
  struct Heads {
    Tensor q, k, v;  // [.., heads or kv_heads, length, d_head]
  };
  Heads project(const Tensor& x) const;
  void rotate_heads(Heads& heads, std::int64_t offset) const;

  MultiheadAttentionOptions options_;  // kv_heads filled in
};

}  // namespace norma::nn
