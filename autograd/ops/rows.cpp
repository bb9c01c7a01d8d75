#include "autograd/ops/rows.h"

#include <cmath>

namespace norma::detail {

void check_floating(const char* op, const char* argument, const Tensor& x) {
  check_defined(op, argument, x);
  NORMA_CHECK(is_floating(x.dtype()), op, ": ", argument, " must have a floating dtype, got ", x.dtype(), " ",
              x.shape());
}

void check_rows(const char* op, const Tensor& x) {
  check_floating(op, "x", x);
  NORMA_CHECK(x.dim() >= 1, op, ": x must have at least one axis, got a scalar");
}

void check_like(const char* op, const char* argument, const Tensor& tensor, const Tensor& x) {
  NORMA_CHECK(tensor.dtype() == x.dtype() && tensor.device() == x.device(), op, ": ", argument, " must be ",
              x.dtype(), " on ", x.device(), ", got ", tensor.dtype(), " on ", tensor.device(),
              "; convert with to()");
}

void check_per_column(const char* op, const char* argument, const Tensor& tensor, const Tensor& x) {
  if (!tensor.defined()) return;
  const std::int64_t d = x.size(-1);
  NORMA_CHECK(tensor.dim() == 1 && tensor.numel() == d, op, ": ", argument, " must have shape [", d,
              "] (last axis of x ", x.shape(), "), got ", tensor.shape());
  check_like(op, argument, tensor, x);
}

void check_same_shape(const char* op, const char* argument, const Tensor& tensor, const Tensor& x) {
  check_defined(op, argument, tensor);
  NORMA_CHECK(tensor.shape() == x.shape(), op, ": ", argument, " must have the shape of x, ", x.shape(),
              ", got ", tensor.shape());
  check_like(op, argument, tensor, x);
}

void check_eps(const char* op, double eps) {
  NORMA_CHECK(std::isfinite(eps) && eps >= 0, op, ": eps must be finite and >= 0, got ", eps);
}

std::int64_t row_count(const Shape& shape) {
  std::int64_t rows = 1;
  for (int axis = 0; axis + 1 < shape.rank(); ++axis) rows *= shape[axis];
  return rows;
}

View Packed::rows_of(const Array& x) {
  if (x.rank() == 2) return x.view();
  const std::int64_t rows = row_count(x.shape()), d = x.shape()[-1];
  return {.data = x.view().data, .dtype = x.dtype(), .rank = 2, .shape = {rows, d}, .strides = {d, 1}};
}

View statistic(const Array& statistics, std::int64_t number) {
  const View all = statistics.view();
  const std::int64_t rows = all.shape[1];
  return {.data = static_cast<double*>(all.data) + number * rows,
          .dtype = f64,
          .rank = 1,
          .shape = {rows},
          .strides = {1}};
}

Tensor record_sum(Array sum, const Tensor& x, const Tensor& residual) {
  return record("add", std::move(sum), {x, residual}, [](const Backward& call) -> Gradients {
    return {call.dy, call.dy};
  });
}

}  // namespace norma::detail
