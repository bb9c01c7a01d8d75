#include "nn/block.h"

#include "nn/feed_forward.h"
#include "nn/norm/norm.h"
#include "nn/probe.h"

namespace norma::nn {
namespace {

/// The attention that a placement asks for: its norms over those of the options.
MultiheadAttentionOptions attention_options(const BlockOptions& block, const LayerPlacement& placement) {
  MultiheadAttentionOptions o = block.attention;
  const auto take = [&](std::string& method, const std::string& placed) {
    if (!placed.empty()) method = placed;
    if (method == "block") method = block.norm;
    if (method == "none") method.clear();
  };
  take(o.norms.q, placement.norms.q);
  take(o.norms.k, placement.norms.k);
  take(o.norms.v, placement.norms.v);
  take(o.norms.context, placement.norms.context);
  take(o.norms.out, placement.norms.out);
  if (!o.norms.eps) o.norms.eps = block.eps;
  if (placement.temperature) o.temperature = placement.temperature;
  if (placement.softcap) o.softcap = placement.softcap;
  o.norms.allow_acausal = o.norms.allow_acausal || block.allow_acausal;
  return o;
}

void check_method(const BlockOptions& o, std::string_view method) {
  const bool allowed = o.allow_acausal || o.attention.norms.allow_acausal || !o.attention.causal;
  NORMA_CHECK(
      allowed || is_per_token(method), "TransformerBlock: the norm \"", method,
      "\" takes its statistics over positions, so that in a causal block a position sees later ones; set "
      "allow_acausal to have it all the same");
}

/// Norm number `place` (0 or 1) of a sublayer; empty where its scheme has none.
AnyLayer norm_of(const BlockOptions& o, const Residual& residual, int place) {
  if (residual.norms <= place) return {};
  const std::string& own = place == 0 ? residual.first : residual.second;
  const std::string_view method = own.empty() ? o.norm : std::string_view(own);
  check_method(o, method);
  return make_norm(method, o.attention.embed_dim, o.eps);
}

}  // namespace

TransformerBlock::TransformerBlock(const BlockOptions& o, const LayerPlacement& placement)
    : norm1(norm_of(o, placement.attention, 0)),
      norm1_out(norm_of(o, placement.attention, 1)),
      attention(attention_options(o, placement)),
      norm2(norm_of(o, placement.ffn, 0)),
      norm2_out(norm_of(o, placement.ffn, 1)),
      ffn(make_feed_forward(o.feed_forward, o.attention.embed_dim, o.hidden_dim, o.attention.bias)),
      dropout(o.dropout),
      attention_residual_(placement.attention),
      ffn_residual_(placement.ffn) {
  NORMA_CHECK(attention_residual_.apply && ffn_residual_.apply,
              "TransformerBlock: a residual scheme of the placement has no function (Residual::apply)");
}

Stream TransformerBlock::run(const Stream& x, const AttentionInputs& inputs) {
  const Stream y = attention_residual_.apply(x, {norm1, norm1_out}, [&](const Tensor& u) {
    return dropout(probe::note("attention", attention(u, inputs)));
  });
  return ffn_residual_.apply(y, {norm2, norm2_out}, [&](const Tensor& u) {
    const probe::Scope scope("ffn");
    return dropout(probe::note("output", ffn(u)));
  });
}

std::string TransformerBlock::describe() const {
  return "attention: " + attention_residual_.equation + ", ffn: " + ffn_residual_.equation;
}

}  // namespace norma::nn
