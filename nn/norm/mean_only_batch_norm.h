// Mean-only batch normalization (Salimans & Kingma 2016, arXiv:1602.07868, section 4).
#pragma once

#include <optional>

#include "nn/module.h"

namespace norma::nn {

struct MeanOnlyBatchNormOptions {
  std::int64_t num_features = 0;
  std::optional<double> momentum = 0.1;  // new = (1 - momentum) old + momentum batch; none: plain average
  bool bias = true;
};

/// y = x - mean + bias, the mean of each channel over the batch and all positions while training, the running
/// mean in eval. x [n, num_features] or [n, num_features, ..]; bias starts at 0. Goes with WeightNorm, which
/// keeps the scale. Training throws for one value per channel; an empty batch passes and changes no state.
class MeanOnlyBatchNorm : public Module {
 public:
  explicit MeanOnlyBatchNorm(std::int64_t num_features)
      : MeanOnlyBatchNorm(MeanOnlyBatchNormOptions{.num_features = num_features}) {}
  explicit MeanOnlyBatchNorm(const MeanOnlyBatchNormOptions& options);
  Tensor operator()(const Tensor& x);
  std::string describe() const override;

  Parameter bias;
  Buffer running_mean, num_batches_tracked;
  NORMA_PARTS(bias, running_mean, num_batches_tracked)

 private:
  MeanOnlyBatchNormOptions options_;
};

}  // namespace norma::nn
