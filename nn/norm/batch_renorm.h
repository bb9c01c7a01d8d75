// Batch renormalization (Ioffe 2017, arXiv:1702.03275).
#pragma once

#include <functional>

#include "nn/norm/channels.h"

namespace norma::nn {

/// How far the batch statistics may be pulled towards the running ones: r in [1 / r_max, r_max], d in
/// [-d_max, d_max]. {1, 0} is batch normalization.
struct RenormLimits {
  double r_max = 1, d_max = 0;  // r_max >= 1, d_max >= 0; both may be infinite
};

/// The limits after so many training batches.
using RenormSchedule = std::function<RenormLimits(std::int64_t batches_seen)>;

/// The published schedule (section 4): batch normalization at first, then straight lines to r_max = 3 and
/// d_max = 5. For shorter runs scale the three numbers of batches.
struct RenormRamp {
  std::int64_t start = 5000;  // batches before the limits begin to open
  std::int64_t r_end = 40000, d_end = 25000;
  double r_max = 3, d_max = 5;
  RenormLimits operator()(std::int64_t batches_seen) const;
};

struct BatchRenormOptions {
  std::int64_t num_features = 0;          // channels
  double eps = 1e-5;                      // added to the batch's variance, inside the root; >= 0
  std::optional<double> momentum = 0.01;  // share of the new value; absent: the average of all batches
  bool affine = true;
  bool weight = true, bias = true;  // only with affine
  RenormSchedule limits = RenormRamp{};
};

/// Algorithm 1. For each channel, with the batch's mean and deviation = sqrt(eps + biased variance):
///   training: y = ((x - mean) / deviation * r + d) * weight + bias
///             r = deviation / running_std within [1 / r_max, r_max],
///             d = (mean - running_mean) / running_std within [-d_max, d_max], both constants for gradients;
///             then the running statistics move towards the batch's
///   eval:     y = (x - running_mean) / running_std * weight + bias
/// Shapes, mask, modes and errors are BatchNorm's. running_std is a deviation, not a variance; it starts
/// at 1. A running_std below sqrt(eps), smaller than any batch's deviation, counts as sqrt(eps).
class BatchRenorm : public Module {
 public:
  explicit BatchRenorm(std::int64_t num_features)
      : BatchRenorm(BatchRenormOptions{.num_features = num_features}) {}
  explicit BatchRenorm(const BatchRenormOptions& options) : BatchRenorm(options, "BatchRenorm", {}) {}
  Tensor operator()(const Tensor& x, const Tensor& mask = {});
  /// The limits that the next training batch is held to.
  RenormLimits limits() const;
  std::string describe() const override;

  Parameter weight, bias;
  Buffer running_mean, running_std, num_batches_tracked;
  NORMA_PARTS(weight, bias, running_mean, running_std, num_batches_tracked)

 protected:
  BatchRenorm(const BatchRenormOptions& options, const char* name, detail::Ranks ranks);

 private:
  Tensor running_deviation() const;

  BatchRenormOptions options_;
  detail::Ranks ranks_;
};

/// x [n, features] or [n, features, length]; mask [n] or [n, length].
class BatchRenorm1d : public BatchRenorm {
 public:
  explicit BatchRenorm1d(std::int64_t num_features)
      : BatchRenorm1d(BatchRenormOptions{.num_features = num_features}) {}
  explicit BatchRenorm1d(const BatchRenormOptions& options) : BatchRenorm(options, "BatchRenorm1d", {2, 3}) {}
};

/// x [n, features, height, width]
class BatchRenorm2d : public BatchRenorm {
 public:
  explicit BatchRenorm2d(std::int64_t num_features)
      : BatchRenorm2d(BatchRenormOptions{.num_features = num_features}) {}
  explicit BatchRenorm2d(const BatchRenormOptions& options) : BatchRenorm(options, "BatchRenorm2d", {4, 4}) {}
};

}  // namespace norma::nn
