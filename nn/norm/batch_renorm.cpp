#include "nn/norm/batch_renorm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/normalization.h"
#include "autograd/recompute.h"

namespace norma::nn {
namespace {

/// From `low` at `start` in a straight line to `high` at `end`.
double ramp(std::int64_t batches, std::int64_t start, std::int64_t end, double low, double high) {
  if (batches <= start) return low;
  if (batches >= end) return high;
  return low + (high - low) * static_cast<double>(batches - start) / static_cast<double>(end - start);
}

}  // namespace

RenormLimits RenormRamp::operator()(std::int64_t batches_seen) const {
  return {ramp(batches_seen, start, r_end, 1, r_max), ramp(batches_seen, start, d_end, 0, d_max)};
}

BatchRenorm::BatchRenorm(const BatchRenormOptions& options, const char* name, detail::Ranks ranks)
    : options_(options), ranks_(ranks) {
  detail::check_channel_options(name, "num_features", options.num_features, options.eps);
  detail::check_momentum(name, options.momentum);
  NORMA_CHECK(options.limits != nullptr, name, ": limits is empty, expected a function of the batches seen");
  const std::int64_t channels = options.num_features;
  detail::make_channel_parameters(channels, options.affine && options.weight, options.affine && options.bias,
                                  weight, bias);
  running_mean = Buffer(zeros({channels}));
  running_std = Buffer(ones({channels}));
  num_batches_tracked = Buffer(zeros({}, i64));
}

RenormLimits BatchRenorm::limits() const {
  const std::int64_t seen = static_cast<std::int64_t>(num_batches_tracked.item());
  const RenormLimits found = options_.limits(seen);
  NORMA_CHECK(found.r_max >= 1 && found.d_max >= 0, type_name(),
              ": the limits must be r_max >= 1 and d_max >= 0, got r_max ", found.r_max, " and d_max ",
              found.d_max, " after ", seen, " batches");
  return found;
}

Tensor BatchRenorm::running_deviation() const {
  return running_std.detach().to(f64).clamp(std::sqrt(options_.eps), std::numeric_limits<double>::infinity());
}

Tensor BatchRenorm::operator()(const Tensor& x, const Tensor& mask) {
  detail::check_channel_input(*this, x, options_.num_features, ranks_);
  const Tensor running = running_deviation();
  if (!is_training()) return batch_norm_inference(x, running_mean, running.square(), weight, bias, 0, mask);
  NORMA_CHECK(!Recomputation::active(), type_name(),
              ": cannot be computed again by checkpoint() while training: its result depends on the running "
              "statistics, which the first call moved");
  const RenormLimits limit = limits();
  const BatchStatistics batch = batch_statistics(x, mask);
  const Tensor deviation = (batch.var + options_.eps).sqrt();
  const Tensor shift = batch.mean - running_mean.detach().to(f64);
  const Tensor r = (deviation / running).clamp(1 / limit.r_max, limit.r_max).to(x.dtype());
  const Tensor d = (shift / running).clamp(-limit.d_max, limit.d_max).to(x.dtype());
  // (z r + d) weight + bias = z (weight r) + (weight d + bias), z the batch-normalized x
  const Tensor scale = weight.defined() ? weight * r : r;
  const Tensor offset = weight.defined() ? weight * d : d;
  Tensor y = batch_norm(x, batch, scale, bias.defined() ? offset + bias : offset, options_.eps, mask);
  if (batch.count > 0) {
    const double share = detail::count_batch(options_.momentum, num_batches_tracked);
    detail::move_towards(running_mean, batch.mean, share);
    detail::move_towards(running_std, deviation, share);
  }
  return y;
}

std::string BatchRenorm::describe() const {
  return norma::detail::concat(
      detail::describe_channels(options_.num_features, options_.eps, options_.momentum),
      ", affine=", options_.affine);
}

}  // namespace norma::nn
