// Weight normalization (Salimans & Kingma 2016, arXiv:1602.07868): a composite, since weights are small
// beside the activations they make.
#include "autograd/normalization.h"
#include "autograd/ops/rows.h"

namespace norma {

Tensor weight_norm(const Tensor& v, const Tensor& g, int dim) {
  detail::check_floating("weight_norm", "v", v);
  detail::check_floating("weight_norm", "g", g);
  detail::check_like("weight_norm", "g", g, v);
  NORMA_CHECK(dim >= -1 && dim < v.dim(), "weight_norm: dim must lie in [0, ", v.dim() - 1, "] for v ",
              v.shape(), ", or be -1 for one norm of all of it, got ", dim);
  Shape shape;
  Tensor length;
  if (dim == -1) {
    length = v.norm();
  } else {
    std::vector<int> axes{v.dim()};  // an axis of extent 1 is added, so that there is always one to sum over
    for (int axis = 0; axis < v.dim(); ++axis) {
      if (axis != dim) axes.push_back(axis);
      shape = shape.inserted(axis, axis == dim ? v.size(dim) : 1);
    }
    length = v.unsqueeze(-1).norm(axes, keepdim).squeeze(-1);
  }
  NORMA_CHECK(g.shape() == shape, "weight_norm: g must have shape ", shape, " for v ", v.shape(),
              " and dim = ", dim, ", got ", g.shape());
  const Tensor zero = length.detach() == 0;
  return v * (g / length.masked_fill(zero, 1)).masked_fill(zero, 0);
}

}  // namespace norma
