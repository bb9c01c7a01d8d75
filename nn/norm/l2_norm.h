// Rows of length one.
#pragma once

#include "autograd/normalization.h"
#include "nn/module.h"

namespace norma::nn {

/// y = x / max(|x|, eps) over the last axis, without parameters (PyTorch's F.normalize, with its eps). x of
/// any shape with at least one axis. Training = eval. A row of zeros stays zero, with the gradient dy / eps.
/// Throws for an eps that is negative or not finite. Note that without the factor sqrt(d) it is no substitute
/// for RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467, table 2).
class L2Norm : public Module {
 public:
  explicit L2Norm(double eps = 1e-12);
  Tensor operator()(const Tensor& x) const { return l2_norm(x, {}, eps_); }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  double eps_;
};

}  // namespace norma::nn
