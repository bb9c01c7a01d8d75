// Rows of the norms over trailing axes, and of the layers that scale by learned numbers.
#include "nn/norm/ada_norm.h"
#include "nn/norm/dynamic_tanh.h"
#include "nn/norm/l2_norm.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/layer_scale.h"
#include "nn/norm/qk_norm.h"
#include "nn/norm/rezero.h"
#include "nn/norm/rms_norm.h"
#include "nn/norm/scale_norm.h"
#include "tests/nn/layer_row.h"

namespace norma::tests {
namespace {

using namespace nn;
using Keys = std::vector<std::string>;

/// "LayerNorm: x must end in .."
std::vector<WrongInput> wrong_width(const std::string& layer) {
  return {{{normal({2, 3})}, layer + ": x must end in the normalized shape [4], got shape [2, 3]"},
          {{Tensor()}, layer + ": x is an undefined tensor"}};
}

Inputs sample() { return {normal({2, 3, 4})}; }

LayerRow layer_norm_row(const std::string& name, const LayerNormOptions& options, Keys keys) {
  const int absent = 2 - static_cast<int>(keys.size());
  return row(
      name, [options] { return LayerNorm(options); }, sample(), std::move(keys), absent,
      options.normalized_shape.rank() == 1
          ? wrong_width("LayerNorm")
          : std::vector<WrongInput>{
                {{normal({3, 2, 4})},
                 "LayerNorm: x must end in the normalized shape [3, 4], got shape [3, 2, 4]"},
                {{normal({4})}, "[3, 4], got shape [4]"}});
}

LayerRow rms_norm_row(const std::string& name, const RMSNormOptions& options) {
  const bool affine = options.elementwise_affine;
  return row(
      name, [options] { return RMSNorm(options); }, sample(), affine ? Keys{"weight"} : Keys{},
      affine ? 0 : 1,
      options.normalized_shape.rank() == 1 ? wrong_width("RMSNorm") : std::vector<WrongInput>{});
}

LayerRow qk_row(const std::string& name, const TemperatureOptions& options) {
  const Inputs q_and_k{normal({2, 2, 3, 4}, 1), normal({2, 1, 5, 4}, 2)};
  return row(name, [options] { return QKNorm({.temperature = options}); }, q_and_k, {"temperature.weight"}, 0,
             {{{normal({2, 3, 4}), Tensor()}, "undefined"}});
}

void add_layer_norms(std::vector<LayerRow>& rows) {
  rows.push_back(layer_norm_row("LayerNorm", {.normalized_shape = {4}}, {"weight", "bias"}));
  rows.push_back(layer_norm_row("LayerNorm over two axes, large eps",
                                {.normalized_shape = {3, 4}, .eps = 0.1}, {"weight", "bias"}));
  rows.push_back(
      layer_norm_row("LayerNorm without bias", {.normalized_shape = {4}, .bias = false}, {"weight"}));
  rows.push_back(
      layer_norm_row("LayerNorm without weight", {.normalized_shape = {3, 4}, .weight = false}, {"bias"}));
  rows.push_back(
      layer_norm_row("LayerNorm without affine", {.normalized_shape = {4}, .elementwise_affine = false}, {}));
  for (const bool mean : {false, true}) {
    for (const bool std : {false, true}) {
      if (!mean && !std) continue;
      rows.push_back(layer_norm_row(
          norma::detail::concat("LayerNorm detached", mean ? " mean" : "", std ? " deviation" : ""),
          {.normalized_shape = {4}, .eps = 0.1, .detach_mean = mean, .detach_std = std}, {"weight", "bias"}));
      rows.back().numeric = false;
    }
  }
  rows.push_back(row(
      "AdaNorm", [] { return AdaNorm(4); }, sample(), {}, 0, wrong_width("AdaNorm")));
  rows.back().numeric = false;
  rows.push_back(row(
      "AdaNorm over two axes",
      [] {
        return AdaNorm({.normalized_shape = {3, 4}, .eps = 0.1, .scale = 2, .k = 0.3});
      },
      sample()));
  rows.back().numeric = false;
}

void add_rms_norms(std::vector<LayerRow>& rows) {
  rows.push_back(rms_norm_row("RMSNorm", {.normalized_shape = {4}}));
  rows.push_back(rms_norm_row("RMSNorm outside, large eps", {.normalized_shape = {4}, .eps = 0.1}));
  rows.push_back(rms_norm_row("RMSNorm inside, over two axes",
                              {.normalized_shape = {3, 4}, .eps = 0.1, .eps_mode = RmsEps::inside}));
  rows.push_back(
      rms_norm_row("RMSNorm without affine", {.normalized_shape = {4}, .elementwise_affine = false}));
  rows.push_back(rms_norm_row("RMSNorm partial", {.normalized_shape = {4}, .eps = 0.1, .partial = 0.6}));
  rows.push_back(
      rms_norm_row("RMSNorm partial, inside, over two axes, without affine", {.normalized_shape = {3, 4},
                                                                              .eps_mode = RmsEps::inside,
                                                                              .elementwise_affine = false,
                                                                              .partial = 0.0625}));
}

}  // namespace

std::vector<LayerRow> row_norm_layer_rows() {
  std::vector<LayerRow> rows;
  add_layer_norms(rows);
  add_rms_norms(rows);
  rows.push_back(row("L2Norm", [] { return L2Norm(); }, sample(), {}, 0,
                     {{{normal({})}, "l2_norm: x must have at least one axis"}, {{Tensor()}, "undefined"}}));
  rows.push_back(row(
      "L2Norm with an active floor", [] { return L2Norm(100); }, sample()));
  rows.push_back(row(
      "ScaleNorm", [] { return ScaleNorm(4); }, sample(), {"weight"}, 0, wrong_width("ScaleNorm")));
  rows.push_back(row(
      "DynamicTanh", [] { return DynamicTanh(4); }, sample(), {"alpha", "weight", "bias"}, 0,
      wrong_width("DynamicTanh")));
  rows.push_back(row(
      "DynamicTanh over two axes, without bias",
      [] {
        return DynamicTanh({.normalized_shape = {3, 4}, .alpha = 0.8, .bias = false});
      },
      sample(), {"alpha", "weight"}, 1));
  rows.push_back(row(
      "DynamicTanh without weight", [] { return DynamicTanh({.normalized_shape = {4}, .weight = false}); },
      sample(), {"alpha", "bias"}, 1));
  rows.push_back(row(
      "DynamicTanh without affine",
      [] { return DynamicTanh({.normalized_shape = {4}, .elementwise_affine = false}); }, sample(), {"alpha"},
      2));
  rows.push_back(row(
      "LayerScale", [] { return LayerScale(4); }, sample(), {"weight"}, 0, wrong_width("LayerScale")));
  rows.push_back(
      row("ReZero", [] { return ReZero(); }, sample(), {"weight"}, 0, {{{Tensor()}, "undefined"}}));
  const Inputs q{normal({2, 2, 3, 4})};
  rows.push_back(
      row("Temperature", [] { return Temperature(); }, q, {"weight"}, 0, {{{Tensor()}, "undefined"}}));
  rows.push_back(row("Temperature with a logarithm per head",
                     [] { return Temperature({.heads = 2, .logarithm = true}); }, q, {"weight"}, 0,
                     {{{normal({3, 5, 4})}, "Temperature: q must be [.., 2, length, d], got [3, 5, 4]"}}));
  rows.push_back(qk_row("QKNorm", {}));
  rows.push_back(qk_row("QKNorm with a logarithm per head", {.heads = 2, .logarithm = true}));
  rows.push_back(qk_row("QKNorm multiplying", TemperatureOptions::log2_of_length(72)));
  rows.push_back(qk_row("QKNorm multiplying by a logarithm",
                        {.form = TemperatureOptions::Form::multiply, .initial = 3, .logarithm = true}));
  return rows;
}

}  // namespace norma::tests
