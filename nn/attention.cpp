#include "nn/attention.h"

#include <cmath>
#include <limits>
#include <tuple>

#include "autograd/ops/internal.h"
#include "nn/norm/norm.h"
#include "nn/rotary.h"

namespace norma::nn {
namespace {

constexpr const char* name = "MultiheadAttention: ";

void check_norms(const MultiheadAttentionOptions& o) {
  using Width = AttentionNormOptions::Width;
  NORMA_CHECK(!o.norms.after_rotary || o.norms.width == Width::head, name,
              "norms after the rotation are per head; Width::whole needs after_rotary = false");
  NORMA_CHECK(!o.temperature || o.temperature->heads == 1 || o.temperature->heads == o.num_heads, name,
              "temperature needs 1 number or one for each of ", o.num_heads, " heads, got ",
              o.temperature->heads);
  for (const std::string& method : {o.norms.q, o.norms.k, o.norms.v, o.norms.context, o.norms.out}) {
    NORMA_CHECK(method.empty() || !o.causal || o.norms.allow_acausal || is_per_token(method), name,
                "the norm \"", method,
                "\" takes its statistics over positions, so that in causal attention a position sees "
                "later ones; set norms.allow_acausal to have it all the same");
  }
}

MultiheadAttentionOptions checked(MultiheadAttentionOptions o) {
  NORMA_CHECK(o.embed_dim > 0 && o.num_heads > 0, name, "needs embed_dim > 0 and num_heads > 0, got ",
              o.embed_dim, " and ", o.num_heads);
  NORMA_CHECK(o.embed_dim % o.num_heads == 0, name, "embed_dim (", o.embed_dim,
              ") is not divisible by num_heads (", o.num_heads, ")");
  NORMA_CHECK(o.kv_heads >= 0, name, "kv_heads must be >= 0, got ", o.kv_heads);
  if (o.kv_heads == 0) o.kv_heads = o.num_heads;
  NORMA_CHECK(o.num_heads % o.kv_heads == 0, name, "num_heads (", o.num_heads,
              ") is not divisible by kv_heads (", o.kv_heads, ")");
  NORMA_CHECK(o.dropout >= 0 && o.dropout < 1, name, "dropout must be in [0, 1), got ", o.dropout);
  NORMA_CHECK(!o.rotary || o.embed_dim / o.num_heads % 2 == 0, name, "rotary needs an even head size, got ",
              o.embed_dim / o.num_heads);
  NORMA_CHECK(o.rotary_base > 0, name, "rotary_base must be > 0, got ", o.rotary_base);
  check_norms(o);
  NORMA_CHECK(!o.softcap || (*o.softcap > 0 && std::isfinite(*o.softcap)), name,
              "softcap must be finite and > 0, got ", *o.softcap);
  return o;
}

std::optional<AnyLayer> norm_of(const std::string& method, std::int64_t width, std::optional<double> eps) {
  if (method.empty()) return std::nullopt;
  return make_norm(method, width, eps);
}

/// Of q, or with `heads` key heads of k and v; `heads` as in the options.
std::optional<AnyLayer> head_norm(const std::string& method, const MultiheadAttentionOptions& o,
                                  std::int64_t heads) {
  const std::int64_t d_head = o.embed_dim / o.num_heads;
  const bool whole = o.norms.width == AttentionNormOptions::Width::whole;
  return norm_of(method, whole ? heads * d_head : d_head, o.norms.eps);
}

Linear make_qkv(const MultiheadAttentionOptions& o) {
  return Linear(o.embed_dim, (o.num_heads + 2 * o.kv_heads) * (o.embed_dim / o.num_heads), o.bias);
}

// One mask that broadcasts to the scores [batch, heads, q, k]; undefined when there is none.
Tensor combined_mask(const AttentionInputs& inputs) {
  Tensor mask = inputs.mask;
  if (mask.defined() && mask.dim() == 3) mask = mask.unsqueeze(1);
  if (!inputs.key_mask.defined()) return mask;
  NORMA_CHECK(inputs.key_mask.dim() == 2 && inputs.key_mask.dtype() == boolean,
              "MultiheadAttention: key_mask must be boolean [batch, k], got ", inputs.key_mask.dtype(), " ",
              inputs.key_mask.shape());
  const Tensor keys = inputs.key_mask.unsqueeze(1).unsqueeze(1);
  if (!mask.defined()) return keys;
  if (mask.dtype() == boolean) return logical_and(mask, keys);
  const double infinity = std::numeric_limits<double>::infinity();
  return where(keys, mask, full({}, -infinity, mask.dtype(), mask.device()));
}

}  // namespace

MultiheadAttention::MultiheadAttention(const MultiheadAttentionOptions& options)
    : qkv_proj(make_qkv(checked(options))),
      out_proj(options.embed_dim, options.embed_dim, options.out_bias),
      options_(checked(options)) {
  const AttentionNormOptions& norms = options_.norms;
  q_norm = head_norm(norms.q, options_, options_.num_heads);
  k_norm = head_norm(norms.k, options_, options_.kv_heads);
  v_norm = head_norm(norms.v, options_, options_.kv_heads);
  context_norm = head_norm(norms.context, options_, options_.num_heads);
  out_norm = norm_of(norms.out, options_.embed_dim, norms.eps);
  if (options_.temperature) temperature.emplace(*options_.temperature);
}

/// Nothing happens to q, k and v between their projection and the scores.
bool MultiheadAttention::is_plain(const AttentionInputs& inputs) const {
  return !q_norm && !k_norm && !v_norm && !temperature && !options_.rotary && inputs.cache == nullptr &&
         inputs.record == nullptr;
}

MultiheadAttention::Heads MultiheadAttention::split(const Tensor& all) {
  const std::int64_t d_head = options_.embed_dim / options_.num_heads;
  const bool whole = options_.norms.width == AttentionNormOptions::Width::whole;
  const auto part = [&](std::int64_t first, std::int64_t heads, std::optional<AnyLayer>& norm) {
    Tensor y = all.narrow(-1, first * d_head, heads * d_head);
    if (norm && whole) y = (*norm)(y);
    return y.unflatten(-1, {heads, d_head}).transpose(-3, -2);
  };
  const std::int64_t q_heads = options_.num_heads, kv_heads = options_.kv_heads;
  return {part(0, q_heads, q_norm), part(q_heads, kv_heads, k_norm),
          part(q_heads + kv_heads, kv_heads, v_norm)};
}

void MultiheadAttention::rotate_heads(Heads& heads, std::int64_t offset) const {
  const RotaryTable table = rotary_table(heads.q.size(-2), heads.q.size(-1), offset, options_.rotary_base,
                                         heads.q.dtype(), heads.q.device());
  heads.q = rotate(heads.q, table);
  heads.k = rotate(heads.k, table);
}

/// The norms of each head, and positions: in the order of the options.
void MultiheadAttention::place_heads(Heads& heads, std::int64_t offset) {
  const bool per_head = options_.norms.width == AttentionNormOptions::Width::head;
  if (options_.rotary && options_.norms.after_rotary) rotate_heads(heads, offset);
  if (per_head && q_norm) heads.q = (*q_norm)(heads.q);
  if (per_head && k_norm) heads.k = (*k_norm)(heads.k);
  if (per_head && v_norm) heads.v = (*v_norm)(heads.v);
  if (options_.rotary && !options_.norms.after_rotary) rotate_heads(heads, offset);
}

/// The context of all heads side by side, projected.
Tensor MultiheadAttention::join(const Tensor& context) {
  const bool whole = options_.norms.width == AttentionNormOptions::Width::whole;
  Tensor y = context;
  if (context_norm && !whole) y = (*context_norm)(y);
  y = y.transpose(-3, -2).flatten(-2, -1);
  if (context_norm && whole) y = (*context_norm)(y);
  y = out_proj(y);
  return out_norm ? (*out_norm)(y) : y;
}

Tensor MultiheadAttention::operator()(const Tensor& x, const AttentionInputs& inputs) {
  NORMA_CHECK(x.defined() && x.dim() >= 2 && x.size(-1) == options_.embed_dim,
              "MultiheadAttention: x must be [.., length, ", options_.embed_dim, "] (embed_dim), got ",
              x.defined() ? x.shape() : Shape());
  const Tensor all = qkv_proj(x);
  SdpaOptions options{.mask = combined_mask(inputs), .causal = options_.causal};
  options.cap = options_.softcap.value_or(0);
  options.dropout = is_training() ? options_.dropout : 0;
  if (is_plain(inputs) && x.dim() == 3)
    return join(packed_attention(all, options_.num_heads, options_.kv_heads, options));
  Heads heads = split(all);
  place_heads(heads, inputs.cache != nullptr ? inputs.cache->length() : 0);
  if (temperature) {
    heads.q = (*temperature)(heads.q);
    options.scale = 1;
  }
  if (inputs.cache != nullptr) std::tie(heads.k, heads.v) = inputs.cache->append(heads.k, heads.v);
  if (inputs.record != nullptr) *inputs.record = record_attention(heads.q, heads.k, options);
  return join(scaled_dot_product_attention(heads.q, heads.k, heads.v, options));
}

std::string MultiheadAttention::describe() const {
  std::string text =
      norma::detail::concat("embed_dim=", options_.embed_dim, ", num_heads=", options_.num_heads);
  if (options_.kv_heads != options_.num_heads)
    text += norma::detail::concat(", kv_heads=", options_.kv_heads);
  if (options_.causal) text += ", causal";
  if (options_.rotary) text += norma::detail::concat(", rotary_base=", options_.rotary_base);
  if (options_.softcap) text += norma::detail::concat(", softcap=", *options_.softcap);
  const AttentionNormOptions& norms = options_.norms;
  for (const auto& [part, method] : {std::pair{"q", &norms.q},
                                     {"k", &norms.k},
                                     {"v", &norms.v},
                                     {"context", &norms.context},
                                     {"out", &norms.out}}) {
    if (!method->empty()) text += norma::detail::concat(", ", part, "_norm=", *method);
  }
  if (options_.dropout > 0) text += norma::detail::concat(", dropout=", options_.dropout);
  return text;
}

}  // namespace norma::nn
