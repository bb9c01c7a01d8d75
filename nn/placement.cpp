#include "nn/placement.h"

namespace norma::nn {
namespace {

using L = std::int64_t;

/// The same in every layer.
std::function<LayerPlacement(L, L)> everywhere(const LayerPlacement& placement) {
  return [placement](L, L) { return placement; };
}

/// Which of q, k, v and the context are normalized: letters of "qkvc".
AttentionNorms norms_of(std::string_view letters, const std::string& method = "block") {
  const auto chosen = [&](char letter) {
    return letters.find(letter) != std::string_view::npos ? method : std::string();
  };
  return {.q = chosen('q'), .k = chosen('k'), .v = chosen('v'), .context = chosen('c')};
}

const char* const xiong = "Xiong et al. 2020, arXiv:2002.04745";
const char* const vaswani = "Vaswani et al. 2017, arXiv:1706.03762";
const char* const henry = "Henry et al. 2020, arXiv:2010.04245";
const char* const menary = "Menary et al. 2024, arXiv:2406.17837";
const char* const rybakov = "Rybakov et al. 2024, arXiv:2410.16682";
const char* const zhuo = "Zhuo et al. 2025 (HybridNorm), arXiv:2503.04598";

Placement pre() {
  return {.name = "pre",
          .equation = "Y = X + Attn(N(X)); X' = Y + FFN(N(Y))",
          .source = xiong,
          .layer = everywhere({})};
}

Placement post() {
  return {.name = "post",
          .equation = "Y = N(X + Attn(X)); X' = N(Y + FFN(Y))",
          .source = vaswani,
          .layer = everywhere({.attention = Residual::post(), .ffn = Residual::post()}),
          .final_norm = false,
          .init = TransformerInit::xavier};
}

Placement qk(const PlacementOptions& o) {
  return {.name = "qk",
          .equation = "pre, with scores q k / (|q| |k| tau), tau learned",
          .source = henry,
          .layer = everywhere({.norms = norms_of("qk", "l2"), .temperature = o.temperature})};
}

Placement softcap(const PlacementOptions& o) {
  return {.name = "softcap",
          .equation = "pre, with scores cap tanh(score / cap)",
          .source = "Gemma Team 2024 (Gemma 2), arXiv:2408.00118",
          .layer = everywhere({.softcap = o.cap})};
}

Placement rybakov_qk() {
  return {.name = "rybakov-qk",
          .equation = "pre, with N(q), N(k)",
          .source = rybakov,
          .layer = everywhere({.norms = norms_of("qk")})};
}

Placement rybakov_qk_cap(const PlacementOptions& o) {
  return {.name = "rybakov-qk-cap",
          .equation = "pre, with N(q), N(k), and scores cap tanh(score / cap)",
          .source = rybakov,
          .layer = everywhere({.norms = norms_of("qk"), .softcap = o.cap})};
}

Placement rybakov_qkv() {
  return {.name = "rybakov-qkv",
          .equation = "Y = X + Attn(X) with N(q), N(k), N(v); X' = Y + FFN(N(Y))",
          .source = rybakov,
          .layer = everywhere({.attention = Residual::plain(), .norms = norms_of("qkv")})};
}

Placement rybakov_qk_fc() {
  return {.name = "rybakov-qk-fc",
          .equation = "Y = X + N(Attn(N(X))) with N(q), N(k); X' = Y + N(FFN(N(Y)))",
          .source = rybakov,
          .layer = everywhere(
              {.attention = Residual::sandwich(), .ffn = Residual::sandwich(), .norms = norms_of("qk")})};
}

Placement mix(const PlacementOptions& o) {
  const double alpha = o.mix_alpha;
  return {.name = "mix",
          .equation = "post in the first floor(alpha L) of L layers, pre in the others",
          .source = "Li et al. 2025 (Mix-LN), arXiv:2412.13795",
          .layer = [alpha](L layer, L layers) {
            // 1e-9: alpha * layers may lie a rounding error below a whole number.
            const auto first = static_cast<L>(std::floor(alpha * static_cast<double>(layers) + 1e-9));
            const Residual scheme = layer < first ? Residual::post() : Residual::pre();
            return LayerPlacement{.attention = scheme, .ffn = scheme};
          }};
}

LayerPlacement hybrid_layer() {
  return {.attention = Residual::plain(), .ffn = Residual::normed(), .norms = norms_of("qkv")};
}

Placement hybrid() {
  return {.name = "hybrid",
          .equation = "Y = X + Attn(X) with N(q), N(k), N(v); X' = N(Y) + FFN(N(Y))",
          .source = zhuo,
          .layer = everywhere(hybrid_layer()),
          .init = TransformerInit::megatron};
}

Placement hybrid_star(const PlacementOptions& o) {
  const bool note = o.first_block == FirstBlock::note;
  Placement p = hybrid();
  p.name = "hybrid*";
  p.equation = std::string("hybrid, but in layer 0: Y = X + Attn(N(X)); X' = ") +
               (note ? "N(Y) + FFN(N(Y))" : "Y + FFN(N(Y))");
  p.layer = [note](L layer, L) {
    LayerPlacement placement = hybrid_layer();
    if (layer > 0) return placement;
    placement.attention = Residual::pre();
    if (!note) placement.ffn = Residual::pre();
    return placement;
  };
  return p;
}

Placement deepnorm() {
  return {.name = "deepnorm",
          .equation = "Y = N(a X + Attn(X)); X' = N(a Y + FFN(Y)), a = (2 L)^(1/4)",
          .source = "Wang et al. 2022 (DeepNet), arXiv:2203.00555",
          .layer =
              [](L, L layers) {
                const Residual scheme =
                    Residual::scaled_post(std::pow(2 * static_cast<double>(layers), 0.25));
                return LayerPlacement{.attention = scheme, .ffn = scheme};
              },
          .final_norm = false,
          .init = TransformerInit::deepnorm};
}

Placement sandwich() {
  return {
      .name = "sandwich",
      .equation = "Y = X + N(Attn(N(X))); X' = Y + N(FFN(N(Y)))",
      .source = "Ding et al. 2021 (CogView), arXiv:2105.13290; Kim et al. 2025 (Peri-LN), arXiv:2502.02732",
      .layer = everywhere({.attention = Residual::sandwich(), .ffn = Residual::sandwich()})};
}

Placement output() {
  return {.name = "output",
          .equation = "Y = X + N(Attn(X)); X' = Y + N(FFN(Y))",
          .source = "OLMo Team 2024 (OLMo 2), arXiv:2501.00656",
          .layer = everywhere({.attention = Residual::output(), .ffn = Residual::output()}),
          .init = TransformerInit::normal};
}

Placement scaled_pre() {
  return {.name = "scaled-pre",
          .equation = "Y = X + Attn(N(X) / sqrt(l)); X' = Y + FFN(N(Y) / sqrt(l)) in layer l = 1, 2, ..",
          .source = "Sun et al. 2025 (The Curse of Depth), arXiv:2502.05795",
          .layer = [](L layer, L) {
            const Residual scheme = Residual::scaled_pre(1 / std::sqrt(static_cast<double>(layer + 1)));
            return LayerPlacement{.attention = scheme, .ffn = scheme};
          }};
}

Placement layer_scale() {
  return {.name = "layer-scale",
          .equation = "Y = X + s1 Attn(N(X)); X' = Y + s2 FFN(N(Y)), s learned vectors",
          .source = "Touvron et al. 2021 (CaiT), arXiv:2103.17239",
          .layer = everywhere({.attention = Residual::layer_scale(), .ffn = Residual::layer_scale()})};
}

Placement rezero() {
  return {.name = "rezero",
          .equation = "Y = X + a1 Attn(X); X' = Y + a2 FFN(Y), a learned from 0",
          .source = "Bachlechner et al. 2020 (ReZero), arXiv:2003.04887",
          .layer = everywhere({.attention = Residual::rezero(), .ffn = Residual::rezero()}),
          .final_norm = false,
          .init = TransformerInit::normal};
}

/// Appendix G of HybridNorm: what attention reads (X, or N(X) after "pre-"), which of q, k, v and the context
/// are normalized, and what the feed-forward sublayer adds to (Y: "-pre"; N(Y): "-post").
Placement family_member(bool pre, std::string_view letters, bool post) {
  Placement p;
  std::string inside;
  for (const char letter : letters)
    inside +=
        (inside.empty() ? " with N(" : ", N(") + (letter == 'c' ? "context" : std::string(1, letter)) + ")";
  p.name =
      (pre ? "pre-" : "") + std::string(letters) + (letters.empty() ? "" : "-") + (post ? "post" : "pre");
  p.equation = std::string("Y = X + Attn(") + (pre ? "N(X)" : "X") + ")" + inside +
               "; X' = " + (post ? "N(Y)" : "Y") + " + FFN(N(Y))";
  p.source = std::string(zhuo) + ", appendix G";
  p.layer = everywhere({.attention = pre ? Residual::pre() : Residual::plain(),
                        .ffn = post ? Residual::normed() : Residual::pre(),
                        .norms = norms_of(letters)});
  p.init = TransformerInit::megatron;
  return p;
}

Placement post_pre() {
  Placement p = family_member(true, "", false);
  p.name = "post-pre";
  p.equation = "Y = N(X) + Attn(N(X)); X' = Y + FFN(N(Y))";
  p.layer = everywhere({.attention = Residual::normed()});
  return p;
}

Placement renamed(Placement p, const char* name, const char* source) {
  p.name = name;
  p.source = source;
  return p;
}

std::vector<Placement> family() {
  std::vector<Placement> all;
  for (const bool pre : {false, true}) {
    for (const char* letters : {"qkvc", "qkv", "qkc", "qk", "kv", "kc"}) {
      for (const bool post : {true, false}) all.push_back(family_member(pre, letters, post));
    }
  }
  all.push_back(family_member(true, "", true));
  all.push_back(post_pre());
  return all;
}

std::vector<Placement> make_all(const PlacementOptions& o) {
  std::vector<Placement> all{pre(),
                             post(),
                             qk(o),
                             renamed(family_member(false, "qkv", false), "qkv", menary),
                             renamed(family_member(false, "qkvc", false), "qkvc", zhuo),
                             softcap(o),
                             rybakov_qk(),
                             rybakov_qk_cap(o),
                             rybakov_qkv(),
                             rybakov_qk_fc(),
                             mix(o),
                             hybrid(),
                             hybrid_star(o),
                             deepnorm(),
                             sandwich(),
                             output(),
                             scaled_pre(),
                             layer_scale(),
                             rezero()};
  for (Placement& p : family()) all.push_back(std::move(p));
  return all;
}

}  // namespace

Placement make_placement(std::string_view name, const PlacementOptions& options) {
  NORMA_CHECK(options.mix_alpha >= 0 && options.mix_alpha <= 1,
              "placement: mix_alpha must lie in [0, 1], got ", options.mix_alpha);
  NORMA_CHECK(std::isfinite(options.cap) && options.cap > 0, "placement: cap must be finite and > 0, got ",
              options.cap);
  std::string known;
  for (Placement& placement : make_all(options)) {
    if (placement.name == name) return placement;
    known += (known.empty() ? "" : ", ") + placement.name;
  }
  throw Error(norma::detail::concat("placement: unknown name \"", name, "\"; known are ", known));
}

const std::vector<Placement>& placements() {
  static const std::vector<Placement> all = make_all({});
  return all;
}

}  // namespace norma::nn
