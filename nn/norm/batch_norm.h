// Batch normalization (Ioffe & Szegedy 2015, arXiv:1502.03167).
#pragma once

#include "nn/norm/channels.h"

namespace norma::nn {

struct BatchNormOptions {
  std::int64_t num_features = 0;  // channels
  double eps = 1e-5;              // added to the variance, inside the root; >= 0
  /// Share of the new value in the running statistics: running = (1 - momentum) * running + momentum * batch.
  /// Absent: the average of all batches.
  std::optional<double> momentum = 0.1;
  bool affine = true;
  bool weight = true, bias = true;  // only with affine
  bool track_running_stats = true;  // false: no buffers, batch statistics in eval mode too
};

/// y = (x - mean) / sqrt(var + eps) * weight + bias for each channel, over n and the spatial axes. x [n,
/// num_features, spatial..]; weight (starts at 1) and bias (0) [num_features].
///
/// Training: the statistics of the batch (biased variance), through which gradients flow; the running ones
/// move towards them (unbiased variance) once for each call, under NoGrad too, but not for an empty batch.
/// Eval: the running statistics, which are constants. They start at mean 0, variance 1.
///
/// A mask, boolean [n, spatial..], names the positions that count; elsewhere y is 0, whatever x holds.
///
/// An output depends on the whole batch, later positions of a sequence included: not for causal models.
/// Throws for one value per channel in training, and for an x of other channels or rank.
class BatchNorm : public Module {
 public:
  explicit BatchNorm(std::int64_t num_features) : BatchNorm(BatchNormOptions{.num_features = num_features}) {}
  explicit BatchNorm(const BatchNormOptions& options) : BatchNorm(options, "BatchNorm", {}) {}
  Tensor operator()(const Tensor& x, const Tensor& mask = {});
  std::string describe() const override;

  Parameter weight, bias;
  Buffer running_mean, running_var, num_batches_tracked;
  NORMA_PARTS(weight, bias, running_mean, running_var, num_batches_tracked)

 protected:
  BatchNorm(const BatchNormOptions& options, const char* name, detail::Ranks ranks);

 private:
  BatchNormOptions options_;
  detail::Ranks ranks_;
};

/// x [n, features] or [n, features, length]; mask [n] or [n, length].
class BatchNorm1d : public BatchNorm {
 public:
  explicit BatchNorm1d(std::int64_t num_features)
      : BatchNorm1d(BatchNormOptions{.num_features = num_features}) {}
  explicit BatchNorm1d(const BatchNormOptions& options) : BatchNorm(options, "BatchNorm1d", {2, 3}) {}
};

/// x [n, features, height, width]
class BatchNorm2d : public BatchNorm {
 public:
  explicit BatchNorm2d(std::int64_t num_features)
      : BatchNorm2d(BatchNormOptions{.num_features = num_features}) {}
  explicit BatchNorm2d(const BatchNormOptions& options) : BatchNorm(options, "BatchNorm2d", {4, 4}) {}
};

/// x [n, features, depth, height, width]
class BatchNorm3d : public BatchNorm {
 public:
  explicit BatchNorm3d(std::int64_t num_features)
      : BatchNorm3d(BatchNormOptions{.num_features = num_features}) {}
  explicit BatchNorm3d(const BatchNormOptions& options) : BatchNorm(options, "BatchNorm3d", {5, 5}) {}
};

}  // namespace norma::nn
