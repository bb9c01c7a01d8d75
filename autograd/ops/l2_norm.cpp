// Division by the 2-norm over the last axis, with a floor: x / max(|x|, eps).
#include <limits>

#include "autograd/fused.h"
#include "autograd/normalization.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

// x, y: [.., d]   weight: one element
struct L2NormOp {
  static constexpr const char* name = "l2_norm";
  double eps;

  Tensor definition(const Tensor& x, const Tensor& weight) const {
    const Tensor y = x / x.norm(-1, keepdim).clamp(eps, std::numeric_limits<double>::infinity());
    return weight.defined() ? y * weight : y;
  }

  std::optional<Array> forward(Kept& kept, const Array& x, const Array& weight) const {
    if (x.numel() == 0) return std::nullopt;
    Array y = detail::empty_like(x);
    const Array norm = detail::row_statistics(x);
    if (!backend(x.device())
             .l2_norm(detail::as_rows(y).view(), norm.view(), detail::as_rows(x).view(),
                      detail::packed(weight).view_or_none(), eps))
      return std::nullopt;
    kept = {norm};
    return y;
  }

  std::array<Array, 2> backward(const Kept& kept, const Wanted& wanted, const Array& dy, const Array& x,
                                const Array& weight) const {
    Array dx = detail::gradient_of(wanted[0], x);
    Array dweight = detail::gradient_of(wanted[1], weight);
    NORMA_ASSERT(backend(x.device())
                     .l2_norm_backward(detail::as_rows(dx).view_or_none(), dweight.view_or_none(),
                                       detail::as_rows(dy).view(), detail::as_rows(x).view(), kept[0].view(),
                                       detail::packed(weight).view_or_none(), eps));
    return {std::move(dx), std::move(dweight)};
  }
};

}  // namespace

Tensor l2_norm(const Tensor& x, const Tensor& weight, double eps) {
  detail::check_rows("l2_norm", x);
  detail::check_eps("l2_norm", eps);
  if (!weight.defined()) return apply(L2NormOp{eps}, x, weight);
  NORMA_CHECK(weight.numel() == 1 && weight.dim() <= 1,
              "l2_norm: weight must be one element, of shape [] or [1], got ", weight.shape());
  detail::check_like("l2_norm", "weight", weight, x);
  return apply(L2NormOp{eps}, x, weight.reshape({1}));
}

}  // namespace norma
