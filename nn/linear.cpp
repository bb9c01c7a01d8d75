#include "nn/linear.h"

#include <cmath>

#include "autograd/ops.h"
#include "nn/init.h"

namespace norma::nn {

Linear::Linear(std::int64_t in_features, std::int64_t out_features, bool with_bias) {
  NORMA_CHECK(in_features > 0 && out_features > 0, "Linear: needs in_features > 0 and out_features > 0, got ",
              in_features, " and ", out_features);
  const double bound = 1 / std::sqrt(static_cast<double>(in_features));
  weight = Parameter(init::uniform_(empty({out_features, in_features}), -bound, bound));
  if (with_bias) bias = Parameter(init::uniform_(empty({out_features}), -bound, bound));
}

Tensor Linear::operator()(const Tensor& x) const {
  NORMA_CHECK(x.defined(), "Linear: x is an undefined tensor");
  NORMA_CHECK(x.dim() > 0 && x.size(-1) == in_features(), "Linear: the last axis of x must have extent ",
              in_features(), " (in_features), got shape ", x.shape());
  return linear(x, weight, bias);
}

std::string Linear::describe() const {
  return norma::detail::concat("in_features=", in_features(), ", out_features=", out_features(),
                               ", bias=", bias.defined());
}

}  // namespace norma::nn
