// ReZero (Bachlechner et al. 2020, arXiv:2003.04887).
#pragma once

#include "autograd/ops.h"
#include "nn/module.h"

namespace norma::nn {

/// y = a x with one learned number a, the weight [1], which starts at 0. On the output of a residual branch,
/// x + ReZero(F(x)), it makes a deep network the identity at the start.
class ReZero : public Module {
 public:
  ReZero() : weight(zeros({1})) {}
  Tensor operator()(const Tensor& x) const { return x * weight; }

  Parameter weight;
  NORMA_PARTS(weight)
};

}  // namespace norma::nn
