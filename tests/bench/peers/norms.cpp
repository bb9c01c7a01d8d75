// Norms, with the gradients of their parameters.
#include <memory>

#include "autograd/normalization.h"
#include "nn/norm/batch_norm.h"
#include "tests/bench/peers/work.h"

namespace norma::peers {

Work make_norm(const std::string& op, const Extents& e) {
  if (op != "layer_norm" && op != "rms_norm" && op != "batch_norm") return {};
  const Tensor x = leaf("x", Shape(e), 2, 0.5F);
  const std::int64_t width = op == "batch_norm" ? e[1] : e.back();
  const Tensor weight = leaf("weight", {width}, 0.5F, 1), bias = leaf("bias", {width});
  if (op == "rms_norm") {
    return forward_and_backward({{"x", x}, {"weight", weight}},
                                [=] { return rms_norm(x, weight, 1e-5, RmsEps::inside); });
  }
  if (op == "layer_norm") {
    return forward_and_backward({{"x", x}, {"weight", weight}, {"bias", bias}},
                                [=] { return layer_norm(x, weight, bias, 1e-5); });
  }
  const auto layer = std::make_shared<nn::BatchNorm>(width);  // keeps running statistics, as PyTorch's does
  layer->to(device());
  layer->weight = weight, layer->bias = bias;
  return forward_and_backward({{"x", x}, {"weight", layer->weight}, {"bias", layer->bias}},
                              [=] { return (*layer)(x); });
}

}  // namespace norma::peers
