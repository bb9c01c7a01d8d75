#include "autograd/ops/channels.h"

namespace norma::detail {

void check_channels(const char* op, const Tensor& x) {
  check_floating(op, "x", x);
  NORMA_CHECK(x.dim() >= 2, op, ": x must be [n, channels, spatial..], got shape ", x.shape());
}

void check_per_channel(const char* op, const char* argument, const Tensor& tensor, const Tensor& x) {
  if (!tensor.defined()) return;
  NORMA_CHECK(tensor.shape() == Shape{x.size(1)}, op, ": ", argument, " must have shape [", x.size(1),
              "] (channels of x ", x.shape(), "), got ", tensor.shape());
  check_like(op, argument, tensor, x);
}

void check_channel_mask(const char* op, const Tensor& mask, const Tensor& x) {
  if (!mask.defined()) return;
  const Shape expected = x.shape().removed(1);
  NORMA_CHECK(mask.dtype() == boolean && mask.device() == x.device() && mask.shape() == expected, op,
              ": mask must be boolean ", expected, " on ", x.device(), " (x ", x.shape(),
              " without channels), got ", mask.dtype(), " ", mask.shape(), " on ", mask.device());
}

std::int64_t spatial_count(const Tensor& x) {
  std::int64_t count = 1;
  for (int axis = 2; axis < x.dim(); ++axis) count *= x.size(axis);
  return count;
}

Tensor as_channels(const Tensor& x) {
  return x.dim() == 3 ? x : x.reshape({x.size(0), x.size(1), spatial_count(x)});
}

Tensor like_input(const Tensor& y, const Tensor& x) {
  return x.dim() == 3 ? y : y.reshape({x.shape().begin(), x.shape().end()});
}

}  // namespace norma::detail
