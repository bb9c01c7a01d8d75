#include "nn/norm/norm.h"

#include <algorithm>
#include <string>
#include <vector>

#include "nn/activation.h"
#include "nn/norm/ada_norm.h"
#include "nn/norm/batch_norm.h"
#include "nn/norm/batch_renorm.h"
#include "nn/norm/channels_last.h"
#include "nn/norm/dynamic_tanh.h"
#include "nn/norm/group_norm.h"
#include "nn/norm/instance_norm.h"
#include "nn/norm/l2_norm.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/layer_scale.h"
#include "nn/norm/rezero.h"
#include "nn/norm/rms_norm.h"
#include "nn/norm/scale_norm.h"

namespace norma::nn {
namespace {

using Eps = std::optional<double>;

struct Method {
  NormInfo info;
  AnyLayer (*make)(std::int64_t width, Eps eps);
};

AnyLayer layer(std::int64_t width, Eps eps, bool affine) {
  LayerNormOptions options{.normalized_shape = {width}, .elementwise_affine = affine};
  options.eps = eps.value_or(options.eps);
  return LayerNorm(options);
}

/// The form's own eps: 1e-8 outside the root, as in the authors' code; 1e-5 inside, as in OLMo.
AnyLayer rms(std::int64_t width, Eps eps, RmsEps mode, double partial = 1) {
  return RMSNorm({.normalized_shape = {width},
                  .eps = eps.value_or(mode == RmsEps::outside ? RMSNormOptions{}.eps : 1e-5),
                  .eps_mode = mode,
                  .partial = partial});
}

/// The largest divisor of width up to 32 that leaves at least two features in a group.
std::int64_t groups_of(std::int64_t width) {
  for (std::int64_t groups = std::min<std::int64_t>(32, width / 2); groups > 1; --groups) {
    if (width % groups == 0) return groups;
  }
  return 1;
}

constexpr Method methods[] = {
    {{"layer", "LayerNorm: (x - mean) / sqrt(var + eps) * weight + bias", true},
     [](std::int64_t width, Eps eps) { return layer(width, eps, true); }},
    {{"layer_simple", "LayerNorm without weight and bias", true},
     [](std::int64_t width, Eps eps) { return layer(width, eps, false); }},
    {{"rms", "RMSNorm: x / (rms + eps) * weight", true},
     [](std::int64_t width, Eps eps) { return rms(width, eps, RmsEps::outside); }},
    {{"rms_inside", "RMSNorm: x / sqrt(mean(x^2) + eps) * weight", true},
     [](std::int64_t width, Eps eps) { return rms(width, eps, RmsEps::inside); }},
    {{"prms", "RMSNorm over the first 1/16 of the entries", true},
     [](std::int64_t width, Eps eps) { return rms(width, eps, RmsEps::outside, 0.0625); }},
    {{"l2", "L2Norm: x / max(|x|, eps)", true},
     [](std::int64_t, Eps eps) -> AnyLayer { return eps ? L2Norm(*eps) : L2Norm(); }},
    {{"scale", "ScaleNorm: weight * x / max(|x|, eps), one weight", true},
     [](std::int64_t width, Eps eps) -> AnyLayer { return eps ? ScaleNorm(width, *eps) : ScaleNorm(width); }},
    {{"dyt", "DynamicTanh: weight * tanh(alpha x) + bias", true},
     [](std::int64_t width, Eps) -> AnyLayer { return DynamicTanh(width); }},
    {{"batch", "BatchNorm: statistics of each feature over all positions of the batch", false},
     [](std::int64_t width, Eps eps) -> AnyLayer {
       BatchNormOptions options{.num_features = width};
       options.eps = eps.value_or(options.eps);
       return ChannelsLast(BatchNorm(options), Rows::all);
     }},
    {{"renorm", "BatchRenorm: BatchNorm, pulled towards the running statistics", false},
     [](std::int64_t width, Eps eps) -> AnyLayer {
       BatchRenormOptions options{.num_features = width};
       options.eps = eps.value_or(options.eps);
       return ChannelsLast(BatchRenorm(options), Rows::all);
     }},
    {{"instance", "InstanceNorm: statistics of each feature over the positions of a sequence", false},
     [](std::int64_t width, Eps eps) -> AnyLayer {
       InstanceNormOptions options{.num_features = width, .affine = true};
       options.eps = eps.value_or(options.eps);
       return ChannelsLast(InstanceNorm(options), Rows::by_sequence);
     }},
    {{"group", "GroupNorm of each position: statistics over groups of neighbouring features", true},
     [](std::int64_t width, Eps eps) -> AnyLayer {
       GroupNormOptions options{.num_groups = groups_of(width), .num_channels = width};
       options.eps = eps.value_or(options.eps);
       return ChannelsLast(GroupNorm(options), Rows::all);
     }},
    {{"layer_scale", "LayerScale: x * weight, which starts at 0.1", true},
     [](std::int64_t width, Eps) -> AnyLayer { return LayerScale(width); }},
    {{"rezero", "ReZero: x * weight, one weight, which starts at 0", true},
     [](std::int64_t, Eps) -> AnyLayer { return ReZero(); }},
    {{"ada", "AdaNorm: (1 - y / 10) y, y = LayerNorm without weight and bias, the factor a constant", true},
     [](std::int64_t width, Eps eps) -> AnyLayer {
       AdaNormOptions options{.normalized_shape = {width}};
       options.eps = eps.value_or(options.eps);
       return AdaNorm(options);
     }},
    {{"none", "x itself", true}, [](std::int64_t, Eps) -> AnyLayer { return Identity(); }},
};

const Method& find(const char* caller, std::string_view name) {
  std::string known;
  for (const Method& method : methods) {
    if (method.info.name == name) return method;
    known += (known.empty() ? "" : ", ") + std::string(method.info.name);
  }
  throw Error(norma::detail::concat(caller, ": unknown norm \"", name, "\"; known are ", known));
}

}  // namespace

std::span<const NormInfo> norm_methods() {
  static const auto infos = [] {
    std::vector<NormInfo> all;
    for (const Method& method : methods) all.push_back(method.info);
    return all;
  }();
  return infos;
}

AnyLayer make_norm(std::string_view name, std::int64_t width, Eps eps) {
  return find("make_norm", name).make(width, eps);
}

bool is_per_token(std::string_view name) { return find("is_per_token", name).info.per_token; }

}  // namespace norma::nn
