#include "nn/norm/channels.h"

#include <cmath>

#include "autograd/ops.h"
#include "autograd/recompute.h"

namespace norma::nn::detail {

void check_channel_options(const std::string& name, const char* what, std::int64_t channels, double eps) {
  NORMA_CHECK(channels > 0, name, ": ", what, " must be > 0, got ", channels);
  NORMA_CHECK(std::isfinite(eps) && eps >= 0, name, ": eps must be finite and >= 0, got ", eps);
}

void check_momentum(const std::string& name, std::optional<double> momentum) {
  NORMA_CHECK(!momentum || (*momentum >= 0 && *momentum <= 1), name,
              ": momentum, the share of the new value, must be in [0, 1] or absent, got ",
              momentum.value_or(0));
}

void check_channel_input(const Module& layer, const Tensor& x, std::int64_t channels, Ranks ranks) {
  NORMA_CHECK(x.defined(), layer.type_name(), ": x is an undefined tensor");
  const bool rank_fits = x.dim() >= ranks.low && (ranks.high == 0 || x.dim() <= ranks.high);
  if (!rank_fits) {
    const std::string limit = ranks.high == 0 ? norma::detail::concat("at least ", ranks.low)
                              : ranks.low == ranks.high
                                  ? norma::detail::concat(ranks.low)
                                  : norma::detail::concat(ranks.low, " or ", ranks.high);
    norma::detail::fail(layer.type_name(), ": x must have ", limit, " axes [n, ", channels,
                        ", spatial..], got shape ", x.shape());
  }
  NORMA_CHECK(x.size(1) == channels, layer.type_name(), ": axis 1 of x must have extent ", channels,
              " (channels), got shape ", x.shape());
}

void make_channel_parameters(std::int64_t channels, bool with_weight, bool with_bias, Parameter& weight,
                             Parameter& bias) {
  if (with_weight) weight = Parameter(ones({channels}));
  if (with_bias) bias = Parameter(zeros({channels}));
}

double count_batch(std::optional<double> momentum, Buffer& batches) {
  const NoGrad no_grad;
  if (!Recomputation::active()) batches.add_(1);
  return momentum ? *momentum : 1 / batches.item();
}

void move_towards(Buffer& running, const Tensor& value, double share) {
  if (Recomputation::active()) return;
  const NoGrad no_grad;
  running = running.to(f64) * (1 - share) + value.to(f64) * share;
}

std::string describe_channels(std::int64_t channels, double eps, std::optional<double> momentum) {
  return norma::detail::concat(channels, ", eps=", eps, ", momentum=",
                               momentum ? norma::detail::concat(*momentum) : std::string("none"));
}

}  // namespace norma::nn::detail
