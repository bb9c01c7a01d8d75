// Reductions, running sums and arg-reductions.
#include <limits>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/ops/internal.h"
#include "autograd/ops/kernels.h"

namespace norma {
namespace {

using kernels::dropped_shape;
using kernels::kept_shape;

Tensor without_axes(const Tensor& kept, const Shape& full, const Axes& axes, bool keep, const char* op) {
  if (keep) return kept;
  const Shape shape = dropped_shape(full, axes, op);
  return kept.reshape({shape.begin(), shape.end()});
}

/// dy shared equally among the x that equal y.
Tensor extreme_gradient(const Backward& b, const Tensor& x) {
  const Array &dy = b.dy.array(), &values = x.array();
  if (dy.shape() == values.shape()) return b.dy;
  const std::int64_t rows = kernels::reduced_rows(values.shape(), dy.shape());
  if (rows > 0 && detail::kernels_serve(b)) {
    const Array dx = Array::empty(values.shape(), values.dtype(), values.device());
    const auto column = [rows](const Array& a) { return a.contiguous().reshape(Shape{rows}); };
    if (backend(x.device())
            .extreme_backward(kernels::as_rows(dx, rows).view(), column(dy).view(),
                              column(b.output().array()).view(), kernels::as_rows(values, rows).view()))
      return Tensor(dx);
  }
  const Tensor equal = (x.detach() == b.output().detach()).to(b.dy.dtype());
  std::vector<int> reduced;
  for (int axis = 0; axis < equal.dim(); ++axis) {
    if (b.dy.size(axis) != equal.size(axis)) reduced.push_back(axis);
  }
  return b.dy * (equal / equal.sum(reduced, keepdim));
}

/// The largest or smallest over axes.
Tensor extreme(const char* name, Reduce op, const Tensor& x, const Axes& axes, bool keep) {
  check_defined(name, "x", x);
  const Shape kept = kept_shape(x.shape(), axes, name);
  NORMA_CHECK(x.numel() > 0 || kept.numel() == 0, name, ": an empty axis has no extreme value, x has shape ",
              x.shape());
  const Tensor y =
      record(name, kernels::reduce(op, x.array(), kept), {x},
             [x = Saved(x)](const Backward& b) -> Gradients { return {extreme_gradient(b, x.get())}; },
             {.keep_output = true});
  return without_axes(y, x.shape(), axes, keep, name);
}

Tensor arg_extreme(const char* name, ArgReduce op, const Tensor& x, int axis, bool keep) {
  check_defined(name, "x", x);
  const int place = normalize_axis(axis, x.dim(), name);
  NORMA_CHECK(x.size(place) > 0, name, ": axis ", axis, " is empty, x has shape ", x.shape());
  Array indices = Array::empty(x.shape().with(place, 1), i64, x.device());
  backend(x.device()).arg_reduce(op, indices.view(), x.array().view(), place);
  return Tensor(keep ? indices : indices.squeeze(place));
}

std::pair<Tensor, Tensor> extreme_with_index(const char* name, ArgReduce op, const Tensor& x, int axis,
                                             bool keep) {
  const Tensor indices = arg_extreme(name, op, x, axis, keepdim);
  const Tensor values = x.gather(axis, indices);
  if (keep) return {values, indices};
  return {values.squeeze(axis), indices.squeeze(axis)};
}

Tensor boolean_reduce(const char* name, Reduce op, const Tensor& x) {
  check_defined(name, "x", x);
  NORMA_CHECK(x.dtype() == boolean, name, ": needs a boolean tensor, got ", x.dtype());
  return Tensor(kernels::reduce_all(op, x.array()));
}

}  // namespace

Tensor Tensor::sum(const Axes& axes, bool keep) const {
  check_defined("sum", "x", *this);
  const Tensor x = dtype() == boolean ? to(i64) : *this;
  const Shape kept = kept_shape(shape(), axes, "sum");
  const Tensor y = record("sum", kernels::reduce(Reduce::sum, x.array(), kept), {x},
                          [shape = shape()](const Backward& b) -> Gradients { return {b.dy.expand(shape)}; });
  return without_axes(y, shape(), axes, keep, "sum");
}

Tensor Tensor::amax(const Axes& axes, bool keep) const {
  return extreme("amax", Reduce::max, *this, axes, keep);
}
Tensor Tensor::max() const { return extreme("max", Reduce::max, *this, {}, false); }
Tensor Tensor::min() const { return extreme("min", Reduce::min, *this, {}, false); }
std::pair<Tensor, Tensor> Tensor::max(int axis, bool keep) const {
  return extreme_with_index("max", ArgReduce::argmax, *this, axis, keep);
}
std::pair<Tensor, Tensor> Tensor::min(int axis, bool keep) const {
  return extreme_with_index("min", ArgReduce::argmin, *this, axis, keep);
}
Tensor Tensor::argmax(int axis, bool keep) const {
  return arg_extreme("argmax", ArgReduce::argmax, *this, axis, keep);
}
Tensor Tensor::argmin(int axis, bool keep) const {
  return arg_extreme("argmin", ArgReduce::argmin, *this, axis, keep);
}
Tensor Tensor::any() const { return boolean_reduce("any", Reduce::any, *this); }
Tensor Tensor::all() const { return boolean_reduce("all", Reduce::all, *this); }

Tensor running_sum(const Tensor& x, int axis, bool reverse) {
  check_defined("cumsum", "x", x);
  const int place = normalize_axis(axis, x.dim(), "cumsum");
  Array y = Array::empty(x.shape(), x.dtype(), x.device());
  backend(x.device()).cumsum(y.view(), x.array().view(), place, reverse);
  return record("cumsum", std::move(y), {x}, [place, reverse](const Backward& b) -> Gradients {
    return {running_sum(b.dy, place, !reverse)};
  });
}

Tensor Tensor::cumsum(int axis) const { return running_sum(*this, axis, false); }

}  // namespace norma
