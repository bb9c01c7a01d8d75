// Position-wise feed-forward layers of a Transformer.
#pragma once

#include "nn/activation.h"
#include "nn/any_layer.h"
#include "nn/linear.h"

namespace norma::nn {

struct FeedForwardOptions {
  std::int64_t embed_dim = 0;
  std::int64_t hidden_dim = 0;           // 0: 4 * embed_dim
  std::string_view activation = "gelu";  // a name of Activation
  bool bias = true;
};

/// x [.., embed_dim] -> down_proj(activation(up_proj(x))), the same shape.
class FeedForward : public Module {
 public:
  explicit FeedForward(const FeedForwardOptions& options);
  Tensor operator()(const Tensor& x) const;

  Linear up_proj;
  Activation activation;
  Linear down_proj;
  NORMA_PARTS(up_proj, activation, down_proj)
};

struct SwiGLUOptions {
  std::int64_t embed_dim = 0;
  std::int64_t hidden_dim = 0;  // 0: 8 / 3 * embed_dim, which makes as many weights as FeedForward has
  bool bias = false;
};

/// Shazeer 2020 (arXiv:2002.05202, eq. 6): x [.., embed_dim] -> down_proj(silu(gate_proj(x)) * up_proj(x)).
class SwiGLU : public Module {
 public:
  explicit SwiGLU(const SwiGLUOptions& options);
  Tensor operator()(const Tensor& x) const;

  Linear gate_proj, up_proj, down_proj;
  NORMA_PARTS(gate_proj, up_proj, down_proj)
};

/// "swiglu": SwiGLU without biases; an activation's name: FeedForward with it. hidden_dim 0 is each one's
/// default.
AnyLayer make_feed_forward(std::string_view name, std::int64_t embed_dim, std::int64_t hidden_dim = 0,
                           bool bias = true);

}  // namespace norma::nn
