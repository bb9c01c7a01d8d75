// Root mean square normalization (Zhang & Sennrich 2019, arXiv:1910.07467) over the last axis.
#include <cmath>

#include "autograd/fused.h"
#include "autograd/normalization.h"
#include "autograd/ops/rows.h"
#include "core/profile.h"

namespace norma {
namespace {

// x, y: [.., d]   weight: [d]   counted: entries that the mean square is over, in [1, d]
struct RmsNormOp {
  static constexpr const char* name = "rms_norm";
  double eps;
  RmsEps mode;
  std::int64_t counted;

  bool inside() const { return mode == RmsEps::inside; }

  Tensor definition(const Tensor& x, const Tensor& weight) const {
    const Tensor part = counted == x.size(-1) ? x : x.narrow(-1, 0, counted);
    Tensor y;
    if (inside()) {
      y = x * (part.square().mean(-1, keepdim) + eps).rsqrt();
    } else {
      // The norm's gradient at a zero row is zero, so there dx = weight * dy / eps.
      const double root = std::sqrt(static_cast<double>(counted));
      y = x / (part.norm(-1, keepdim) / root + eps);
    }
    return weight.defined() ? y * weight : y;
  }

  std::optional<Array> forward(Kept& kept, const Array& x, const Array& weight) const {
    if (x.numel() == 0) return std::nullopt;
    Array y = detail::empty_like(x);
    Array rstd = detail::row_statistics(x);
    if (!backend(x.device())
             .rms_norm(detail::as_rows(y).view(), rstd.view(), detail::as_rows(x).view(),
                       detail::packed(weight).view_or_none(), eps, inside(), counted))
      return std::nullopt;
    kept.push_back(std::move(rstd));
    return y;
  }

  std::array<Array, 2> backward(const Kept& kept, const Wanted& wanted, const Array& dy, const Array& x,
                                const Array& weight) const {
    Array dx = detail::gradient_of(wanted[0], x);
    Array dweight = detail::gradient_of(wanted[1], weight);
    NORMA_ASSERT(backend(x.device())
                     .rms_norm_backward(detail::as_rows(dx).view_or_none(), dweight.view_or_none(),
                                        detail::as_rows(dy).view(), detail::as_rows(x).view(), kept[0].view(),
                                        detail::packed(weight).view_or_none(), eps, inside(), counted));
    return {std::move(dx), std::move(dweight)};
  }
};

void check(const char* op, const Tensor& x, const Tensor& weight, double eps) {
  detail::check_rows(op, x);
  detail::check_per_column(op, "weight", weight, x);
  detail::check_eps(op, eps);
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps, RmsEps mode, std::int64_t counted) {
  check("rms_norm", x, weight, eps);
  NORMA_CHECK(counted >= 0 && counted <= x.size(-1), "rms_norm: counted must lie in [1, ", x.size(-1),
              "] (last extent of x ", x.shape(), "), or be 0 for all, got ", counted);
  return apply(RmsNormOp{eps, mode, counted == 0 ? x.size(-1) : counted}, x, weight);
}

std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                                       double eps, RmsEps mode) {
  check("add_rms_norm", x, weight, eps);
  detail::check_same_shape("add_rms_norm", "residual", residual, x);
  const RmsNormOp norm{eps, mode, x.size(-1)};
  if (!DefinitionsOnly::active() && x.numel() > 0) {
    const Array y = detail::empty_like(x.array()), total = detail::empty_like(x.array());
    const Array rstd = detail::row_statistics(y);
    std::optional<detail::ProfileSpan> span(std::in_place, "add_rms_norm", y);
    if (backend(x.device())
            .add_rms_norm(detail::as_rows(y).view(), detail::as_rows(total).view(), rstd.view(),
                          detail::as_rows(x.array()).view(), detail::as_rows(residual.array()).view(),
                          detail::packed(weight).view_or_none(), eps, norm.inside())) {
      span.reset();
      const Tensor sum = detail::record_sum(total, x, residual);
      return {sum, apply_computed(norm, y, {rstd}, sum, weight)};
    }
  }
  const Tensor sum = x + residual;
  return {sum, apply(norm, sum, weight)};
}

}  // namespace norma
