// What the norms over channels share: checks of options and inputs, the two parameters, running statistics.
#pragma once

#include <optional>
#include <string>

#include "nn/module.h"

namespace norma::nn::detail {

/// Number of axes that x may have. 0: no upper limit.
struct Ranks {
  int low = 2, high = 0;
};

/// Throws unless there is at least one channel, and eps is finite and >= 0.
void check_channel_options(const std::string& name, const char* what, std::int64_t channels, double eps);
/// Throws unless momentum is absent or in [0, 1].
void check_momentum(const std::string& name, std::optional<double> momentum);
/// Throws unless x has a rank in `ranks` and `channels` channels on axis 1.
void check_channel_input(const Module& layer, const Tensor& x, std::int64_t channels, Ranks ranks);

/// weight (ones) and bias (zeros) of shape [channels], as far as asked for.
void make_channel_parameters(std::int64_t channels, bool with_weight, bool with_bias, Parameter& weight,
                             Parameter& bias);

/// Counts one more batch; the share of its statistics in the running ones: the momentum, or 1 / batches for a
/// cumulative average.
double count_batch(std::optional<double> momentum, Buffer& batches);
/// running = (1 - share) * running + share * value, in f64, outside every graph.
void move_towards(Buffer& running, const Tensor& value, double share);

/// "4, eps=1e-05, momentum=0.1", as PyTorch prints them; "none" for a cumulative average.
std::string describe_channels(std::int64_t channels, double eps, std::optional<double> momentum);

}  // namespace norma::nn::detail
