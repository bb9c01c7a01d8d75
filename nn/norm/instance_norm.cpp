#include "nn/norm/instance_norm.h"

#include "autograd/normalization.h"

namespace norma::nn {

InstanceNorm::InstanceNorm(const InstanceNormOptions& options, const char* name, detail::Ranks ranks)
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

Tensor InstanceNorm::operator()(const Tensor& x) {
  detail::check_channel_input(*this, x, options_.num_features, ranks_);
  if (!is_training() && options_.track_running_stats)
    return batch_norm_inference(x, running_mean, running_var, weight, bias, options_.eps);
  Tensor y = instance_norm(x, weight, bias, options_.eps);
  if (is_training() && options_.track_running_stats && x.numel() > 0) track(x);
  return y;
}

void InstanceNorm::track(const Tensor& x) {
  const std::int64_t n = x.size(0), channels = x.size(1), inner = x.numel() / (n * channels);
  const BatchStatistics each = batch_statistics(x.detach().reshape({1, n * channels, inner}));
  const auto average = [&](const Tensor& values) { return values.reshape({n, channels}).mean(0); };
  const double share = detail::count_batch(options_.momentum, num_batches_tracked);
  const double unbiased = static_cast<double>(inner) / static_cast<double>(inner - 1);
  detail::move_towards(running_mean, average(each.mean), share);
  detail::move_towards(running_var, average(each.var) * unbiased, share);
}

std::string InstanceNorm::describe() const {
  return norma::detail::concat(
      detail::describe_channels(options_.num_features, options_.eps, options_.momentum),
      ", affine=", options_.affine, ", track_running_stats=", options_.track_running_stats);
}

}  // namespace norma::nn
