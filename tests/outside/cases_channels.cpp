#include "autograd/normalization.h"
#include "nn/norm/batch_norm.h"
#include "nn/norm/batch_renorm.h"
#include "nn/norm/group_norm.h"
#include "nn/norm/instance_norm.h"
#include "tests/outside/cases.h"

namespace norma::tests::outside {
namespace {

using In = Tensors&;
using Opt = const CaseOptions&;

/// Weight, bias and mask of an op, as far as the case has them; they follow x.
struct Arguments {
  Tensor weight, bias, mask;
  Arguments(const Tensors& in, const CaseOptions& o) {
    std::size_t next = 1;
    if (o.flag("weight")) weight = in.at(next++);
    if (o.flag("bias")) bias = in.at(next++);
    if (o.flag("masked")) mask = in.at(next);
  }
};

Tensors batch_norm_op(Tensors& in, const CaseOptions& o) {
  const Arguments a(in, o);
  const double eps = o.number("eps");
  if (!o.flag("given")) return {batch_norm(in[0], a.weight, a.bias, eps, a.mask)};
  return {batch_norm(in[0], batch_statistics(in[0], a.mask), a.weight, a.bias, eps, a.mask)};
}

Tensors batch_norm_inference_op(Tensors& in, const CaseOptions& o) {
  const Arguments a(in, o);
  const auto constant = [&](const char* name) { return tensor(o.numbers(name), {in[0].size(1)}); };
  return {batch_norm_inference(in[0], constant("mean"), constant("var"), a.weight, a.bias, o.number("eps"),
                               a.mask)};
}

/// y, then the buffers as the call has left them.
template <class Layer>
Tensors with_state(Layer layer, Tensors& in, const CaseOptions& o) {
  take_parameters(layer, in, o);
  layer.train(o.flag("training"));
  Tensors outputs;
  if constexpr (std::invocable<Layer&, const Tensor&, const Tensor&>) {
    outputs.push_back(o.flag("masked") ? layer(in[0], in[1]) : layer(in[0]));
  } else {
    outputs.push_back(layer(in[0]));
  }
  for (const auto& [name, buffer] : layer.named_buffers()) outputs.push_back(buffer);
  return outputs;
}

std::optional<double> momentum_of(const CaseOptions& o) {
  if (o.number("momentum") < 0) return std::nullopt;
  return o.number("momentum");
}

/// A layer with the options that batch and instance norm share.
template <class Layer, class Options>
Tensors channel_norm(Tensors& in, const CaseOptions& o) {
  return with_state(Layer(Options{.num_features = o.integer("features"),
                                  .eps = o.number("eps"),
                                  .momentum = momentum_of(o),
                                  .affine = o.flag("affine"),
                                  .weight = o.flag("weight"),
                                  .bias = o.flag("bias"),
                                  .track_running_stats = o.flag("track")}),
                    in, o);
}

template <class Layer>
Tensors batch_renorm(Tensors& in, const CaseOptions& o) {
  const nn::RenormLimits limits{o.number("r_max"), o.number("d_max")};
  return with_state(Layer(nn::BatchRenormOptions{.num_features = o.integer("features"),
                                                 .eps = o.number("eps"),
                                                 .momentum = momentum_of(o),
                                                 .affine = o.flag("affine"),
                                                 .weight = o.flag("weight"),
                                                 .bias = o.flag("bias"),
                                                 .limits = [=](std::int64_t) { return limits; }}),
                    in, o);
}

Tensors group_norm_layer(Tensors& in, const CaseOptions& o) {
  nn::GroupNorm layer({.num_groups = o.integer("groups"),
                       .num_channels = o.integer("channels"),
                       .eps = o.number("eps"),
                       .affine = o.flag("affine"),
                       .weight = o.flag("weight"),
                       .bias = o.flag("bias")});
  take_parameters(layer, in, o);
  return {layer(in[0])};
}

}  // namespace

std::vector<Row> channel_rows() {
  using nn::BatchNormOptions, nn::InstanceNormOptions;
  return {
      {"batch_norm", batch_norm_op},
      {"batch_norm_inference", batch_norm_inference_op},
      {"group_norm",
       [](In in, Opt o) -> Tensors {
         const Arguments a(in, o);
         return {group_norm(in[0], o.integer("groups"), a.weight, a.bias, o.number("eps"))};
       }},
      {"instance_norm",
       [](In in, Opt o) -> Tensors {
         const Arguments a(in, o);
         return {instance_norm(in[0], a.weight, a.bias, o.number("eps"))};
       }},
      {"BatchNorm", channel_norm<nn::BatchNorm, BatchNormOptions>},
      {"BatchNorm1d", channel_norm<nn::BatchNorm1d, BatchNormOptions>},
      {"BatchNorm2d", channel_norm<nn::BatchNorm2d, BatchNormOptions>},
      {"BatchNorm3d", channel_norm<nn::BatchNorm3d, BatchNormOptions>},
      {"BatchRenorm", batch_renorm<nn::BatchRenorm>},
      {"BatchRenorm1d", batch_renorm<nn::BatchRenorm1d>},
      {"BatchRenorm2d", batch_renorm<nn::BatchRenorm2d>},
      {"InstanceNorm", channel_norm<nn::InstanceNorm, InstanceNormOptions>},
      {"InstanceNorm1d", channel_norm<nn::InstanceNorm1d, InstanceNormOptions>},
      {"InstanceNorm2d", channel_norm<nn::InstanceNorm2d, InstanceNormOptions>},
      {"InstanceNorm3d", channel_norm<nn::InstanceNorm3d, InstanceNormOptions>},
      {"GroupNorm", group_norm_layer},
  };
}

}  // namespace norma::tests::outside
