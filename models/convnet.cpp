#include "models/convnet.h"

#include "nn/convolution.h"
#include "nn/init.h"
#include "nn/norm/batch_norm.h"
#include "nn/norm/group_norm.h"
#include "nn/norm/instance_norm.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/rms_norm.h"
#include "nn/norm/weight_norm.h"
#include "nn/probe.h"

namespace norma::models {
namespace {

const ConvNetOptions& checked(const ConvNetOptions& o) {
  NORMA_CHECK(o.rows >= 4 && o.columns >= 4, "ConvNet: images must have at least 4 x 4 pixels, got ", o.rows,
              " x ", o.columns);
  NORMA_CHECK(o.channels > 0 && o.classes > 0, "ConvNet: needs channels and classes > 0, got ", o.channels,
              " and ", o.classes);
  return o;
}

// The choice of norm, in one place: a convolution and what stands between it and the activation. Its result
// is [batch, out, rows, columns].
struct Hidden {
  nn::AnyLayer layer, norm;
};
Hidden hidden_layer(const ConvNetOptions& o, std::int64_t in, std::int64_t out, std::int64_t rows,
                    std::int64_t columns) {
  nn::Conv2d layer(in, out, 3, {.padding = 1}, !makes_bias_useless(o.norm));
  nn::init::kaiming_normal_(layer.weight, {.nonlinearity = "relu"});
  const std::string& name = o.norm.name;
  if (name == "none") return {layer, nn::Identity()};
  if (name == "batch") return {layer, nn::BatchNorm2d(out)};
  if (name == "renorm")
    return {layer, nn::BatchRenorm2d({.num_features = out, .limits = o.norm.renorm_limits})};
  if (name == "instance") return {layer, nn::InstanceNorm2d({.num_features = out, .affine = true})};
  if (name == "group") return {layer, nn::GroupNorm(o.norm.groups, out)};
  if (name == "weight") return {nn::WeightNorm(layer), nn::Identity()};
  if (name == "layer") return {layer, nn::LayerNorm({.normalized_shape = {out, rows, columns}})};
  if (name == "rms") return {layer, nn::RMSNorm({.normalized_shape = {out, rows, columns}})};
  unknown_norm("ConvNet", o.norm);
}

}  // namespace

ConvNet::ConvNet(const ConvNetOptions& options)
    : activation(options.activation),
      pool(2),
      head(2 * checked(options).channels * (options.rows / 2 / 2) * (options.columns / 2 / 2),
           options.classes),
      options_(options) {
  std::int64_t in = 1, out = options.channels, rows = options.rows, columns = options.columns;
  for (int i = 0; i < 2; ++i) {
    Hidden hidden = hidden_layer(options, in, out, rows, columns);
    layers.push_back(std::move(hidden.layer));
    norms.push_back(std::move(hidden.norm));
    in = out;
    out *= 2;
    rows /= 2;
    columns /= 2;
  }
}

Tensor ConvNet::operator()(const Tensor& images, Tensor* last_input) {
  NORMA_CHECK(images.defined() && images.dim() == 3 && images.size(1) == options_.rows &&
                  images.size(2) == options_.columns,
              "ConvNet: images must be [batch, ", options_.rows, ", ", options_.columns, "], got ",
              images.defined() ? images.shape() : Shape{});
  constexpr int channels = 1;  // axis
  Tensor x = images.unsqueeze(channels);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const nn::probe::Scope scope("layers", i);
    x = nn::probe::note("input", norms[i](layers[i](x)), {.unit_axis = channels});
    if (last_input != nullptr && i + 1 == layers.size()) *last_input = x;
    x = nn::probe::note("activation", activation(x),
                        {.unit_axis = channels, .range = nn::probe::range_of(options_.activation)});
    x = pool(x);
  }
  return nn::probe::note("logits", head(x.flatten(1)));
}

std::string ConvNet::describe() const { return "norm=" + options_.norm.name; }

}  // namespace norma::models
