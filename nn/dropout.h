// Dropout (Srivastava et al. 2014).
#pragma once

#include "nn/module.h"

namespace norma::nn {

/// While training: each element is 0 with probability p in [0, 1), else scaled by 1 / (1 - p); in eval mode x
/// itself. Throws for p outside its range.
class Dropout : public Module {
 public:
  explicit Dropout(double p = 0.5);
  Tensor operator()(const Tensor& x) const;
  double p() const { return p_; }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  double p_;
};

}  // namespace norma::nn
