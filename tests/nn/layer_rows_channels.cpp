// Rows of the norms over channels. The table runs layers in eval mode; a row called "training" switches back.
#include "autograd/ops.h"
#include "nn/norm/batch_norm.h"
#include "nn/norm/batch_renorm.h"
#include "nn/norm/channels_last.h"
#include "nn/norm/group_norm.h"
#include "nn/norm/instance_norm.h"
#include "tests/nn/layer_row.h"

namespace norma::tests {
namespace {

using namespace nn;

const std::vector<std::string> all_keys{"weight", "bias", "running_mean", "running_var",
                                        "num_batches_tracked"};

/// Running statistics as after some training: neither 0 nor 1.
template <class Layer>
Layer warmed(Layer layer) {
  std::uint64_t seed = 30;
  for (const auto& [name, buffer] : layer.named_buffers()) {
    const Tensor values = normal(buffer.shape(), ++seed) * 0.3;
    buffer.copy_(is_floating(buffer.dtype()) ? (name == "running_mean" ? values : values.exp())
                                             : full(buffer.shape(), 7, f64));
  }
  return layer;
}

template <class Layer, class Options>
LayerRow channel_row(const std::string& name, const Options& options, Inputs inputs,
                     const std::vector<std::string>& keys, int absent = 0,
                     std::vector<WrongInput> wrong = {}) {
  return row(
      name, [options] { return warmed(Layer(options)); }, std::move(inputs), keys, absent, std::move(wrong));
}

/// The same row in training mode, and with the mask where there is a second input.
template <class Layer>
LayerRow training(LayerRow of) {
  of.call = [](Module& layer, const Inputs& in) -> Tensor {
    layer.train();
    if constexpr (std::invocable<Layer&, const Tensor&, const Tensor&>) {
      if (in.size() > 1) return dynamic_cast<Layer&>(layer)(in[0], in[1]);
    }
    return dynamic_cast<Layer&>(layer)(in[0]);
  };
  return of;
}

void add_batch_norms(std::vector<LayerRow>& rows) {
  const Inputs flat{normal({4, 3})}, long_{normal({2, 3, 4})}, image{normal({2, 3, 2, 3})};
  const BatchNormOptions options{.num_features = 3};
  const std::vector<WrongInput> wrong{
      {{normal({2, 4})}, "BatchNorm1d: axis 1 of x must have extent 3 (channels), got shape [2, 4]"},
      {{normal({2, 3, 2, 2})},
       "BatchNorm1d: x must have 2 or 3 axes [n, 3, spatial..], got shape [2, 3, 2, 2]"},
      {{Tensor()}, "BatchNorm1d: x is an undefined tensor"}};
  rows.push_back(channel_row<BatchNorm>("BatchNorm", options, {normal({2, 3, 2, 1, 2, 2})}, all_keys));
  rows.push_back(channel_row<BatchNorm1d>("BatchNorm1d", options, flat, all_keys, 0, wrong));
  rows.push_back(training<BatchNorm1d>(channel_row<BatchNorm1d>(
      "BatchNorm1d training", options, flat, all_keys, 0,
      {{{normal({1, 3})}, "more than 1 value per channel when training, got x of shape [1, 3]"}})));
  rows.push_back(training<BatchNorm1d>(channel_row<BatchNorm1d>(
      "BatchNorm1d training, masked", options, {normal({2, 3, 4}), normal({2, 4}, 5) > -0.5}, all_keys)));
  rows.push_back(training<BatchNorm1d>(channel_row<BatchNorm1d>(
      "BatchNorm1d training, weight only", BatchNormOptions{.num_features = 3, .eps = 0.1, .bias = false},
      long_, {"weight", "running_mean", "running_var", "num_batches_tracked"}, 1)));
  rows.push_back(training<BatchNorm1d>(channel_row<BatchNorm1d>(
      "BatchNorm1d training, bias only", BatchNormOptions{.num_features = 3, .weight = false}, long_,
      {"bias", "running_mean", "running_var", "num_batches_tracked"}, 1)));
  rows.push_back(channel_row<BatchNorm1d>(
      "BatchNorm1d without running statistics",
      BatchNormOptions{.num_features = 3, .affine = false, .track_running_stats = false}, long_, {}, 2));
  rows.push_back(channel_row<BatchNorm2d>("BatchNorm2d", options, image, all_keys, 0,
                                          {{{normal({2, 3, 4})}, "BatchNorm2d: x must have 4 axes"}}));
  rows.push_back(training<BatchNorm2d>(channel_row<BatchNorm2d>(
      "BatchNorm2d training, large eps", BatchNormOptions{.num_features = 3, .eps = 0.1}, image, all_keys)));
  rows.push_back(training<BatchNorm3d>(
      channel_row<BatchNorm3d>("BatchNorm3d training", options, {normal({1, 3, 2, 2, 2})}, all_keys, 0,
                               {{{normal({2, 3, 4, 4})}, "BatchNorm3d: x must have 5 axes"}})));
}

void add_batch_renorms(std::vector<LayerRow>& rows) {
  const std::vector<std::string> keys{"weight", "bias", "running_mean", "running_std", "num_batches_tracked"};
  const BatchRenormOptions options{.num_features = 3};
  rows.push_back(channel_row<BatchRenorm>("BatchRenorm", options, {normal({2, 3, 2, 1, 2})}, keys));
  rows.push_back(channel_row<BatchRenorm1d>(
      "BatchRenorm1d", options, {normal({4, 3})}, keys, 0,
      {{{normal({2, 2, 3})}, "BatchRenorm1d: axis 1 of x must have extent 3 (channels), got shape [2, 2, 3]"},
       {{normal({3})}, "BatchRenorm1d: x must have 2 or 3 axes"}}));
  rows.push_back(channel_row<BatchRenorm2d>(
      "BatchRenorm2d without affine", BatchRenormOptions{.num_features = 3, .affine = false},
      {normal({2, 3, 2, 2})}, {"running_mean", "running_std", "num_batches_tracked"}, 2));
}

/// Running statistics so far away that r and d lie on their limits, and momentum 0: then the layer is a
/// function that central differences can follow.
void add_training_renorm(std::vector<LayerRow>& rows) {
  const auto make = [] {
    BatchRenorm1d layer({.num_features = 3, .momentum = 0.0, .limits = [](std::int64_t) {
                           return RenormLimits{1.5, 0.5};
                         }});
    layer.running_mean = full({3}, 20);
    layer.running_std = full({3}, 6);
    return layer;
  };
  rows.push_back(
      training<BatchRenorm1d>(row("BatchRenorm1d training, limits reached", make, {normal({2, 3, 4})},
                                  {"weight", "bias", "running_mean", "running_std", "num_batches_tracked"})));
}

void add_instance_norms(std::vector<LayerRow>& rows) {
  const InstanceNormOptions affine{.num_features = 3, .affine = true};
  const InstanceNormOptions tracking{.num_features = 3, .affine = true, .track_running_stats = true};
  rows.push_back(channel_row<InstanceNorm>("InstanceNorm", InstanceNormOptions{.num_features = 3},
                                           {normal({2, 3, 2, 2, 1, 2})}, {}, 2));
  rows.push_back(channel_row<InstanceNorm1d>(
      "InstanceNorm1d", affine, {normal({2, 3, 4})}, {"weight", "bias"}, 0,
      {{{normal({2, 3, 1})}, "expected more than 1 spatial element, got x of shape [2, 3, 1]"},
       {{normal({2, 3})}, "InstanceNorm1d: x must have 3 axes [n, 3, spatial..], got shape [2, 3]"}}));
  rows.push_back(
      channel_row<InstanceNorm1d>("InstanceNorm1d tracking", tracking, {normal({2, 3, 4})}, all_keys));
  rows.push_back(training<InstanceNorm1d>(channel_row<InstanceNorm1d>(
      "InstanceNorm1d tracking, training", tracking, {normal({2, 3, 4})}, all_keys)));
  rows.push_back(channel_row<InstanceNorm2d>(
      "InstanceNorm2d weight only", InstanceNormOptions{.num_features = 3, .affine = true, .bias = false},
      {normal({2, 3, 2, 2})}, {"weight"}, 1));
  rows.push_back(channel_row<InstanceNorm2d>(
      "InstanceNorm2d bias only", InstanceNormOptions{.num_features = 3, .affine = true, .weight = false},
      {normal({2, 3, 2, 2})}, {"bias"}, 1));
  rows.push_back(channel_row<InstanceNorm3d>(
      "InstanceNorm3d with large eps", InstanceNormOptions{.num_features = 3, .eps = 0.1, .affine = true},
      {normal({1, 3, 2, 2, 2})}, {"weight", "bias"}));
}

void add_group_norms(std::vector<LayerRow>& rows) {
  const Inputs x{normal({2, 4, 3})};
  const GroupNormOptions two{.num_groups = 2, .num_channels = 4};
  rows.push_back(channel_row<GroupNorm>(
      "GroupNorm", two, x, {"weight", "bias"}, 0,
      {{{normal({2, 6, 5})}, "GroupNorm: axis 1 of x must have extent 4 (channels), got shape [2, 6, 5]"},
       {{normal({4})}, "GroupNorm: x must have at least 2 axes"}}));
  rows.push_back(channel_row<GroupNorm>("GroupNorm of rows", two, {normal({3, 4})}, {"weight", "bias"}));
  rows.push_back(channel_row<GroupNorm>(
      "GroupNorm weight only, large eps",
      GroupNormOptions{.num_groups = 4, .num_channels = 4, .eps = 0.1, .bias = false}, x, {"weight"}, 1));
  rows.push_back(channel_row<GroupNorm>("GroupNorm bias only",
                                        GroupNormOptions{.num_groups = 1, .num_channels = 4, .weight = false},
                                        x, {"bias"}, 1));
  rows.push_back(channel_row<GroupNorm>("GroupNorm without affine, of images",
                                        GroupNormOptions{.num_groups = 2, .num_channels = 4, .affine = false},
                                        {normal({2, 4, 2, 3})}, {}, 2));
}

void add_channels_last(std::vector<LayerRow>& rows) {
  const Inputs x{normal({2, 3, 4})};
  rows.push_back(row(
      "ChannelsLast over rows",
      [] { return ChannelsLast(GroupNorm(GroupNormOptions{.num_groups = 2, .num_channels = 4}), Rows::all); },
      x, {"weight", "bias"}, 0, {{{normal({2, 6})}, "GroupNorm: axis 1 of x must have extent 4"}}));
  rows.push_back(row("ChannelsLast by sequence",
                     [] {
                       return ChannelsLast(
                           InstanceNorm(InstanceNormOptions{.num_features = 4, .affine = true}),
                           Rows::by_sequence);
                     },
                     x, {"weight", "bias"}, 0,
                     {{{normal({4})}, "ChannelsLast: x must be [.., length, channels], got [4]"}}));
}

}  // namespace

std::vector<LayerRow> channel_layer_rows() {
  std::vector<LayerRow> rows;
  add_batch_norms(rows);
  add_batch_renorms(rows);
  add_training_renorm(rows);
  add_instance_norms(rows);
  add_group_norms(rows);
  add_channels_last(rows);
  return rows;
}

}  // namespace norma::tests
