#include "autograd/convolution.h"
#include "autograd/normalization.h"
#include "nn/convolution.h"
#include "nn/linear.h"
#include "nn/norm/mean_only_batch_norm.h"
#include "nn/norm/spectral_norm.h"
#include "nn/norm/weight_norm.h"
#include "nn/norm/whitening.h"
#include "nn/pooling.h"
#include "tests/outside/cases.h"

namespace norma::tests::outside {
namespace {

using In = Tensors&;
using Opt = const CaseOptions&;

std::int64_t one(const CaseOptions& o, const char* key) { return o.integers(key).at(0); }
Size2d two(const CaseOptions& o, const char* key) { return {o.integers(key).at(0), o.integers(key).at(1)}; }

Window window_of(const CaseOptions& o) {
  Window window;
  for (std::size_t axis = 0; axis < 2; ++axis) {
    window.kernel[axis] = o.integers("kernel").at(axis), window.stride[axis] = o.integers("stride").at(axis);
    window.padding[axis] = o.integers("padding").at(axis);
    window.dilation[axis] = o.integers("dilation").at(axis);
  }
  return window;
}

Conv1dOptions conv1d_options(const CaseOptions& o) {
  return {.stride = one(o, "stride"),
          .padding = one(o, "padding"),
          .dilation = one(o, "dilation"),
          .groups = o.integer("groups")};
}
Conv2dOptions conv2d_options(const CaseOptions& o) {
  return {.stride = two(o, "stride"),
          .padding = two(o, "padding"),
          .dilation = two(o, "dilation"),
          .groups = o.integer("groups")};
}
MaxPool1dOptions max1d_options(const CaseOptions& o) {
  return {one(o, "stride"), one(o, "padding"), one(o, "dilation"), o.flag("ceil_mode")};
}
MaxPool2dOptions max2d_options(const CaseOptions& o) {
  return {two(o, "stride"), two(o, "padding"), two(o, "dilation"), o.flag("ceil_mode")};
}
AvgPool1dOptions avg1d_options(const CaseOptions& o) {
  return {one(o, "stride"), one(o, "padding"), o.flag("ceil_mode"), o.flag("include")};
}
AvgPool2dOptions avg2d_options(const CaseOptions& o) {
  return {two(o, "stride"), two(o, "padding"), o.flag("ceil_mode"), o.flag("include")};
}

/// The weight stands after x and says the layer's extents.
Tensors conv1d_layer(Tensors& in, const CaseOptions& o) {
  const Shape weight = in[1].shape();
  return with_parameters(
      nn::Conv1d(weight[1] * o.integer("groups"), weight[0], weight[2], conv1d_options(o), o.flag("bias")),
      in, o);
}
Tensors conv2d_layer(Tensors& in, const CaseOptions& o) {
  const Shape weight = in[1].shape();
  return with_parameters(nn::Conv2d(weight[1] * o.integer("groups"), weight[0], {weight[2], weight[3]},
                                    conv2d_options(o), o.flag("bias")),
                         in, o);
}

/// The layer that a norm of weights wraps.
nn::AnyLayer plain_layer(const Tensor& x, const CaseOptions& o) {
  if (o.text("kind") == "linear") return nn::Linear(x.size(-1), o.integer("out"), o.flag("bias"));
  return nn::Conv2d(x.size(1), o.integer("out"), o.integer("kernel"), {.padding = 1}, o.flag("bias"));
}

Tensors spectral_norm(Tensors& in, const CaseOptions& o) {
  nn::SpectralNorm layer(plain_layer(in[0], o),
                         {.n_power_iterations = o.axis("iterations"), .dim = o.axis("dim")});
  take_parameters(layer, in, o);
  Tensor y;
  for (std::int64_t step = 0; step < o.integer("steps"); ++step) y = layer(in[0]);
  return {y, layer.weight_u.detach(), layer.weight_v.detach()};
}

/// The output while training, then in eval.
template <class Layer>
Tensors train_and_eval(Layer& layer, Tensors& in, const CaseOptions& o) {
  take_parameters(layer, in, o);
  const Tensor trained = layer(in[0]);
  layer.eval();
  return {trained, layer(in[0])};
}

std::vector<Row> convolution_ops() {
  return {
      {"unfold", [](In in, Opt o) -> Tensors { return {unfold(in[0], window_of(o))}; }},
      {"fold", [](In in, Opt o) -> Tensors { return {fold(in[0], two(o, "size"), window_of(o))}; }},
      {"conv1d",
       [](In in, Opt o) -> Tensors {
         return {conv1d(in[0], in[1], optional_input(in, 2), conv1d_options(o))};
       }},
      {"conv2d",
       [](In in, Opt o) -> Tensors {
         return {conv2d(in[0], in[1], optional_input(in, 2), conv2d_options(o))};
       }},
      {"max_pool1d",
       [](In in, Opt o) -> Tensors { return {max_pool1d(in[0], one(o, "kernel"), max1d_options(o))}; }},
      {"max_pool2d",
       [](In in, Opt o) -> Tensors { return {max_pool2d(in[0], two(o, "kernel"), max2d_options(o))}; }},
      {"avg_pool1d",
       [](In in, Opt o) -> Tensors { return {avg_pool1d(in[0], one(o, "kernel"), avg1d_options(o))}; }},
      {"avg_pool2d",
       [](In in, Opt o) -> Tensors { return {avg_pool2d(in[0], two(o, "kernel"), avg2d_options(o))}; }},
      {"adaptive_avg_pool1d",
       [](In in, Opt o) -> Tensors { return {adaptive_avg_pool1d(in[0], one(o, "size"))}; }},
      {"adaptive_avg_pool2d",
       [](In in, Opt o) -> Tensors { return {adaptive_avg_pool2d(in[0], two(o, "size"))}; }},
      {"adaptive_max_pool1d",
       [](In in, Opt o) -> Tensors { return {adaptive_max_pool1d(in[0], one(o, "size"))}; }},
      {"adaptive_max_pool2d",
       [](In in, Opt o) -> Tensors { return {adaptive_max_pool2d(in[0], two(o, "size"))}; }},
      {"weight_norm", [](In in, Opt o) -> Tensors { return {weight_norm(in[0], in[1], o.axis("dim"))}; }},
      {"inverse_square_root",
       [](In in, Opt) -> Tensors {
         const Tensor& x = in[0];
         return {inverse_square_root(
             matmul(x, x.transpose(-2, -1)) / static_cast<double>(x.size(-1)) + eye(x.size(-2), f64) * 0.1,
             40)};
       }},
  };
}

std::vector<Row> convolution_layers() {
  return {
      {"Conv1d", conv1d_layer},
      {"Conv2d", conv2d_layer},
      {"MaxPool1d",
       [](In in, Opt o) -> Tensors { return {nn::MaxPool1d(one(o, "kernel"), max1d_options(o))(in[0])}; }},
      {"MaxPool2d",
       [](In in, Opt o) -> Tensors { return {nn::MaxPool2d(two(o, "kernel"), max2d_options(o))(in[0])}; }},
      {"AvgPool1d",
       [](In in, Opt o) -> Tensors { return {nn::AvgPool1d(one(o, "kernel"), avg1d_options(o))(in[0])}; }},
      {"AvgPool2d",
       [](In in, Opt o) -> Tensors { return {nn::AvgPool2d(two(o, "kernel"), avg2d_options(o))(in[0])}; }},
      {"AdaptiveAvgPool1d",
       [](In in, Opt o) -> Tensors { return {nn::AdaptiveAvgPool1d(one(o, "size"))(in[0])}; }},
      {"AdaptiveAvgPool2d",
       [](In in, Opt o) -> Tensors { return {nn::AdaptiveAvgPool2d(two(o, "size"))(in[0])}; }},
      {"AdaptiveMaxPool1d",
       [](In in, Opt o) -> Tensors { return {nn::AdaptiveMaxPool1d(one(o, "size"))(in[0])}; }},
      {"AdaptiveMaxPool2d",
       [](In in, Opt o) -> Tensors { return {nn::AdaptiveMaxPool2d(two(o, "size"))(in[0])}; }},
      {"Flatten",
       [](In in, Opt o) -> Tensors { return {nn::Flatten(o.axis("start"), o.axis("end"))(in[0])}; }},
      {"WeightNorm",
       [](In in, Opt o) {
         return with_parameters(nn::WeightNorm(plain_layer(in[0], o), {.dim = o.axis("dim")}), in, o);
       }},
      {"SpectralNorm", spectral_norm},
      {"DecorrelatedBatchNorm",
       [](In in, Opt o) -> Tensors {
         nn::DecorrelatedBatchNorm layer({.num_features = in[0].size(1),
                                          .group_size = o.integer("group_size"),
                                          .eps = o.number("eps"),
                                          .momentum = o.number("momentum"),
                                          .iterations = 40});
         Tensors outputs = train_and_eval(layer, in, o);
         outputs.push_back(layer.running_whitening.detach());
         return outputs;
       }},
      {"MeanOnlyBatchNorm",
       [](In in, Opt o) -> Tensors {
         nn::MeanOnlyBatchNorm layer(
             {.num_features = in[0].size(1), .momentum = o.number("momentum"), .bias = o.flag("bias")});
         return train_and_eval(layer, in, o);
       }},
  };
}

}  // namespace

std::vector<Row> convolution_rows() {
  std::vector<Row> all = convolution_ops();
  const std::vector<Row> layers = convolution_layers();
  all.insert(all.end(), layers.begin(), layers.end());
  return all;
}

}  // namespace norma::tests::outside
