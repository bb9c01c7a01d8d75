#include "nn/dropout.h"

#include "autograd/ops.h"

namespace norma::nn {

Dropout::Dropout(double p) : p_(p) { NORMA_CHECK(p >= 0 && p < 1, "Dropout: p must be in [0, 1), got ", p); }

Tensor Dropout::operator()(const Tensor& x) const { return dropout(x, p_, is_training()); }

std::string Dropout::describe() const { return norma::detail::concat("p=", p_); }

}  // namespace norma::nn
