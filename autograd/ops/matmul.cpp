// Matrix products. Transposes are views; the backend reads them from the strides.
#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/ops/kernels.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

/// Batched product of ranks >= 2.
Tensor batched(const Tensor& a, const Tensor& b) {
  return record("matmul", kernels::matmul(a.array(), b.array()), {a, b},
                [a_shape = a.shape(), b_shape = b.shape(), a = b.requires_grad() ? Saved(a) : Saved(),
                 b = a.requires_grad() ? Saved(b) : Saved()](const Backward& call) -> Gradients {
                  Gradients gradients(2);
                  if (call.needs(0))
                    gradients[0] = sum_to(batched(call.dy, b.get().transpose(-2, -1)), a_shape);
                  if (call.needs(1))
                    gradients[1] = sum_to(batched(a.get().transpose(-2, -1), call.dy), b_shape);
                  return gradients;
                });
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  check_defined("matmul", "a", a);
  check_defined("matmul", "b", b);
  NORMA_CHECK(a.dim() >= 1 && b.dim() >= 1, "matmul: operands must have rank 1 or more, got ", a.shape(),
              " and ", b.shape());
  if (a.dim() == 1) return matmul(a.unsqueeze(0), b).squeeze(b.dim() == 1 ? 0 : -2);
  if (b.dim() == 1) return matmul(a, b.unsqueeze(1)).squeeze(-1);
  NORMA_CHECK(a.size(-1) == b.size(-2),
              "matmul: the last axis of a must equal the one before the last of b, got ", a.shape(), " and ",
              b.shape());
  if (b.dim() == 2 && a.dim() > 2) {  // one large product, and no sum over the batch on the way back
    std::vector<std::int64_t> extents(a.shape().begin(), a.shape().end());
    extents.back() = b.size(1);
    return batched(a.reshape({detail::row_count(a.shape()), a.size(-1)}), b).reshape(extents);
  }
  return batched(a, b);
}

Tensor Tensor::matmul(const Tensor& other) const { return norma::matmul(*this, other); }

}  // namespace norma
