#include "nn/norm/whitening.h"

#include <algorithm>

#include "autograd/normalization.h"
#include "autograd/ops/rows.h"
#include "nn/norm/channels.h"

namespace norma::nn {
namespace {

/// x [n, channels, ..] as [groups, size, n * ..], and back to [n, channels, ..].
Tensor grouped(const Tensor& x, std::int64_t size) {
  const std::int64_t n = x.size(0), channels = x.size(1), inner = x.numel() / (n * channels);
  return x.reshape({n, channels / size, size, inner})
      .permute({1, 2, 0, 3})
      .reshape({channels / size, size, n * inner});
}
Tensor ungrouped(const Tensor& y, std::int64_t n) {
  const std::int64_t channels = y.size(0) * y.size(1), inner = y.size(2) / n;
  return y.reshape({y.size(0), y.size(1), n, inner}).permute({2, 0, 1, 3}).reshape({n, channels, inner});
}

}  // namespace

DecorrelatedBatchNorm::DecorrelatedBatchNorm(const DecorrelatedBatchNormOptions& options)
    : options_(options) {
  const char* const name = "DecorrelatedBatchNorm";
  const std::int64_t features = options.num_features;
  detail::check_channel_options(name, "num_features", features, options.eps);
  detail::check_momentum(name, options.momentum);
  options_.group_size = std::min(options.group_size, features);
  const std::int64_t size = options_.group_size;
  NORMA_CHECK(size > 0 && features % size == 0, name, ": group_size must be > 0 and divide num_features ",
              features, ", got ", options.group_size);
  NORMA_CHECK(options.eps > 0, name, ": eps must be > 0 (a covariance may have no inverse), got ",
              options.eps);
  NORMA_CHECK(options.iterations >= 1, name, ": iterations must be at least 1, got ", options.iterations);
  detail::make_channel_parameters(features, options.affine, options.affine, weight, bias);
  if (!options.track_running_stats) return;
  running_mean = Buffer(zeros({features}));
  running_whitening = Buffer(eye(size).expand({features / size, size, size}));
  num_batches_tracked = Buffer(zeros({}, i64));
}

Tensor DecorrelatedBatchNorm::operator()(const Tensor& x) {
  detail::check_channel_input(*this, x, options_.num_features, {});
  for (const Tensor& own : {Tensor(weight), Tensor(running_mean)}) {
    if (own.defined()) norma::detail::check_like("DecorrelatedBatchNorm", "x", x, own);
  }
  if (x.numel() == 0) return x;
  const bool by_batch = is_training() || !options_.track_running_stats;
  NORMA_CHECK(!by_batch || x.numel() > x.size(1),
              "DecorrelatedBatchNorm: batch statistics need more than 1 value per channel, got shape ",
              x.shape());
  const Tensor groups = grouped(x, options_.group_size);
  Tensor y = ungrouped(by_batch ? whiten_by_batch(groups) : whiten_by_running(groups), x.size(0));
  if (weight.defined()) y = y * weight.unsqueeze(1) + bias.unsqueeze(1);
  return y.reshape({x.shape().begin(), x.shape().end()});
}

Tensor DecorrelatedBatchNorm::whiten_by_batch(const Tensor& x) {
  // Twice: the second mean is the rounding error of the first.
  const Tensor mean = x.mean(2, keepdim);
  const Tensor rough = x - mean, drift = rough.detach().mean(2, keepdim);
  const Tensor centred = rough - drift;
  const double count = static_cast<double>(x.size(2));
  const Tensor covariance = matmul(centred, centred.transpose(-2, -1)) / count +
                            eye(x.size(1), x.dtype(), x.device()) * options_.eps;
  const Tensor whitening = inverse_square_root(covariance, options_.iterations);
  if (is_training() && options_.track_running_stats) {
    const double share = detail::count_batch(options_.momentum, num_batches_tracked);
    detail::move_towards(running_mean, (mean.detach() + drift).flatten(), share);
    detail::move_towards(running_whitening, whitening.detach(), share);
  }
  return matmul(whitening, centred);
}

Tensor DecorrelatedBatchNorm::whiten_by_running(const Tensor& x) const {
  return matmul(running_whitening, x - running_mean.reshape({x.size(0), x.size(1), 1}));
}

std::string DecorrelatedBatchNorm::describe() const {
  return norma::detail::concat(
      detail::describe_channels(options_.num_features, options_.eps, options_.momentum),
      ", group_size=", options_.group_size, ", iterations=", options_.iterations,
      ", affine=", options_.affine, ", track_running_stats=", options_.track_running_stats);
}

}  // namespace norma::nn
