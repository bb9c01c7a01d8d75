#include "nn/norm/layer_scale.h"

#include <cmath>

#include "autograd/ops.h"
#include "nn/norm/trailing.h"

namespace norma::nn {

LayerScale::LayerScale(std::int64_t width, double init) {
  NORMA_CHECK(width > 0, "LayerScale: width must be > 0, got ", width);
  NORMA_CHECK(std::isfinite(init), "LayerScale: init must be finite, got ", init);
  weight = Parameter(full({width}, init));
}

Tensor LayerScale::operator()(const Tensor& x) const {
  detail::check_trailing("LayerScale", x, weight.shape());
  return x * weight;
}

std::string LayerScale::describe() const { return norma::detail::concat(weight.numel()); }

double layer_scale_init(std::int64_t layers) {
  if (layers <= 18) return 0.1;
  return layers <= 24 ? 1e-5 : 1e-6;
}

}  // namespace norma::nn
