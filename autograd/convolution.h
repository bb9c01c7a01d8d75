// Convolutions, pooling and sliding windows. Names, defaults and meanings are PyTorch's; everything is
// differentiable to any order. x of a floating dtype, [n, channels, h, w] or [n, channels, length]; n may be
// 0, and the batch axis may be left out, except in unfold and fold.
#pragma once

#include "autograd/ops.h"

namespace norma {

/// Height and width: {3, 5}, or one number for both.
struct Size2d {
  std::int64_t height, width;
  constexpr Size2d(std::integral auto both)
      : height(static_cast<std::int64_t>(both)), width(static_cast<std::int64_t>(both)) {}
  constexpr Size2d(std::integral auto height_, std::integral auto width_)
      : height(static_cast<std::int64_t>(height_)), width(static_cast<std::int64_t>(width_)) {}
};

// Sliding windows: each is the other's adjoint.
/// x [n, c, h, w] -> what the window sees at each of its places, row by row: [n, c * kernel, places]. Throws
/// when the window does not fit into x with its padding of zeros.
Tensor unfold(const Tensor& x, const Window& window);
/// columns [n, c * kernel, places] -> [n, c, height, width]: each entry added to where unfold read it.
Tensor fold(const Tensor& columns, Size2d output_size, const Window& window);

// Convolutions (correlations, as everywhere in neural networks): y[n, o, p] = bias[o] + the sum over the
// channels c of o's group and the taps i of weight[o, c, i] * x[n, c, p * stride + i * dilation - padding].
struct Conv1dOptions {
  std::int64_t stride = 1;
  std::int64_t padding = 0;  // zeros on both sides
  std::int64_t dilation = 1;
  std::int64_t groups = 1;  // divides the channels of x and of y; as many as channels: depthwise
};
struct Conv2dOptions {
  Size2d stride = 1, padding = 0, dilation = 1;
  std::int64_t groups = 1;
};
/// weight [out, channels / groups, kernel], optional bias [out].
Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv1dOptions& options = {});
/// weight [out, channels / groups, kernel height, kernel width], optional bias [out].
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {});

// Pooling, each channel by itself. A stride of 0 is the kernel's extent; padding is at most half the kernel.
// ceil_mode: a last window that begins inside x or its padding on the left counts even when it ends beyond.
struct MaxPool1dOptions {
  std::int64_t stride = 0, padding = 0, dilation = 1;
  bool ceil_mode = false;
};
struct MaxPool2dOptions {
  Size2d stride = 0, padding = 0, dilation = 1;
  bool ceil_mode = false;
};
/// The largest entry of each window; among equals the first, which alone receives the gradient. NaN wins;
/// padding is -inf.
Tensor max_pool1d(const Tensor& x, std::int64_t kernel_size, const MaxPool1dOptions& options = {});
Tensor max_pool2d(const Tensor& x, Size2d kernel_size, const MaxPool2dOptions& options = {});

struct AvgPool1dOptions {
  std::int64_t stride = 0, padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;  // false: divide by the number of entries that lie in x
};
struct AvgPool2dOptions {
  Size2d stride = 0, padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
};
/// The mean of each window.
Tensor avg_pool1d(const Tensor& x, std::int64_t kernel_size, const AvgPool1dOptions& options = {});
Tensor avg_pool2d(const Tensor& x, Size2d kernel_size, const AvgPool2dOptions& options = {});

/// The mean, or the largest entry, of each of output_size bins; bin i of an axis covers [floor(i * in / out),
/// ceil((i + 1) * in / out)), so bins overlap when out does not divide in.
Tensor adaptive_avg_pool1d(const Tensor& x, std::int64_t output_size);
Tensor adaptive_avg_pool2d(const Tensor& x, Size2d output_size);
Tensor adaptive_max_pool1d(const Tensor& x, std::int64_t output_size);
Tensor adaptive_max_pool2d(const Tensor& x, Size2d output_size);

}  // namespace norma
