#include "nn/norm/l2_norm.h"

#include "nn/norm/trailing.h"

namespace norma::nn {

L2Norm::L2Norm(double eps) : eps_(eps) { detail::check_eps("L2Norm", eps); }

std::string L2Norm::describe() const { return norma::detail::concat("eps=", eps_); }

}  // namespace norma::nn
