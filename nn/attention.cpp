#include "nn/attention.h"

#include <cmath>
#include <limits>
#include <tuple>

#include "autograd/ops.h"
#include "nn/rotary.h"

namespace norma::nn {
namespace {

MultiheadAttentionOptions checked(MultiheadAttentionOptions o) {
  constexpr const char* name = "MultiheadAttention: ";
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
  NORMA_CHECK(!o.softcap || (*o.softcap > 0 && std::isfinite(*o.softcap)), name,
              "softcap must be finite and > 0, got ", *o.softcap);
  return o;
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
      options_(checked(options)) {}

MultiheadAttention::Heads MultiheadAttention::project(const Tensor& x) const {
  const std::int64_t q_heads = options_.num_heads, kv_heads = options_.kv_heads;
  const std::int64_t d_head = options_.embed_dim / q_heads;
  const Tensor all = qkv_proj(x).unflatten(-1, {q_heads + 2 * kv_heads, d_head}).transpose(-3, -2);
  return {all.narrow(-3, 0, q_heads), all.narrow(-3, q_heads, kv_heads),
          all.narrow(-3, q_heads + kv_heads, kv_heads)};
}

void MultiheadAttention::rotate_heads(Heads& heads, std::int64_t offset) const {
  const RotaryTable table = rotary_table(heads.q.size(-2), heads.q.size(-1), offset, options_.rotary_base,
                                         heads.q.dtype(), heads.q.device());
  heads.q = rotate(heads.q, table);
  heads.k = rotate(heads.k, table);
}

Tensor MultiheadAttention::operator()(const Tensor& x, const AttentionInputs& inputs) const {
  NORMA_CHECK(x.defined() && x.dim() >= 2 && x.size(-1) == options_.embed_dim,
              "MultiheadAttention: x must be [.., length, ", options_.embed_dim, "] (embed_dim), got ",
              x.defined() ? x.shape() : Shape());
  Heads heads = project(x);
  if (options_.rotary) rotate_heads(heads, inputs.cache != nullptr ? inputs.cache->length() : 0);
  if (inputs.cache != nullptr) std::tie(heads.k, heads.v) = inputs.cache->append(heads.k, heads.v);
  SdpaOptions options;
  options.mask = combined_mask(inputs);
  options.causal = options_.causal;
  options.cap = options_.softcap.value_or(0);
  options.dropout = is_training() ? options_.dropout : 0;
  const Tensor context = scaled_dot_product_attention(heads.q, heads.k, heads.v, options);
  return out_proj(context.transpose(-3, -2).flatten(-2, -1));
}

std::string MultiheadAttention::describe() const {
  std::string text =
      norma::detail::concat("embed_dim=", options_.embed_dim, ", num_heads=", options_.num_heads);
  if (options_.kv_heads != options_.num_heads)
    text += norma::detail::concat(", kv_heads=", options_.kv_heads);
  if (options_.causal) text += ", causal";
  if (options_.rotary) text += norma::detail::concat(", rotary_base=", options_.rotary_base);
  if (options_.softcap) text += norma::detail::concat(", softcap=", *options_.softcap);
  if (options_.dropout > 0) text += norma::detail::concat(", dropout=", options_.dropout);
  return text;
}

}  // namespace norma::nn
