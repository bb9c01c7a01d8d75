// Group normalization (Wu & He 2018, arXiv:1803.08494).
#pragma once

#include "nn/norm/channels.h"

namespace norma::nn {

struct GroupNormOptions {
  std::int64_t num_groups = 32;  // the paper's choice; must divide num_channels
  std::int64_t num_channels = 0;
  double eps = 1e-5;  // added to the variance, inside the root; >= 0
  bool affine = true;
  bool weight = true, bias = true;  // only with affine
};

/// y = (x - mean) / sqrt(var + eps) * weight + bias, the statistics of each group of num_channels /
/// num_groups neighbouring channels of each sample, over them and the spatial axes (biased variance). x [n,
/// num_channels, spatial..], no spatial axes included; weight (starts at 1) and bias (0) [num_channels].
/// Training = eval, and samples do not see each other. Throws for num_groups that does not divide
/// num_channels, and for an x of other channels.
class GroupNorm : public Module {
 public:
  GroupNorm(std::int64_t num_groups, std::int64_t num_channels)
      : GroupNorm(GroupNormOptions{.num_groups = num_groups, .num_channels = num_channels}) {}
  explicit GroupNorm(const GroupNormOptions& options);
  Tensor operator()(const Tensor& x) const;
  std::string describe() const override;

  Parameter weight, bias;
  NORMA_PARTS(weight, bias)

 private:
  GroupNormOptions options_;
};

}  // namespace norma::nn
