// gather and scatter_add: each is the other's adjoint.
#include "autograd/node.h"
#include "autograd/ops.h"

namespace norma {
namespace {

void check_index(const char* op, const Tensor& index) {
  check_defined(op, "index", index);
  NORMA_CHECK(index.dtype() == i64, op, ": index must be i64, got ", index.dtype());
}

/// Both have the same shape but along axis; x is cut to the index's extents elsewhere.
Tensor cut_to(const char* op, const Tensor& x, const Tensor& index, int axis) {
  NORMA_CHECK(x.dim() == index.dim(), op, ": index must have the rank of x, got ", index.shape(), " for x ",
              x.shape());
  NORMA_CHECK(x.device() == index.device(), op, ": index is on ", index.device(), ", x on ", x.device());
  Tensor cut = x;
  for (int a = 0; a < x.dim(); ++a) {
    if (a == axis) continue;
    NORMA_CHECK(index.size(a) <= x.size(a), op, ": index ", index.shape(), " is longer than x ", x.shape(),
                " along axis ", a);
    if (index.size(a) < x.size(a)) cut = cut.slice(a, {0, index.size(a)});
  }
  return cut;
}

}  // namespace

Tensor Tensor::gather(int axis, const Tensor& index) const {
  check_defined("gather", "x", *this);
  check_index("gather", index);
  const int place = normalize_axis(axis, dim(), "gather");
  const Tensor x = cut_to("gather", *this, index, place);
  Array y = Array::empty(index.shape(), dtype(), device());
  backend(device()).gather(y.view(), x.array().view(), index.array().view(), place, "gather");
  return record("gather", std::move(y), {x},
                [place, shape = x.shape(), index = Saved(index)](const Backward& b) -> Gradients {
                  return {norma::scatter_add(b.dy, place, index.get(), shape)};
                });
}

Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, const Shape& shape) {
  check_defined("scatter_add", "x", x);
  check_index("scatter_add", index);
  const int place = normalize_axis(axis, x.dim(), "scatter_add");
  NORMA_CHECK(x.shape() == index.shape(), "scatter_add: index must have the shape of x, got ", index.shape(),
              " and ", x.shape());
  NORMA_CHECK(shape.rank() == x.dim(), "scatter_add: the result shape ", shape, " must have the rank of x ",
              x.shape());
  NORMA_CHECK(x.device() == index.device(), "scatter_add: index is on ", index.device(), ", x on ",
              x.device());
  Array y = Array::zeros(shape, x.dtype(), x.device());
  Array target = y;
  for (int a = 0; a < x.dim(); ++a) {
    if (a == place) continue;
    NORMA_CHECK(x.size(a) <= shape[a], "scatter_add: x ", x.shape(), " is longer than the result ", shape,
                " along axis ", a);
    target = target.slice(a, {0, x.size(a)});
  }
  backend(x.device())
      .scatter_add(target.view(), x.array().view(), index.array().view(), place, "scatter_add");
  return record("scatter_add", std::move(y), {x},
                [place, index = Saved(index)](const Backward& b) -> Gradients {
                  return {b.dy.gather(place, index.get())};
                });
}

Tensor Tensor::index_select(int axis, const Tensor& index) const {
  check_defined("index_select", "x", *this);
  check_index("index_select", index);
  NORMA_CHECK(index.dim() == 1, "index_select: index must have rank 1, got shape ", index.shape());
  const int place = normalize_axis(axis, dim(), "index_select");
  Tensor aligned = index;
  for (int a = 0; a < dim(); ++a) {
    if (a != place) aligned = aligned.unsqueeze(a);
  }
  return gather(place, aligned.expand(shape().with(place, index.size(0))));
}

}  // namespace norma
