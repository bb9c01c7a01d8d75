#include "nn/norm/channels_last.h"

#include "autograd/ops.h"

namespace norma::nn {

Tensor ChannelsLast::operator()(const Tensor& x) {
  const int needed = rows_ == Rows::all ? 1 : 2;
  NORMA_CHECK(x.defined() && x.dim() >= needed, "ChannelsLast: x must be [.., ",
              needed == 1 ? "channels" : "length, channels", "], got ", x.defined() ? x.shape() : Shape{});
  std::int64_t samples = 1;
  for (int axis = 0; axis < x.dim() - needed; ++axis) samples *= x.size(axis);
  const std::vector<std::int64_t> shape(x.shape().begin(), x.shape().end());
  if (rows_ == Rows::all) return norm(x.reshape({samples, x.size(-1)})).reshape(shape);
  const Tensor y = norm(x.reshape({samples, x.size(-2), x.size(-1)}).transpose(1, 2));
  return y.transpose(1, 2).reshape(shape);
}

}  // namespace norma::nn
