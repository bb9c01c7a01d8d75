#include "nn/norm/batch_norm.h"

#include "autograd/normalization.h"

namespace norma::nn {

BatchNorm::BatchNorm(const BatchNormOptions& options, const char* name, detail::Ranks ranks)
    : options_(options), ranks_(ranks) {
  detail::check_channel_options(name, "num_features", options.num_features, options.eps);
  detail::check_momentum(name, options.momentum);
  const std::int64_t channels = options.num_features;
  detail::make_channel_parameters(channels, options.affine && options.weight, options.affine && options.bias,
                                  weight, bias);
  if (!options.track_running_stats) return;
  running_mean = Buffer(zeros({channels}));
  running_var = Buffer(ones({channels}));
  num_batches_tracked = Buffer(zeros({}, i64));
}

Tensor BatchNorm::operator()(const Tensor& x, const Tensor& mask) {
  detail::check_channel_input(*this, x, options_.num_features, ranks_);
  if (!is_training() && options_.track_running_stats)
    return batch_norm_inference(x, running_mean, running_var, weight, bias, options_.eps, mask);
  const BatchStatistics batch = batch_statistics(x, mask);
  Tensor y = batch_norm(x, batch, weight, bias, options_.eps, mask);
  if (is_training() && options_.track_running_stats && batch.count > 0) {
    const double share = detail::count_batch(options_.momentum, num_batches_tracked);
    const double count = static_cast<double>(batch.count);
    detail::move_towards(running_mean, batch.mean, share);
    detail::move_towards(running_var, batch.var * (count / (count - 1)), share);
  }
  return y;
}

std::string BatchNorm::describe() const {
  return norma::detail::concat(
      detail::describe_channels(options_.num_features, options_.eps, options_.momentum),
      ", affine=", options_.affine, ", track_running_stats=", options_.track_running_stats);
}

}  // namespace norma::nn
