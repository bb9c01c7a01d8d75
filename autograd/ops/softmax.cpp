// softmax, log_softmax and logsumexp. Their gradients need the result only, so they are primitives that keep
// it, with rules written in ops; kernels serve where no history is asked for.
#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/ops/internal.h"
#include "autograd/ops/kernels.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

/// Subtracting the maximum keeps every exponential at or below 1. The result does not depend on it, so no
/// gradient passes through.
Tensor softmax_definition(const Tensor& x, int axis, bool log) {
  const Tensor shifted = x - x.detach().amax(axis, keepdim);
  const Tensor e = shifted.exp();
  return log ? shifted - e.sum(axis, keepdim).log() : e / e.sum(axis, keepdim);
}

/// Runs a kernel along `axis`: kernel(y, x..) on [outer, d, inner], or, where there is none for these, on
/// [rows, d] with the axis as the last one. Undefined where there is neither.
template <class Kernel, class... Arrays>
Array along_axis(int axis, const Kernel& kernel, const Array& x, const Arrays&... more) {
  const int last = x.rank() - 1;
  if (axis != last) {
    const auto columns = [axis, last](const Array& a) {
      std::int64_t outer = 1, inner = 1;
      for (int i = 0; i < axis; ++i) outer *= a.shape()[i];
      for (int i = axis + 1; i <= last; ++i) inner *= a.shape()[i];
      return a.contiguous().reshape({outer, a.shape()[axis], inner});
    };
    const Array y = detail::empty_like(x);
    if (kernel(columns(y).view(), columns(x).view(), columns(more).view()...)) return y;
  }
  const auto rows = [axis](const Array& a) { return detail::as_rows(a.transpose(axis, -1)); };
  const Array y = detail::empty_like(x.transpose(axis, -1));
  if (!kernel(detail::as_rows(y).view(), rows(x).view(), rows(more).view()...)) return Array();
  return y.transpose(axis, -1).contiguous();
}

Array softmax_value(const Tensor& x, int axis, bool log) {
  const auto kernel = [&](View y, View rows) { return backend(x.device()).softmax(y, rows, log); };
  Array y = along_axis(axis, kernel, x.array());
  return y.defined() ? y : softmax_definition(x.detach(), axis, log).array();
}

/// softmax: dx = y (dy - sum(y dy)); log_softmax: dx = dy - exp(y) sum(dy).
Tensor softmax_gradient(const Backward& b, int axis, bool log) {
  if (detail::kernels_serve(b)) {
    const auto kernel = [&](View dx, View y, View dy) {
      return backend(b.dy.device()).softmax_backward(dx, y, dy, log);
    };
    Array dx = along_axis(axis, kernel, b.output().array(), b.dy.array());
    if (dx.defined()) return Tensor(std::move(dx));
  }
  const Tensor y = b.output();
  if (log) return b.dy - y.exp() * b.dy.sum(axis, keepdim);
  return y * (b.dy - (y * b.dy).sum(axis, keepdim));
}

Tensor softmax_op(const char* name, const Tensor& x, int axis, bool log) {
  detail::check_floating(name, "x", x);
  axis = normalize_axis(axis, x.dim(), name);
  if (x.numel() == 0) return x.clone();
  if (DefinitionsOnly::active()) return softmax_definition(x, axis, log);
  return record(name, softmax_value(x, axis, log), {x},
                [axis, log](const Backward& b) -> Gradients { return {softmax_gradient(b, axis, log)}; },
                {.keep_output = true});
}

/// The largest over axes where it is finite, 0 elsewhere.
Tensor finite_largest(const Tensor& x, const Axes& axes) {
  const Tensor largest = x.detach().amax(axes, keepdim);
  return largest.masked_fill(logical_not(largest.isfinite()), 0);
}

Array logsumexp_value(const Tensor& x, const Axes& axes, const Shape& kept) {
  const std::int64_t rows = kernels::reduced_rows(x.shape(), kept);
  if (rows > 0 && !DefinitionsOnly::active()) {
    const Array y = Array::empty(kept, x.dtype(), x.device());
    if (backend(x.device())
            .logsumexp(y.reshape(Shape{rows}).view(), kernels::as_rows(x.array(), rows).view()))
      return y;
  }
  const Tensor values = x.detach(), shift = finite_largest(x, axes);
  return ((values - shift).exp().sum(axes, keepdim).log() + shift).array();
}

/// The softmax over the axes. It is normalized anew: y, rounded to the dtype, would cost f32 gradients their
/// digits where y is large. Where every x is -inf, y is -inf and the gradient 0.
Tensor logsumexp_gradient(const Backward& b, const Tensor& x, const Axes& axes) {
  const std::int64_t rows = kernels::reduced_rows(x.shape(), b.dy.shape());
  if (rows > 0 && detail::kernels_serve(b)) {
    const Array dx = Array::empty(x.shape(), x.dtype(), x.device());
    if (backend(x.device())
            .logsumexp_backward(kernels::as_rows(dx, rows).view(),
                                b.dy.array().contiguous().reshape(Shape{rows}).view(),
                                kernels::as_rows(x.array(), rows).view()))
      return Tensor(dx);
  }
  const Tensor e = (x - finite_largest(x, axes)).exp(), total = e.sum(axes, keepdim);
  return b.dy * (e / total.masked_fill(total.detach() == 0, 1));
}

}  // namespace

Tensor softmax(const Tensor& x, int axis) { return softmax_op("softmax", x, axis, false); }
Tensor log_softmax(const Tensor& x, int axis) { return softmax_op("log_softmax", x, axis, true); }
Tensor Tensor::softmax(int axis) const { return norma::softmax(*this, axis); }
Tensor Tensor::log_softmax(int axis) const { return norma::log_softmax(*this, axis); }

Tensor Tensor::logsumexp(const Axes& axes, bool keep) const {
  detail::check_floating("logsumexp", "x", *this);
  const Shape kept = kernels::kept_shape(shape(), axes, "logsumexp");
  const Tensor y = record("logsumexp", logsumexp_value(*this, axes, kept), {*this},
                          [x = Saved(*this), axes](const Backward& b) -> Gradients {
                            return {logsumexp_gradient(b, x.get(), axes)};
                          });
  if (keep) return y;
  const Shape dropped = kernels::dropped_shape(shape(), axes, "logsumexp");
  return y.reshape(std::vector<std::int64_t>(dropped.begin(), dropped.end()));
}

}  // namespace norma
