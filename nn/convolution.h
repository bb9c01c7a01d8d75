// Convolution layers.
#pragma once

#include "autograd/convolution.h"
#include "nn/module.h"

namespace norma::nn {

/// Conv1d(16, 32, 3, {.padding = 1}): x [n, in_channels, length] (n may be missing) -> [n, out_channels,
/// places], by conv1d. weight [out_channels, in_channels / groups, kernel_size] and bias [out_channels] start
/// uniform in +-1 / sqrt(in_channels / groups * kernel_size), as in PyTorch. Throws for extents below 1, and
/// for groups that do not divide both numbers of channels.
class Conv1d : public Module {
 public:
  Conv1d(std::int64_t in_channels, std::int64_t out_channels, std::int64_t kernel_size,
         const Conv1dOptions& options = {}, bool bias = true);
  Tensor operator()(const Tensor& x) const { return conv1d(x, weight, bias, options_); }
  std::string describe() const override;

  Parameter weight, bias;
  NORMA_PARTS(weight, bias)

 private:
  Conv1dOptions options_;
};

/// Conv2d(3, 16, {3, 5}, {.stride = 2, .padding = {1, 2}}): x [n, in_channels, h, w] (n may be missing), by
/// conv2d; otherwise as Conv1d. weight [out_channels, in_channels / groups, kernel height, kernel width].
class Conv2d : public Module {
 public:
  Conv2d(std::int64_t in_channels, std::int64_t out_channels, Size2d kernel_size,
         const Conv2dOptions& options = {}, bool bias = true);
  Tensor operator()(const Tensor& x) const { return conv2d(x, weight, bias, options_); }
  std::string describe() const override;

  Parameter weight, bias;
  NORMA_PARTS(weight, bias)

 private:
  Conv2dOptions options_;
};

}  // namespace norma::nn
