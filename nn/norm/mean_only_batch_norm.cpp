#include "nn/norm/mean_only_batch_norm.h"

#include "autograd/ops.h"
#include "autograd/ops/rows.h"
#include "nn/norm/channels.h"

namespace norma::nn {

MeanOnlyBatchNorm::MeanOnlyBatchNorm(const MeanOnlyBatchNormOptions& options) : options_(options) {
  detail::check_channel_options("MeanOnlyBatchNorm", "num_features", options.num_features, 0);
  detail::check_momentum("MeanOnlyBatchNorm", options.momentum);
  if (options.bias) bias = Parameter(zeros({options.num_features}));
  running_mean = Buffer(zeros({options.num_features}));
  num_batches_tracked = Buffer(zeros({}, i64));
}

Tensor MeanOnlyBatchNorm::operator()(const Tensor& x) {
  detail::check_channel_input(*this, x, options_.num_features, {});
  norma::detail::check_like("MeanOnlyBatchNorm", "x", x, running_mean);
  if (x.numel() == 0) return x;
  const std::int64_t n = x.size(0), channels = x.size(1), inner = x.numel() / (n * channels);
  const Tensor lines = x.reshape({n, channels, inner});
  Tensor mean = running_mean.unsqueeze(1);
  if (is_training()) {
    NORMA_CHECK(n * inner > 1, "MeanOnlyBatchNorm: training needs more than 1 value per channel, got shape ",
                x.shape());
    mean = lines.mean({0, 2}).unsqueeze(1);
    const double share = detail::count_batch(options_.momentum, num_batches_tracked);
    detail::move_towards(running_mean, mean.detach().flatten(), share);
  }
  Tensor y = lines - mean;
  if (bias.defined()) y = y + bias.unsqueeze(1);
  return y.reshape({x.shape().begin(), x.shape().end()});
}

std::string MeanOnlyBatchNorm::describe() const {
  return norma::detail::concat(options_.num_features, ", momentum=",
                               options_.momentum ? norma::detail::concat(*options_.momentum) : "none",
                               ", bias=", options_.bias);
}

}  // namespace norma::nn
