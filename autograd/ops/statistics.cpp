// Mean and norm, composites of sums, and variance.
#include <algorithm>

#include "autograd/fused.h"
#include "autograd/ops.h"
#include "autograd/ops/kernels.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

/// Number of elements that each element of the result is made of.
double reduced_count(const Tensor& x, const Axes& axes, const char* op) {
  const Shape kept = kernels::kept_shape(x.shape(), axes, op);
  double count = 1;
  for (int axis = 0; axis < x.dim(); ++axis) {
    if (kept[axis] != x.size(axis)) count *= static_cast<double>(x.size(axis));
  }
  return count;
}

/// sqrt with gradient 0 at 0, where the root's own would be infinite.
Tensor sqrt_or_zero(const Tensor& x) {
  const Tensor zero = x.detach() == 0;
  return x.masked_fill(zero, 1).sqrt().masked_fill(zero, 0);
}

/// x minus its mean. The mean is rounded to the dtype; the mean of what is left, which would be zero in exact
/// arithmetic, is that rounding error.
Tensor centred(const Tensor& x, const Axes& axes) {
  const Tensor rough = x - x.mean(axes, keepdim);
  return rough - rough.detach().mean(axes, keepdim);
}

// x: [n, channels, inner]   y: [channels], the sum over n and inner of (x - mean)^2 / divisor
struct VarianceOp {
  static constexpr const char* name = "var";
  double divisor;

  Tensor definition(const Tensor& x) const { return centred(x, {0, 2}).square().sum({0, 2}) / divisor; }

  std::optional<Array> forward(Kept& kept, const Array& x) const {
    if (x.numel() == 0) return std::nullopt;
    const std::int64_t channels = x.shape()[1];
    const Array mean = Array::empty(Shape{channels}, f64, x.device());
    const Array biased = Array::empty(Shape{channels}, f64, x.device());
    if (!backend(x.device()).batch_statistics(mean.view(), biased.view(), detail::packed(x).view(), View{}))
      return std::nullopt;
    kept = {mean};
    const double count = static_cast<double>(x.numel() / channels);
    return kernels::binary_scalar(Binary::mul, biased, count / divisor).to(x.dtype());
  }

  /// dx = 2 dy / divisor (x - mean): what batch norm writes with 2 dy / divisor for 1 / deviation.
  std::array<Array, 1> backward(const Kept& kept, const Wanted&, const Array& dy, const Array& x) const {
    Array dx = detail::empty_like(x);
    const Array slope = kernels::binary_scalar(Binary::mul, dy.to(f64), 2 / divisor);
    NORMA_ASSERT(backend(x.device())
                     .batch_norm(dx.view(), detail::packed(x).view(), View{}, kept[0].view(), slope.view(),
                                 View{}, View{}));
    return {std::move(dx)};
  }
};

/// [n, channels, inner] of x, the channels being the axes that are kept; nothing where a reduced axis lies
/// between them.
std::optional<std::array<std::int64_t, 3>> by_channels(const Shape& shape, const Shape& kept) {
  int first = 0, last = shape.rank() - 1;
  while (first <= last && kept[first] == 1) ++first;
  while (last > first && kept[last] == 1) --last;
  if (first > last) first = 0, last = -1;  // one channel, in one piece
  std::array<std::int64_t, 3> extents = {1, 1, 1};
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (axis >= first && axis <= last && kept[axis] != shape[axis]) return std::nullopt;
    extents[axis < first ? 0 : axis <= last ? 1 : 2] *= shape[axis];
  }
  return extents;
}

}  // namespace

Tensor Tensor::mean(const Axes& axes, bool keep) const {
  detail::check_floating("mean", "x", *this);
  return sum(axes, keep) / reduced_count(*this, axes, "mean");
}

Tensor Tensor::var(const Axes& axes, bool unbiased, bool keep) const {
  detail::check_floating("var", "x", *this);
  const double divisor = std::max(0.0, reduced_count(*this, axes, "var") - (unbiased ? 1 : 0));
  const Shape kept = kernels::kept_shape(shape(), axes, "var");
  const auto extents = by_channels(shape(), kept);
  if (!extents) return centred(*this, axes).square().sum(axes, keep) / divisor;
  const Shape result = keep ? kept : kernels::dropped_shape(shape(), axes, "var");
  return apply(VarianceOp{divisor}, reshape({(*extents)[0], (*extents)[1], (*extents)[2]}))
      .reshape(std::vector<std::int64_t>(result.begin(), result.end()));
}

Tensor Tensor::std(const Axes& axes, bool unbiased, bool keep) const {
  return sqrt_or_zero(var(axes, unbiased, keep));
}

Tensor Tensor::norm(const Axes& axes, bool keep) const {
  detail::check_floating("norm", "x", *this);
  return sqrt_or_zero(square().sum(axes, keep));
}

}  // namespace norma
