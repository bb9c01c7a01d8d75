// y = x weight^T + bias.
#pragma once

#include "nn/module.h"

namespace norma::nn {

/// x [.., in_features] -> [.., out_features]. weight [out_features, in_features] and bias [out_features]
/// start uniform in +-1 / sqrt(in_features), as in PyTorch. Throws for extents below 1.
class Linear : public Module {
 public:
  Linear(std::int64_t in_features, std::int64_t out_features, bool bias = true);
  Tensor operator()(const Tensor& x) const;
  std::int64_t in_features() const { return weight.size(1); }
  std::int64_t out_features() const { return weight.size(0); }
  std::string describe() const override;

  Parameter weight, bias;
  NORMA_PARTS(weight, bias)
};

}  // namespace norma::nn
