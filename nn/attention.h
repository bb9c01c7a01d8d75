// Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762), with grouped key/value heads
// (arXiv:2305.13245), rotary positions, a key/value cache, and norms wherever they have been proposed.
#pragma once

#include <optional>

#include "nn/any_layer.h"
#include "nn/attention_record.h"
#include "nn/key_value_cache.h"
#include "nn/linear.h"
#include "nn/temperature.h"

namespace norma::nn {

/// Methods of the norms inside attention, names of make_norm; empty: none.
struct AttentionNormOptions {
  std::string q = {}, k = {}, v = {};  // after the projections
  std::string context = {};            // of the weighted values, before the output projection
  std::string out = {};                // of the output projection
  std::optional<double> eps = {};      // absent: each method's own
  /// q, k, v and context: each head by itself (a weight of d_head numbers, shared by the heads), or all heads
  /// together.
  enum class Width : std::uint8_t { head, whole };
  Width width = Width::head;
  bool after_rotary = false;  // q and k: normalize, then rotate; or the reverse (per head only)
  /// Allow methods whose statistics mix positions (batch, instance, ..) in causal attention, where they let a
  /// position see later ones.
  bool allow_acausal = false;
};

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
  AttentionNormOptions norms = {};
  std::optional<TemperatureOptions> temperature = {};  // scores q k / tau or g q k, instead of q k / sqrt(d)
};

struct AttentionInputs {
  /// Boolean (true = may attend) or floating (added to the scores): [q, k], [batch, q, k] or [batch, heads,
  /// q, k], extents of 1 broadcast.
  Tensor mask = {};
  /// Positions seen before x; x is added to them. k counts both.
  KeyValueCache* cache = nullptr;
  /// Boolean [batch, k]: false where a key is padding. May come together with mask.
  Tensor key_mask = {};
  /// Filled with what the scores of this call look like, at the cost of computing them once more.
  AttentionRecord* record = nullptr;
};

/// x [.., length, embed_dim] -> the same shape: out_proj(concat over heads of softmax(q k^T / sqrt(d)) v), q,
/// k and v being slices of qkv_proj(x) in this order, each with its norm if it has one. A position that may
/// attend to nothing gives the bias of out_proj (before out_norm). Order of work: projection, norms, rotation
/// (or rotation, norms), cache, scores, cap, mask, softmax, context norm, output projection, out norm. So the
/// cache holds normalized keys. Throws for options outside their ranges, for a causal layer with a norm that
/// mixes positions unless that is allowed, and for an x whose last extent is not embed_dim.
class MultiheadAttention : public Module {
 public:
  explicit MultiheadAttention(const MultiheadAttentionOptions& options);
  Tensor operator()(const Tensor& x, const AttentionInputs& inputs = {});
  const MultiheadAttentionOptions& options() const { return options_; }
  std::string describe() const override;

  Linear qkv_proj;  // weight [(num_heads + 2 kv_heads) * d_head, embed_dim]
  std::optional<AnyLayer> q_norm, k_norm, v_norm, context_norm;
  std::optional<Temperature> temperature;
  Linear out_proj;
  std::optional<AnyLayer> out_norm;
  NORMA_PARTS(qkv_proj, q_norm, k_norm, v_norm, temperature, context_norm, out_proj, out_norm)

 private:
  struct Heads {
    Tensor q, k, v;  // [.., heads or kv_heads, length, d_head]
  };
  bool is_plain(const AttentionInputs& inputs) const;
  /// The result of qkv_proj in heads, with the norms over all of them.
  Heads split(const Tensor& all);
  void rotate_heads(Heads& heads, std::int64_t offset) const;
  void place_heads(Heads& heads, std::int64_t offset);
  Tensor join(const Tensor& context);

  MultiheadAttentionOptions options_;  // kv_heads filled in
};

}  // namespace norma::nn
