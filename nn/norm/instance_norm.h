// Instance normalization (Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022).
#pragma once

#include "nn/norm/channels.h"

namespace norma::nn {

/// As in PyTorch, without parameters and running statistics by default.
struct InstanceNormOptions {
  std::int64_t num_features = 0;         // channels
  double eps = 1e-5;                     // added to the variance, inside the root; >= 0
  std::optional<double> momentum = 0.1;  // as in BatchNorm, with track_running_stats
  bool affine = false;
  bool weight = true, bias = true;  // only with affine
  bool track_running_stats = false;
};

/// y = (x - mean) / sqrt(var + eps) * weight + bias, the statistics of each channel of each sample over its
/// spatial axes (biased variance). x [n, num_features, spatial..]; weight (starts at 1) and bias (0)
/// [num_features]. Training = eval unless running statistics are tracked: these move towards the averages
/// over n of the means and unbiased variances, and eval mode uses them, as constants. Throws for one spatial
/// element (unless by running statistics), and for an x of other channels or rank.
class InstanceNorm : public Module {
 public:
  explicit InstanceNorm(std::int64_t num_features)
      : InstanceNorm(InstanceNormOptions{.num_features = num_features}) {}
  explicit InstanceNorm(const InstanceNormOptions& options) : InstanceNorm(options, "InstanceNorm", {3, 0}) {}
  Tensor operator()(const Tensor& x);
  std::string describe() const override;

  Parameter weight, bias;
  Buffer running_mean, running_var, num_batches_tracked;
  NORMA_PARTS(weight, bias, running_mean, running_var, num_batches_tracked)

 protected:
  InstanceNorm(const InstanceNormOptions& options, const char* name, detail::Ranks ranks);

 private:
  void track(const Tensor& x);

  InstanceNormOptions options_;
  detail::Ranks ranks_;
};

/// x [n, features, length]
class InstanceNorm1d : public InstanceNorm {
 public:
  explicit InstanceNorm1d(std::int64_t num_features)
      : InstanceNorm1d(InstanceNormOptions{.num_features = num_features}) {}
  explicit InstanceNorm1d(const InstanceNormOptions& options)
      : InstanceNorm(options, "InstanceNorm1d", {3, 3}) {}
};

/// x [n, features, height, width]
class InstanceNorm2d : public InstanceNorm {
 public:
  explicit InstanceNorm2d(std::int64_t num_features)
      : InstanceNorm2d(InstanceNormOptions{.num_features = num_features}) {}
  explicit InstanceNorm2d(const InstanceNormOptions& options)
      : InstanceNorm(options, "InstanceNorm2d", {4, 4}) {}
};

/// x [n, features, depth, height, width]
class InstanceNorm3d : public InstanceNorm {
 public:
  explicit InstanceNorm3d(std::int64_t num_features)
      : InstanceNorm3d(InstanceNormOptions{.num_features = num_features}) {}
  explicit InstanceNorm3d(const InstanceNormOptions& options)
      : InstanceNorm(options, "InstanceNorm3d", {5, 5}) {}
};

}  // namespace norma::nn
