// Starting values of a Transformer's weights. They go by the names of the parts: `out_proj.weight` and
// `down_proj.weight` lead back to the residual stream, `qkv_proj.weight` holds q, k and v.
#pragma once

#include <string_view>

#include "nn/module.h"
#include "nn/placement.h"

namespace norma::nn {

struct TransformerInitOptions {
  TransformerInit init = TransformerInit::gpt2;
  std::int64_t layers = 1;    // blocks of the model, >= 1
  std::int64_t width = 1;     // features of a position, >= 1
  std::int64_t kv_width = 0;  // rows of qkv_proj.weight that are k, and v: d_head * kv_heads; 0: width
};

/// Writes all parameters of rank >= 2 of the module; biases become 0, other vectors stay. Blocks are the
/// parts named blocks.0, blocks.1, ..; embeddings and heads are all other matrices. With L layers and width
/// d:
///
///   gpt2          N(0, 0.02^2); back to the stream N(0, 0.02^2 / (2 L))   (Radford et al. 2019)
///   normal        N(0, 1 / (2.5 d)), cut at 3 standard deviations         (HybridNorm, section 5.4)
///   depth_scaled  the same, back to the stream divided by sqrt(2 l), l = 1, 2, .. the block
///   megatron      the same, back to the stream divided by sqrt(2 L)
///   xavier        blocks Xavier normal, N(0, 2 / (in + out)); others N(0, 0.02^2)   (Xiong et al. 2020)
///   deepnorm      as xavier, with the gain (8 L)^(-1/4) for v, the output projection and the feed-forward
///                 matrices   (Wang et al. 2022, arXiv:2203.00555)
///
/// Draws from the generator given, or the thread's default one. Throws for options outside their ranges.
void initialize_transformer(Module& module, const TransformerInitOptions& options,
                            Generator* generator = nullptr);

/// "gpt2", "normal", "depth-scaled", "megatron", "xavier", "deepnorm". Throws for other names, listing these.
TransformerInit parse_transformer_init(std::string_view name);

}  // namespace norma::nn
