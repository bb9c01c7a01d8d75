// Layer normalization (Ba, Kiros, Hinton 2016, arXiv:1607.06450) over the last axis.
#include "autograd/fused.h"
#include "autograd/normalization.h"
#include "autograd/ops/rows.h"
#include "core/profile.h"

namespace norma {
namespace {

// x, y: [.., d]   weight, bias: [d]
struct LayerNormOp {
  static constexpr const char* name = "layer_norm";
  double eps;
  Detached constants;

  // Of the statistics that forward keeps.
  static View mean(const Array& statistics) { return detail::statistic(statistics, 0); }
  static View rstd(const Array& statistics) { return detail::statistic(statistics, 1); }

  Tensor definition(const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    const auto kept = [](const Tensor& statistic, bool constant) {
      return constant ? statistic.detach() : statistic;
    };
    const Tensor centred = x - kept(x.mean(-1, keepdim), constants.mean);
    Tensor y = centred * kept((centred.square().mean(-1, keepdim) + eps).rsqrt(), constants.std);
    if (weight.defined()) y = y * weight;
    if (bias.defined()) y = y + bias;
    return y;
  }

  std::optional<Array> forward(Kept& kept, const Array& x, const Array& weight, const Array& bias) const {
    if (x.numel() == 0) return std::nullopt;
    Array y = detail::empty_like(x);
    Array statistics = detail::row_statistics(x, 2);
    if (!backend(x.device())
             .layer_norm(detail::as_rows(y).view(), mean(statistics), rstd(statistics),
                         detail::as_rows(x).view(), detail::packed(weight).view_or_none(),
                         detail::packed(bias).view_or_none(), eps))
      return std::nullopt;
    kept.push_back(std::move(statistics));
    return y;
  }

  std::array<Array, 3> backward(const Kept& kept, const Wanted& wanted, const Array& dy, const Array& x,
                                const Array& weight, const Array& bias) const {
    Array dx = detail::gradient_of(wanted[0], x);
    Array dweight = detail::gradient_of(wanted[1], weight);
    Array dbias = detail::gradient_of(wanted[2], bias);
    NORMA_ASSERT(backend(x.device())
                     .layer_norm_backward(detail::as_rows(dx).view_or_none(), dweight.view_or_none(),
                                          dbias.view_or_none(), detail::as_rows(dy).view(),
                                          detail::as_rows(x).view(), mean(kept[0]), rstd(kept[0]),
                                          detail::packed(weight).view_or_none(), constants));
    return {std::move(dx), std::move(dweight), std::move(dbias)};
  }
};

void check(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  detail::check_rows(op, x);
  detail::check_per_column(op, "weight", weight, x);
  detail::check_per_column(op, "bias", bias, x);
  detail::check_eps(op, eps);
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Detached constants) {
  check("layer_norm", x, weight, bias, eps);
  return apply(LayerNormOp{eps, constants}, x, weight, bias);
}

std::pair<Tensor, Tensor> add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                                         const Tensor& bias, double eps) {
  check("add_layer_norm", x, weight, bias, eps);
  detail::check_same_shape("add_layer_norm", "residual", residual, x);
  const LayerNormOp norm{eps, {}};
  if (!DefinitionsOnly::active() && x.numel() > 0) {
    const Array y = detail::empty_like(x.array()), total = detail::empty_like(x.array());
    const Array statistics = detail::row_statistics(y, 2);
    std::optional<detail::ProfileSpan> span(std::in_place, "add_layer_norm", y);
    if (backend(x.device())
            .add_layer_norm(detail::as_rows(y).view(), detail::as_rows(total).view(),
                            LayerNormOp::mean(statistics), LayerNormOp::rstd(statistics),
                            detail::as_rows(x.array()).view(), detail::as_rows(residual.array()).view(),
                            detail::packed(weight).view_or_none(), detail::packed(bias).view_or_none(),
                            eps)) {
      span.reset();
      const Tensor sum = detail::record_sum(total, x, residual);
      return {sum, apply_computed(norm, y, {statistics}, sum, weight, bias)};
    }
  }
  const Tensor sum = x + residual;
  return {sum, apply(norm, sum, weight, bias)};
}

}  // namespace norma
