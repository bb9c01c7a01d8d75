#include "autograd/normalization.h"
#include "tests/autograd/op_table.h"

namespace norma::tests {
namespace {

/// A symmetric positive definite matrix for each matrix x [.., d, m].
Tensor covariance(const Tensor& x) {
  return matmul(x, x.transpose(-2, -1)) / static_cast<double>(x.size(-1)) +
         eye(x.size(-2), x.dtype(), x.device()) * 0.5;
}

}  // namespace

std::vector<OpRow> weight_rows() {
  return {
      {"weight_norm",
       {normal({rows, columns}), normal({rows, 1})},
       [](Inputs in) { return weight_norm(in[0], in[1]); }},
      {"weight_norm of the middle axis",
       {normal({2, columns, 3}), normal({1, columns, 1})},
       [](Inputs in) { return weight_norm(in[0], in[1], 1); }},
      {"weight_norm of a vector",
       {apart({columns}), normal({columns})},
       [](Inputs in) { return weight_norm(in[0], in[1]); }},
      {"weight_norm, one norm",
       {normal({3, 4}), normal({})},
       [](Inputs in) { return weight_norm(in[0], in[1], -1); }},
      {"inverse_square_root",
       {normal({2, 3, columns})},
       [](Inputs in) { return inverse_square_root(covariance(in[0]), 6); }},
      {"inverse_square_root, any matrix",
       {positive({2, 2})},
       [](Inputs in) { return inverse_square_root(in[0] + eye(2, in[0].dtype(), in[0].device()) * 4, 3); }},
  };
}

}  // namespace norma::tests
