// Residual schemes: how a sublayer F and its norm N enter the stream x. One equation each; F and N are
// anything that maps a tensor to a tensor.
#pragma once

#include "autograd/ops.h"

namespace norma::nn::residual {

/// x + F(x)   (He et al. 2015, arXiv:1512.03385)
template <class F>
Tensor plain(const Tensor& x, F&& f) {
  return x + f(x);
}

/// x + F(N(x))   (Pre-Norm: Xiong et al. 2020, arXiv:2002.04745)
template <class N, class F>
Tensor pre(const Tensor& x, N&& norm, F&& f) {
  return x + f(norm(x));
}

}  // namespace norma::nn::residual
