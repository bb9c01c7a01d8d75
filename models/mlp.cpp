#include "models/mlp.h"

#include <algorithm>
#include <cmath>

#include "nn/init.h"
#include "nn/norm/batch_norm.h"
#include "nn/norm/group_norm.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/rms_norm.h"
#include "nn/norm/weight_norm.h"
#include "nn/probe.h"

namespace norma::models {
namespace {

const MlpOptions& checked(const MlpOptions& o) {
  NORMA_CHECK(o.inputs > 0 && o.classes > 0, "Mlp: needs inputs and classes > 0, got ", o.inputs, " and ",
              o.classes);
  NORMA_CHECK(
      !o.hidden.empty() && std::all_of(o.hidden.begin(), o.hidden.end(), [](auto n) { return n > 0; }),
      "Mlp: needs at least one hidden layer, all of width > 0, got ",
      std::span<const std::int64_t>(o.hidden));
  NORMA_CHECK(std::isfinite(o.init_std) && o.init_std > 0, "Mlp: init_std must be > 0, got ", o.init_std);
  return o;
}

nn::Linear linear_layer(std::int64_t in, std::int64_t out, bool bias, double std) {
  nn::Linear layer(in, out, bias);
  nn::init::normal_(layer.weight, 0, std);
  if (bias) nn::init::zeros_(layer.bias);
  return layer;
}

// The choice of norm, in one place: a hidden layer and what stands between it and the activation. Sums are
// [batch, width].
struct Hidden {
  nn::AnyLayer layer, norm;
};
Hidden hidden_layer(const MlpOptions& o, std::int64_t in, std::int64_t width) {
  const std::string& name = o.norm.name;
  NORMA_CHECK(name != "instance",
              "Mlp: an instance norm of [batch, units] would see one value at a time and give zeros; use "
              "layer or group");
  nn::Linear layer = linear_layer(in, width, !makes_bias_useless(o.norm), o.init_std);
  if (name == "none") return {layer, nn::Identity()};
  if (name == "batch") return {layer, nn::BatchNorm1d(width)};
  if (name == "renorm")
    return {layer, nn::BatchRenorm1d({.num_features = width, .limits = o.norm.renorm_limits})};
  if (name == "group") return {layer, nn::GroupNorm(o.norm.groups, width)};
  if (name == "weight") return {nn::WeightNorm(layer), nn::Identity()};
  if (name == "layer") return {layer, nn::LayerNorm(width)};
  if (name == "rms") return {layer, nn::RMSNorm(width)};
  unknown_norm("Mlp", o.norm);
}

}  // namespace

Mlp::Mlp(const MlpOptions& options)
    : activation(options.activation),
      head(linear_layer(checked(options).hidden.back(), options.classes, true, options.init_std)),
      options_(options) {
  std::int64_t width = options.inputs;
  for (const std::int64_t next : options.hidden) {
    Hidden hidden = hidden_layer(options, width, next);
    layers.push_back(std::move(hidden.layer));
    norms.push_back(std::move(hidden.norm));
    width = next;
  }
}

Tensor Mlp::operator()(const Tensor& images, Tensor* last_input) {
  NORMA_CHECK(images.defined() && images.dim() >= 2 && images.numel() == images.size(0) * options_.inputs,
              "Mlp: images must be [batch, ..] of ", options_.inputs, " pixels each, got ",
              images.defined() ? images.shape() : Shape{});
  Tensor x = images.reshape({images.size(0), options_.inputs});
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const nn::probe::Scope scope("layers", i);
    x = nn::probe::note("input", norms[i](layers[i](x)));
    if (last_input != nullptr && i + 1 == layers.size()) *last_input = x;
    x = nn::probe::note("activation", activation(x), {.range = nn::probe::range_of(options_.activation)});
  }
  return nn::probe::note("logits", head(x));
}

std::string Mlp::describe() const { return "norm=" + options_.norm.name; }

}  // namespace norma::models
