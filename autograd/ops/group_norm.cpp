// Group normalization (Wu & He 2018, arXiv:1803.08494, eq. 7), and instance normalization, a group for each
// channel (Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022).
#include <algorithm>

#include "autograd/fused.h"
#include "autograd/normalization.h"
#include "autograd/ops.h"
#include "autograd/ops/channels.h"

namespace norma {
namespace {

// x, y: [n, channels, inner]   weight, bias: [channels]
struct GroupNormOp {
  static constexpr const char* name = "group_norm";
  std::int64_t groups;
  double eps;

  Tensor definition(const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    const std::int64_t size = x.size(1) / groups * x.size(2);
    const Tensor grouped = x.reshape({x.size(0), groups, size});
    const Tensor centred = grouped - grouped.mean(-1, keepdim);
    Tensor y = centred * (centred.square().mean(-1, keepdim) + eps).rsqrt();
    y = y.reshape({x.size(0), x.size(1), x.size(2)});
    if (weight.defined()) y = y * detail::per_channel(weight);
    if (bias.defined()) y = y + detail::per_channel(bias);
    return y;
  }

  std::optional<Array> forward(Kept& kept, const Array& x, const Array& weight, const Array& bias) const {
    if (x.numel() == 0) return std::nullopt;
    Array y = detail::empty_like(x);
    const Shape statistics{x.shape()[0], groups};
    const Array mean = Array::empty(statistics, f64, x.device());
    const Array rstd = Array::empty(statistics, f64, x.device());
    if (!backend(x.device())
             .group_norm(y.view(), mean.view(), rstd.view(), detail::packed(x).view(),
                         detail::packed(weight).view_or_none(), detail::packed(bias).view_or_none(), groups,
                         eps))
      return std::nullopt;
    kept = {mean, rstd};
    return y;
  }

  std::array<Array, 3> backward(const Kept& kept, const Wanted& wanted, const Array& dy, const Array& x,
                                const Array& weight, const Array& bias) const {
    Array dx = detail::gradient_of(wanted[0], x);
    Array dweight = detail::gradient_of(wanted[1], weight);
    Array dbias = detail::gradient_of(wanted[2], bias);
    NORMA_ASSERT(backend(x.device())
                     .group_norm_backward(dx.view_or_none(), dweight.view_or_none(), dbias.view_or_none(),
                                          dy.view(), detail::packed(x).view(), kept[0].view(), kept[1].view(),
                                          detail::packed(weight).view_or_none(), groups));
    return {std::move(dx), std::move(dweight), std::move(dbias)};
  }
};

void check_group_norm(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  detail::check_channels(op, x);
  detail::check_per_channel(op, "weight", weight, x);
  detail::check_per_channel(op, "bias", bias, x);
  detail::check_eps(op, eps);
}

Tensor apply_group_norm(std::int64_t groups, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        double eps) {
  return detail::like_input(apply(GroupNormOp{groups, eps}, detail::as_channels(x), weight, bias), x);
}

}  // namespace

Tensor group_norm(const Tensor& x, std::int64_t num_groups, const Tensor& weight, const Tensor& bias,
                  double eps) {
  check_group_norm("group_norm", x, weight, bias, eps);
  NORMA_CHECK(num_groups > 0, "group_norm: num_groups must be > 0, got ", num_groups);
  NORMA_CHECK(x.size(1) % num_groups == 0, "group_norm: num_channels (", x.size(1),
              ") is not divisible by num_groups (", num_groups, "); input shape ", x.shape());
  return apply_group_norm(num_groups, x, weight, bias, eps);
}

Tensor instance_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check_group_norm("instance_norm", x, weight, bias, eps);
  NORMA_CHECK(detail::spatial_count(x) != 1,
              "instance_norm: expected more than 1 spatial element, got x of shape ", x.shape());
  return apply_group_norm(std::max<std::int64_t>(1, x.size(1)), x, weight, bias, eps);
}

}  // namespace norma
