#include "nn/feed_forward.h"

#include "nn/probe.h"

namespace norma::nn {
namespace {

// The hidden extent asked for, or numerator / denominator of embed_dim.
std::int64_t hidden_of(const char* name, std::int64_t embed_dim, std::int64_t hidden_dim,
                       std::int64_t numerator, std::int64_t denominator) {
  NORMA_CHECK(embed_dim > 0 && hidden_dim >= 0, name, ": needs embed_dim > 0 and hidden_dim >= 0, got ",
              embed_dim, " and ", hidden_dim);
  return hidden_dim > 0 ? hidden_dim : embed_dim * numerator / denominator;
}

}  // namespace

FeedForward::FeedForward(const FeedForwardOptions& o)
    : up_proj(o.embed_dim, hidden_of("FeedForward", o.embed_dim, o.hidden_dim, 4, 1), o.bias),
      activation(o.activation),
      down_proj(up_proj.out_features(), o.embed_dim, o.bias) {}

Tensor FeedForward::operator()(const Tensor& x) const {
  Tensor hidden = activation(up_proj(x));
  if (probe::is_recording())
    hidden = probe::note("activation", hidden, {.range = probe::range_of(activation.describe())});
  return down_proj(hidden);
}

SwiGLU::SwiGLU(const SwiGLUOptions& o)
    : gate_proj(o.embed_dim, hidden_of("SwiGLU", o.embed_dim, o.hidden_dim, 8, 3), o.bias),
      up_proj(o.embed_dim, gate_proj.out_features(), o.bias),
      down_proj(gate_proj.out_features(), o.embed_dim, o.bias) {}

Tensor SwiGLU::operator()(const Tensor& x) const {
  return down_proj(probe::note("activation", silu(gate_proj(x)) * up_proj(x)));
}

AnyLayer make_feed_forward(std::string_view name, std::int64_t embed_dim, std::int64_t hidden_dim,
                           bool bias) {
  if (name == "swiglu") return SwiGLU({.embed_dim = embed_dim, .hidden_dim = hidden_dim});
  return FeedForward({.embed_dim = embed_dim, .hidden_dim = hidden_dim, .activation = name, .bias = bias});
}

}  // namespace norma::nn
