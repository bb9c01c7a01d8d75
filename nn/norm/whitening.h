// Decorrelated batch normalization: whitening over the batch (Huang et al. 2018, arXiv:1804.08450), by
// Newton-Schulz iteration (Huang et al. 2019, arXiv:1904.03441).
#pragma once

#include <optional>

#include "nn/module.h"

namespace norma::nn {

struct DecorrelatedBatchNormOptions {
  std::int64_t num_features = 0;
  std::int64_t group_size =
      16;             // channels whitened together; divides num_features, or exceeds it: all together
  double eps = 1e-5;  // added to the diagonal of the covariance; > 0
  std::optional<double> momentum = 0.1;  // new = (1 - momentum) old + momentum batch; none: plain average
  int iterations =
      5;  // Newton-Schulz steps: 5, the paper's, leave small eigenvalues below 1; 15 whiten fully
  bool affine = true;
  bool track_running_stats = true;
};

/// y = S^(-1/2) (x - mean) * weight + bias, S = 1/m sum (x - mean)(x - mean)^T + eps I the covariance of a
/// group of channels over the batch and all positions: ZCA whitening, which stays as close to x as a
/// whitening can. x [n, num_features] or [n, num_features, ..]; weight (starts at 1) and bias (0)
/// [num_features]. eval uses the running averages of mean [num_features] and of S^(-1/2) [groups, size,
/// size]. Training throws for one value per channel; an empty batch passes and changes no state.
class DecorrelatedBatchNorm : public Module {
 public:
  explicit DecorrelatedBatchNorm(std::int64_t num_features)
      : DecorrelatedBatchNorm(DecorrelatedBatchNormOptions{.num_features = num_features}) {}
  explicit DecorrelatedBatchNorm(const DecorrelatedBatchNormOptions& options);
  Tensor operator()(const Tensor& x);
  std::string describe() const override;

  Parameter weight, bias;
  Buffer running_mean, running_whitening, num_batches_tracked;
  NORMA_PARTS(weight, bias, running_mean, running_whitening, num_batches_tracked)

 private:
  Tensor whiten_by_batch(const Tensor& grouped);
  Tensor whiten_by_running(const Tensor& grouped) const;

  DecorrelatedBatchNormOptions options_;
};

}  // namespace norma::nn
