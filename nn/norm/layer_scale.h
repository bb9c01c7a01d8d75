// LayerScale (Touvron et al. 2021, "Going deeper with Image Transformers", arXiv:2103.17239).
#pragma once

#include "nn/module.h"

namespace norma::nn {

/// y = weight * x with a small weight [width] that starts at `init`, for the output of a residual branch:
/// x + LayerScale(F(N(x))). x [.., width]. Throws for width <= 0, an init that is not finite, and an x whose
/// last axis is not `width`.
class LayerScale : public Module {
 public:
  explicit LayerScale(std::int64_t width, double init = 0.1);
  Tensor operator()(const Tensor& x) const;
  std::string describe() const override;

  Parameter weight;
  NORMA_PARTS(weight)
};

/// The paper's start for a network of this many layers: 0.1 up to 18, 1e-5 up to 24, then 1e-6.
double layer_scale_init(std::int64_t layers);

}  // namespace norma::nn
