#include "autograd/normalization.h"
#include "nn/norm/ada_norm.h"
#include "nn/norm/dynamic_tanh.h"
#include "nn/norm/l2_norm.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/layer_scale.h"
#include "nn/norm/norm.h"
#include "nn/norm/qk_norm.h"
#include "nn/norm/rezero.h"
#include "nn/norm/rms_norm.h"
#include "nn/norm/scale_norm.h"
#include "tests/outside/cases.h"

namespace norma::tests::outside {
namespace {

using In = Tensors&;
using Opt = const CaseOptions&;

Tensors both(const std::pair<Tensor, Tensor>& pair) { return {pair.first, pair.second}; }

RmsEps mode(const CaseOptions& o) { return o.text("mode") == "outside" ? RmsEps::outside : RmsEps::inside; }

Detached detached(const CaseOptions& o) {
  return {.mean = o.flag("detach_mean"), .std = o.flag("detach_std")};
}

Tensors layer_norm_module(Tensors& in, const CaseOptions& o) {
  return with_parameters(nn::LayerNorm({.normalized_shape = o.shape(),
                                        .eps = o.number("eps"),
                                        .weight = o.flag("weight"),
                                        .bias = o.flag("bias"),
                                        .detach_mean = o.flag("detach_mean"),
                                        .detach_std = o.flag("detach_std")}),
                         in, o);
}

Tensors rms_norm_module(Tensors& in, const CaseOptions& o) {
  return with_parameters(nn::RMSNorm({.normalized_shape = o.shape(),
                                      .eps = o.number("eps"),
                                      .eps_mode = mode(o),
                                      .elementwise_affine = o.flag("affine"),
                                      .partial = o.number("partial")}),
                         in, o);
}

Tensors qk_norm(Tensors& in, const CaseOptions& o) {
  using Form = nn::TemperatureOptions::Form;
  nn::QKNorm norm({.temperature = {.form = o.flag("divide") ? Form::divide : Form::multiply,
                                   .heads = o.integer("heads"),
                                   .logarithm = o.flag("logarithm")},
                   .eps = o.number("eps")});
  take_parameters(norm, in, o);
  const auto [q, k] = norm(in[0], in[1]);
  return {q, k, matmul(q, k.transpose(-2, -1))};
}

std::vector<Row> ops() {
  return {
      {"layer_norm",
       [](In in, Opt o) -> Tensors {
         return {
             layer_norm(in[0], optional_input(in, 1), optional_input(in, 2), o.number("eps"), detached(o))};
       }},
      {"rms_norm",
       [](In in, Opt o) -> Tensors {
         return {rms_norm(in[0], optional_input(in, 1), o.number("eps"), mode(o), o.integer("counted"))};
       }},
      {"l2_norm",
       [](In in, Opt o) -> Tensors { return {l2_norm(in[0], optional_input(in, 1), o.number("eps"))}; }},
      {"add_layer_norm",
       [](In in, Opt o) {
         return both(
             add_layer_norm(in[0], in[1], optional_input(in, 2), optional_input(in, 3), o.number("eps")));
       }},
      {"add_rms_norm",
       [](In in, Opt o) {
         return both(add_rms_norm(in[0], in[1], optional_input(in, 2), o.number("eps"), mode(o)));
       }},
  };
}

std::vector<Row> layers() {
  return {
      {"LayerNorm", layer_norm_module},
      {"AdaNorm",
       [](In in, Opt o) -> Tensors {
         return {nn::AdaNorm({.normalized_shape = o.shape(),
                              .eps = o.number("eps"),
                              .scale = o.number("scale"),
                              .k = o.number("k")})(in[0])};
       }},
      {"RMSNorm", rms_norm_module},
      {"L2Norm", [](In in, Opt o) -> Tensors { return {nn::L2Norm(o.number("eps"))(in[0])}; }},
      {"ScaleNorm",
       [](In in, Opt o) { return with_parameters(nn::ScaleNorm(in[0].size(-1), o.number("eps")), in, o); }},
      {"DynamicTanh",
       [](In in, Opt o) {
         return with_parameters(
             nn::DynamicTanh(
                 {.normalized_shape = o.shape(), .weight = o.flag("weight"), .bias = o.flag("bias")}),
             in, o);
       }},
      {"LayerScale", [](In in, Opt o) { return with_parameters(nn::LayerScale(in[0].size(-1)), in, o); }},
      {"ReZero", [](In in, Opt o) { return with_parameters(nn::ReZero(), in, o); }},
      {"QKNorm", qk_norm},
      {"make_norm",
       [](In in, Opt o) {
         const std::optional<double> eps = o.has("eps") ? std::optional(o.number("eps")) : std::nullopt;
         return with_parameters(nn::make_norm(o.text("name"), o.integer("width"), eps), in, o);
       }},
  };
}

}  // namespace

std::vector<Row> row_norm_rows() {
  std::vector<Row> all = ops();
  const std::vector<Row> modules = layers();
  all.insert(all.end(), modules.begin(), modules.end());
  return all;
}

}  // namespace norma::tests::outside
