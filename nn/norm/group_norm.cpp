#include "nn/norm/group_norm.h"

#include "autograd/normalization.h"

namespace norma::nn {

GroupNorm::GroupNorm(const GroupNormOptions& options) : options_(options) {
  detail::check_channel_options("GroupNorm", "num_channels", options.num_channels, options.eps);
  NORMA_CHECK(options.num_groups > 0, "GroupNorm: num_groups must be > 0, got ", options.num_groups);
  NORMA_CHECK(options.num_channels % options.num_groups == 0, "GroupNorm: num_channels (",
              options.num_channels, ") is not divisible by num_groups (", options.num_groups, ")");
  detail::make_channel_parameters(options.num_channels, options.affine && options.weight,
                                  options.affine && options.bias, weight, bias);
}

Tensor GroupNorm::operator()(const Tensor& x) const {
  detail::check_channel_input(*this, x, options_.num_channels, {});
  return group_norm(x, options_.num_groups, weight, bias, options_.eps);
}

std::string GroupNorm::describe() const {
  return norma::detail::concat(options_.num_groups, ", ", options_.num_channels, ", eps=", options_.eps,
                               ", affine=", options_.affine);
}

}  // namespace norma::nn
