#include "nn/transformer_init.h"

#include <charconv>
#include <cmath>

#include "nn/init.h"

namespace norma::nn {
namespace {

using enum TransformerInit;

constexpr std::pair<std::string_view, TransformerInit> names[] = {
    {"gpt2", gpt2},         {"normal", normal}, {"depth-scaled", depth_scaled},
    {"megatron", megatron}, {"xavier", xavier}, {"deepnorm", deepnorm},
};

/// The number of the block that a parameter belongs to, from 0; -1 outside blocks.
std::int64_t block_of(std::string_view name) {
  constexpr std::string_view mark = "blocks.";
  const std::size_t at = name.find(mark);
  if (at == std::string_view::npos) return -1;
  std::int64_t block = -1;
  const std::string_view digits = name.substr(at + mark.size());
  std::from_chars(digits.data(), digits.data() + digits.size(), block);
  return block;
}

bool leads_back(std::string_view name) {
  return block_of(name) >= 0 && (name.ends_with("out_proj.weight") || name.ends_with("down_proj.weight"));
}

class Initializer {
 public:
  Initializer(const TransformerInitOptions& options, Generator* generator)
      : o_(options), generator_(generator), layers_(static_cast<double>(options.layers)) {}

  void operator()(const std::string& name, const Tensor& weight) const {
    switch (o_.init) {
      case gpt2:
        init::normal_(weight, 0, leads_back(name) ? 0.02 / std::sqrt(2 * layers_) : 0.02, generator_);
        break;
      case normal:
      case depth_scaled:
      case megatron:
        truncated(weight, leads_back(name) ? back_divisor(name) : 1);
        break;
      case xavier:
      case deepnorm:
        if (block_of(name) < 0) {
          init::normal_(weight, 0, 0.02, generator_);
        } else {
          glorot(name, weight);
        }
    }
  }

 private:
  double back_divisor(const std::string& name) const {
    if (o_.init == depth_scaled) return std::sqrt(2 * static_cast<double>(block_of(name) + 1));
    return o_.init == megatron ? std::sqrt(2 * layers_) : 1;
  }

  void truncated(const Tensor& weight, double divisor) const {
    const double std = 1 / std::sqrt(2.5 * static_cast<double>(o_.width)) / divisor;
    init::trunc_normal_(weight, 0, std, -3 * std, 3 * std, generator_);
  }

  /// q, k and v are matrices of their own that happen to be stored as one.
  void glorot(const std::string& name, const Tensor& weight) const {
    const double gain = o_.init == deepnorm ? std::pow(8 * layers_, -0.25) : 1;
    if (!name.ends_with("qkv_proj.weight")) {
      init::xavier_normal_(weight, gain, generator_);
      return;
    }
    const std::int64_t kv = o_.kv_width == 0 ? o_.width : o_.kv_width, q = weight.size(0) - 2 * kv;
    init::xavier_normal_(weight.detach().narrow(0, 0, q), 1, generator_);
    init::xavier_normal_(weight.detach().narrow(0, q, kv), 1, generator_);
    init::xavier_normal_(weight.detach().narrow(0, q + kv, kv), gain, generator_);
  }

  TransformerInitOptions o_;
  Generator* generator_;
  double layers_;
};

}  // namespace

void initialize_transformer(Module& module, const TransformerInitOptions& options, Generator* generator) {
  NORMA_CHECK(options.layers >= 1 && options.width >= 1 && options.kv_width >= 0,
              "initialize_transformer: needs layers and width >= 1 and kv_width >= 0, got ", options.layers,
              ", ", options.width, " and ", options.kv_width);
  const Initializer initialize(options, generator);
  for (const auto& [name, parameter] : module.named_parameters()) {
    if (name.ends_with("bias")) {
      init::zeros_(parameter);
    } else if (parameter.dim() == 2) {
      initialize(name, parameter);
    }
  }
}

TransformerInit parse_transformer_init(std::string_view name) {
  std::string known;
  for (const auto& [spelled, init] : names) {
    if (name == spelled) return init;
    known += (known.empty() ? "" : ", ") + std::string(spelled);
  }
  throw Error(norma::detail::concat("transformer init: unknown name \"", name, "\"; known are ", known));
}

}  // namespace norma::nn
