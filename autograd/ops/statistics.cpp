// Mean, variance and norm: composites of sums.
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

}  // namespace

Tensor Tensor::mean(const Axes& axes, bool keep) const {
  detail::check_floating("mean", "x", *this);
  return sum(axes, keep) / reduced_count(*this, axes, "mean");
}

Tensor Tensor::var(const Axes& axes, bool unbiased, bool keep) const {
  detail::check_floating("var", "x", *this);
  const double count = reduced_count(*this, axes, "var") - (unbiased ? 1 : 0);
  const Tensor squares = centred(*this, axes).square().sum(axes, keep);
  return squares / (count > 0 ? count : 0);
}

Tensor Tensor::std(const Axes& axes, bool unbiased, bool keep) const {
  return sqrt_or_zero(var(axes, unbiased, keep));
}

Tensor Tensor::norm(const Axes& axes, bool keep) const {
  detail::check_floating("norm", "x", *this);
  return sqrt_or_zero(square().sum(axes, keep));
}

}  // namespace norma
