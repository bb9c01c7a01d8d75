// Ops that choose elements: composites of where, gather and slices.
#include <algorithm>

#include "autograd/ops.h"
#include "autograd/ops/kernels.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

/// True where column - row lies above the diagonal: [rows, columns] of the last two axes of x.
Tensor above_diagonal(const char* op, const Tensor& x, std::int64_t diagonal) {
  check_defined(op, "x", x);
  NORMA_CHECK(x.dim() >= 2, op, ": x must have at least two axes, got shape ", x.shape());
  const std::int64_t rows = x.size(-2);
  const auto count = [&](double start, std::int64_t n) {
    return arange(start, start + static_cast<double>(n), 1, i64, x.device());
  };
  return count(0, x.size(-1)) > count(static_cast<double>(diagonal), rows).reshape({rows, 1});
}

}  // namespace

Tensor Tensor::masked_fill(const Tensor& mask, double value) const {
  check_defined("masked_fill", "x", *this);
  check_defined("masked_fill", "mask", mask);
  NORMA_CHECK(mask.dtype() == boolean, "masked_fill: mask must be boolean, got ", mask.dtype(), " ",
              mask.shape());
  NORMA_CHECK(broadcast_shapes(mask.shape(), shape(), "masked_fill") == shape(), "masked_fill: mask ",
              mask.shape(), " must broadcast to the shape of x, ", shape());
  return where(mask, Tensor::scalar(value, dtype(), device()), *this);
}

Tensor Tensor::tril(std::int64_t diagonal) const {
  return masked_fill(above_diagonal("tril", *this, diagonal), 0);
}

Tensor Tensor::triu(std::int64_t diagonal) const {
  return masked_fill(logical_not(above_diagonal("triu", *this, diagonal - 1)), 0);
}

Tensor one_hot(const Tensor& index, std::int64_t classes, DType dtype) {
  check_defined("one_hot", "index", index);
  NORMA_CHECK(index.dtype() == i64, "one_hot: index must be i64, got ", index.dtype(), " ", index.shape());
  NORMA_CHECK(classes >= 0, "one_hot: classes must be >= 0, got ", classes);
  const Array places = index.array().unsqueeze(index.dim());
  const DType working = dtype == boolean ? i64 : dtype;  // scatter_add adds numbers
  const Array y = Array::zeros(index.shape().inserted(index.dim(), classes), working, index.device());
  const Array one = Array::ones(Shape{}, working, index.device()).expand(places.shape());
  backend(index.device()).scatter_add(y.view(), one.view(), places.view(), index.dim(), "one_hot");
  return Tensor(y.to(dtype));
}

std::vector<Tensor> Tensor::split(std::int64_t size, int axis) const {
  check_defined("split", "x", *this);
  NORMA_CHECK(size >= 1, "split: size must be at least 1, got ", size);
  const std::int64_t extent = this->size(axis);
  std::vector<Tensor> parts;
  for (std::int64_t start = 0; start < extent; start += size)
    parts.push_back(slice(axis, {.start = start, .stop = std::min(start + size, extent)}));
  if (parts.empty()) parts.push_back(*this);
  return parts;
}

std::vector<Tensor> Tensor::chunk(std::int64_t chunks, int axis) const {
  check_defined("chunk", "x", *this);
  NORMA_CHECK(chunks >= 1, "chunk: chunks must be at least 1, got ", chunks);
  return split(std::max<std::int64_t>((size(axis) + chunks - 1) / chunks, 1), axis);
}

}  // namespace norma
