// Batch normalization (Ioffe & Szegedy 2015, arXiv:1502.03167): statistics of a batch, and the norm by them
// or by constants.
#include <algorithm>

#include "autograd/fused.h"
#include "autograd/normalization.h"
#include "autograd/ops.h"
#include "autograd/ops/channels.h"

namespace norma {
namespace {

/// x [n, channels, inner] where the mask [n, inner] is true, 0 elsewhere.
Tensor where_counted(const Tensor& x, const Tensor& mask) {
  return mask.defined() ? x.masked_fill(logical_not(mask).unsqueeze(1), 0) : x;
}

/// Mean over n and inner, [1, channels, 1]. x is 0 where it does not count.
Tensor channel_mean(const Tensor& x, std::int64_t count) {
  return x.sum({0, 2}, keepdim) / static_cast<double>(std::max<std::int64_t>(1, count));
}

// x, y: [n, channels, inner]   weight, bias: [channels]   mask: boolean [n, inner]
struct BatchNormOp {
  static constexpr const char* name = "batch_norm";
  Tensor mean, rstd;  // f64 [channels], without history
  double eps;
  std::int64_t count;
  bool constant;  // mean and rstd are constants; otherwise they are those of x

  Tensor definition(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& mask) const {
    const Tensor counted = where_counted(x, mask);
    Tensor y;
    if (constant) {
      y = (counted - detail::per_channel(mean.to(x.dtype()))) * detail::per_channel(rstd.to(x.dtype()));
    } else {
      const Tensor centred = where_counted(counted - channel_mean(counted, count), mask);
      y = centred * (channel_mean(centred.square(), count) + eps).rsqrt();
    }
    if (weight.defined()) y = y * detail::per_channel(weight);
    if (bias.defined()) y = y + detail::per_channel(bias);
    return where_counted(y, mask);
  }

  std::optional<Array> forward(Kept&, const Array& x, const Array& weight, const Array& bias,
                               const Array& mask) const {
    if (x.numel() == 0) return std::nullopt;
    Array y = detail::empty_like(x);
    if (!backend(x.device())
             .batch_norm(y.view(), detail::packed(x).view(), detail::packed(mask).view_or_none(),
                         mean.array().view(), rstd.array().view(), detail::packed(weight).view_or_none(),
                         detail::packed(bias).view_or_none()))
      return std::nullopt;
    return y;
  }

  std::array<Array, 4> backward(const Kept&, const Wanted& wanted, const Array& dy, const Array& x,
                                const Array& weight, const Array& bias, const Array& mask) const {
    Array dx = detail::gradient_of(wanted[0], x);
    Array dweight = detail::gradient_of(wanted[1], weight);
    Array dbias = detail::gradient_of(wanted[2], bias);
    NORMA_ASSERT(backend(x.device())
                     .batch_norm_backward(
                         dx.view_or_none(), dweight.view_or_none(), dbias.view_or_none(), dy.view(),
                         detail::packed(x).view(), detail::packed(mask).view_or_none(), mean.array().view(),
                         rstd.array().view(), detail::packed(weight).view_or_none(), constant));
    return {std::move(dx), std::move(dweight), std::move(dbias), Array()};
  }
};

/// The ops that the statistics kernel stands for. x [n, channels, inner], mask [n, inner].
BatchStatistics statistics_by_ops(const Tensor& x, const Tensor& mask, std::int64_t count) {
  const Tensor counted = where_counted(x.detach().to(f64), mask);
  const Tensor mean = channel_mean(counted, count);
  const Tensor centred = where_counted(counted - mean, mask);
  return {mean.reshape({-1}), channel_mean(centred.square(), count).reshape({-1}), count};
}

void check_batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                      const Tensor& mask) {
  detail::check_channels("batch_norm", x);
  detail::check_per_channel("batch_norm", "weight", weight, x);
  detail::check_per_channel("batch_norm", "bias", bias, x);
  detail::check_channel_mask("batch_norm", mask, x);
  detail::check_eps("batch_norm", eps);
}

/// [n, spatial..] as [n, inner].
Tensor flat_mask(const Tensor& mask, const Tensor& x) {
  return mask.defined() ? mask.reshape({x.size(0), detail::spatial_count(x)}) : mask;
}

Tensor apply_batch_norm(BatchNormOp op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const Tensor& mask) {
  return detail::like_input(apply(std::move(op), detail::as_channels(x), weight, bias, flat_mask(mask, x)),
                            x);
}

/// A constant of the op: f64, contiguous, in memory of its own.
Tensor constant_statistic(const char* argument, const Tensor& value, const Tensor& x) {
  check_defined("batch_norm", argument, value);
  if (value.dtype() != f64) detail::check_like("batch_norm", argument, value, x);
  NORMA_CHECK(value.shape() == Shape{x.size(1)} && value.device() == x.device(), "batch_norm: ", argument,
              " must have shape [", x.size(1), "] (channels of x ", x.shape(), ") on ", x.device(), ", got ",
              value.shape(), " on ", value.device());
  const Array converted = value.array().to(f64);
  return Tensor(converted.shares_storage(value.array()) ? converted.clone() : converted);
}

}  // namespace

BatchStatistics batch_statistics(const Tensor& x, const Tensor& mask) {
  detail::check_channels("batch_statistics", x);
  detail::check_channel_mask("batch_statistics", mask, x);
  const std::int64_t count = mask.defined() ? static_cast<std::int64_t>(mask.to(i64).sum().item())
                                            : x.size(0) * detail::spatial_count(x);
  const Tensor flat = detail::as_channels(x.detach()), seen = flat_mask(mask, x);
  if (!DefinitionsOnly::active()) {
    const Array mean = Array::empty(Shape{x.size(1)}, f64, x.device());
    const Array var = Array::empty(Shape{x.size(1)}, f64, x.device());
    if (backend(x.device())
            .batch_statistics(mean.view(), var.view(), flat.array().contiguous().view(),
                              seen.defined() ? seen.array().contiguous().view() : View{}))
      return {Tensor(mean), Tensor(var), count};
  }
  return statistics_by_ops(flat, seen, count);
}

Tensor batch_norm(const Tensor& x, const BatchStatistics& statistics, const Tensor& weight,
                  const Tensor& bias, double eps, const Tensor& mask) {
  check_batch_norm(x, weight, bias, eps, mask);
  NORMA_CHECK(statistics.count != 1,
              "batch_norm: expected more than 1 value per channel when training, got x of shape ", x.shape(),
              mask.defined() ? " of which the mask lets 1 count" : "");
  const Tensor mean = constant_statistic("mean", statistics.mean, x);
  const Tensor var = constant_statistic("var", statistics.var, x);
  return apply_batch_norm({mean, (var + eps).rsqrt(), eps, statistics.count, false}, x, weight, bias, mask);
}

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, const Tensor& mask) {
  check_batch_norm(x, weight, bias, eps, mask);
  return batch_norm(x, batch_statistics(x, mask), weight, bias, eps, mask);
}

Tensor batch_norm_inference(const Tensor& x, const Tensor& mean, const Tensor& var, const Tensor& weight,
                            const Tensor& bias, double eps, const Tensor& mask) {
  check_batch_norm(x, weight, bias, eps, mask);
  const Tensor centre = constant_statistic("mean", mean, x), spread = constant_statistic("var", var, x);
  return apply_batch_norm({centre, (spread + eps).rsqrt(), eps, 0, true}, x, weight, bias, mask);
}

}  // namespace norma
