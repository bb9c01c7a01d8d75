// Losses.
#include "autograd/fused.h"
#include "autograd/ops.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

// loss_r = logsumexp(logits_r) - (1 - s) logits_r[target_r] - s mean(logits_r), 0 where the target is
// ignored. Smoothing s: Szegedy et al. 2016 (arXiv:1512.00567), section 7.   logits: [rows, classes] targets:
// [rows]
struct CrossEntropyOp {
  static constexpr const char* name = "cross_entropy";
  std::int64_t ignore_index;
  double smoothing;

  Tensor definition(const Tensor& logits, const Tensor& targets) const {
    const Tensor log_p = log_softmax(logits, -1);
    const Tensor ignored = targets == static_cast<double>(ignore_index);
    const Tensor safe = targets.masked_fill(ignored, 0);
    Tensor loss = log_p.gather(-1, safe.unsqueeze(-1)).squeeze(-1) * (smoothing - 1);
    if (smoothing > 0) loss = loss - log_p.mean(-1) * smoothing;
    return loss.masked_fill(ignored, 0);
  }

  std::optional<Array> forward(Kept& kept, const Array& logits, const Array& targets) const {
    const Array lse = detail::row_statistics(logits);
    Array losses = Array::empty(targets.shape(), logits.dtype(), logits.device());
    if (!backend(logits.device())
             .cross_entropy(losses.view(), lse.view(), logits.contiguous().view(),
                            targets.contiguous().view(), ignore_index, smoothing))
      return std::nullopt;
    kept = {lse};
    return losses;
  }

  std::array<Array, 2> backward(const Kept& kept, const Wanted&, const Array& dy, const Array& logits,
                                const Array& targets) const {
    Array dlogits = detail::empty_like(logits);
    NORMA_ASSERT(backend(logits.device())
                     .cross_entropy_backward(dlogits.view(), dy.view(), kept[0].view(),
                                             logits.contiguous().view(), targets.contiguous().view(),
                                             ignore_index, smoothing));
    return {std::move(dlogits), Array()};
  }
};

// max(x, 0) - x t + log(1 + exp(-|x|)) = -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), without overflow.
Tensor logistic_losses(const Tensor& logits, const Tensor& targets) {
  const Tensor x = logits.detach();
  const Tensor value = relu(x) - x * targets.detach() + log1p((-x.abs()).exp());
  return record("binary_cross_entropy_with_logits", value.array(), {logits, targets},
                [x = Saved(logits), t = Saved(targets)](const Backward& b) -> Gradients {
                  return {b.needs(0) ? b.dy * (x.get().sigmoid() - t.get()) : Tensor(),
                          b.needs(1) ? -(b.dy * x.get()) : Tensor()};
                });
}

// The losses of values and targets, one by one or reduced.
template <Loss kind>
struct LossOp {
  static constexpr const char* name = kind == Loss::squared ? "mse_loss" : "binary_cross_entropy_with_logits";
  Reduction reduction;

  Tensor definition(const Tensor& x, const Tensor& t) const {
    const Tensor losses = kind == Loss::squared ? (x - t).square() : logistic_losses(x, t);
    if (reduction == Reduction::none) return losses;
    return reduction == Reduction::sum ? losses.sum() : losses.mean();
  }

  std::optional<Array> forward(Kept&, const Array& x, const Array& t) const {
    const Shape shape = reduction == Reduction::none ? x.shape() : Shape{};
    Array y = Array::empty(shape, x.dtype(), x.device());
    if (!backend(x.device())
             .loss(kind, y.view(), x.contiguous().view(), t.contiguous().view(), scale(x.numel())))
      return std::nullopt;
    return y;
  }

  std::array<Array, 2> backward(const Kept&, const Wanted& wanted, const Array& dy, const Array& x,
                                const Array& t) const {
    Array dx = detail::gradient_of(wanted[0], x), dt = detail::gradient_of(wanted[1], t);
    NORMA_ASSERT(backend(x.device())
                     .loss_backward(kind, dx.view_or_none(), dt.view_or_none(), dy.view(),
                                    x.contiguous().view(), t.contiguous().view(), scale(x.numel())));
    return {std::move(dx), std::move(dt)};
  }

 private:
  double scale(std::int64_t count) const {
    return reduction == Reduction::mean ? 1 / static_cast<double>(count) : 1;
  }
};

void check_targets(const char* op, const Tensor& input, const Tensor& target) {
  detail::check_floating(op, "input", input);
  detail::check_floating(op, "target", target);
  detail::check_like(op, "target", target, input);
  NORMA_CHECK(input.shape() == target.shape(), op, ": input and target must have one shape, got ",
              input.shape(), " and ", target.shape());
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, CrossEntropyOptions options) {
  detail::check_floating("cross_entropy", "logits", logits);
  check_defined("cross_entropy", "targets", targets);
  NORMA_CHECK(targets.dtype() == i64 && targets.device() == logits.device(),
              "cross_entropy: targets must be i64 on ", logits.device(), ", got ", targets.dtype(), " on ",
              targets.device());
  NORMA_CHECK(logits.dim() >= 1 && logits.shape().removed(-1) == targets.shape(),
              "cross_entropy: logits must be [.., classes] and targets [..], got ", logits.shape(), " and ",
              targets.shape());
  NORMA_CHECK(options.label_smoothing >= 0 && options.label_smoothing <= 1,
              "cross_entropy: label_smoothing must lie in [0, 1], got ", options.label_smoothing);
  const CrossEntropyOp op{options.ignore_index, options.label_smoothing};
  const std::int64_t rows = targets.numel();
  const Tensor losses = apply(op, logits.reshape({rows, logits.size(-1)}), targets.reshape({rows}));
  if (options.reduction == Reduction::sum) return losses.sum();
  if (options.reduction == Reduction::mean) {
    const Tensor counted = targets != static_cast<double>(options.ignore_index);
    return losses.sum() / counted.to(losses.dtype()).sum();
  }
  return losses.reshape(std::vector<std::int64_t>(targets.shape().begin(), targets.shape().end()));
}

Tensor binary_cross_entropy_with_logits(const Tensor& logits, const Tensor& targets, Reduction reduction) {
  check_targets("binary_cross_entropy_with_logits", logits, targets);
  return apply(LossOp<Loss::logistic>{reduction}, logits, targets);
}

Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  check_targets("mse_loss", input, target);
  return apply(LossOp<Loss::squared>{reduction}, input, target);
}

}  // namespace norma
