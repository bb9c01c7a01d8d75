#include "nn/norm/weight_norm.h"

#include <limits>

#include "autograd/normalization.h"
#include "nn/init.h"

namespace norma::nn {
namespace {

/// Lengths of v in the shape that weight_norm takes.
Tensor lengths(const Tensor& v, int dim) {
  if (dim == -1) return v.norm();
  std::vector<int> others;
  for (int axis = 0; axis < v.dim(); ++axis) {
    if (axis != dim) others.push_back(axis);
  }
  return others.empty() ? v.abs() : v.norm(others, keepdim);
}

/// What normalizes the units of y, in f64: [units].
struct UnitStatistics {
  Tensor mean, scale;  // scale: 1 / deviation, or 1 where a unit is constant

  UnitStatistics(const Tensor& y, int axis) {
    const Tensor values = y.to(f64);
    std::vector<int> others;
    for (int other = 0; other < y.dim(); ++other) {
      if (other != axis) others.push_back(other);
    }
    mean = others.empty() ? values : values.mean(others);
    const Tensor deviation = others.empty() ? zeros_like(values) : values.std(others, false);
    // Below this a deviation is the rounding of equal values.
    const double rounding = y.dtype() == f64 ? 64 * std::numeric_limits<double>::epsilon()
                                             : 64.0 * std::numeric_limits<float>::epsilon();
    const Tensor inverse = deviation.reciprocal();
    const Tensor usable = logical_and(deviation > mean.abs() * rounding, inverse.to(y.dtype()).isfinite());
    scale = where(usable, inverse, ones_like(inverse));
  }
};

}  // namespace

WeightNorm::WeightNorm(detail::Reweighted layer, const WeightNormOptions& options)
    : layer_(std::move(layer)), dim_(options.dim) {
  const Parameter& own = *layer_.find("weight");
  NORMA_CHECK(dim_ >= -1 && dim_ < own.dim(), "WeightNorm: dim must lie in [0, ", own.dim() - 1,
              "] for a weight of shape ", own.shape(), ", or be -1 for one length in all, got ", dim_);
  const NoGrad no_grad;
  weight_g = Parameter(lengths(own, dim_));
  weight_g.set_requires_grad(own.requires_grad());
  static_cast<Tensor&>(weight_v) = own;  // the layer's parameter itself: one piece of memory
}

Tensor WeightNorm::weight() const { return weight_norm(weight_v, weight_g, dim_); }

Tensor WeightNorm::initialize(const Tensor& x, const WeightNormInit& options) {
  NORMA_CHECK(dim_ == 0, "WeightNorm: initialize needs one length for each output unit (dim = 0), dim is ",
              dim_);
  NORMA_CHECK(options.std >= 0, "WeightNorm: std must be >= 0, got ", options.std);
  const NoGrad no_grad;
  Tensor v = weight_v.clone();
  if (options.std > 0) init::normal_(v, 0, options.std, options.generator);
  const Parameter* const bias = layer_.find("bias");
  const Tensor y = layer_.call(x, is_training(), weight_norm(v, ones_like(weight_g), 0),
                               bias != nullptr ? zeros_like(*bias) : Tensor());
  const int axis = weight_v.dim() > 2 ? 1 : y.dim() - 1;
  NORMA_CHECK(axis >= 0 && axis < y.dim() && y.size(axis) == v.size(0), "WeightNorm: axis ", axis,
              " of the output must hold the ", v.size(0), " units of the weight, got shape ", y.shape());
  NORMA_CHECK(y.numel() > 0, "WeightNorm: initialize needs a batch that is not empty, got x ", x.shape());
  NORMA_CHECK(y.isfinite().all().item() == 1, "WeightNorm: initialize got an x ", x.shape(),
              " that gives outputs which are not finite");
  const UnitStatistics units(y, axis);
  NORMA_CHECK(bias == nullptr || bias->shape() == units.mean.shape(), "WeightNorm: initialize needs a bias ",
              units.mean.shape(), ", got ", bias == nullptr ? Shape() : bias->shape());
  weight_v = v;
  weight_g = units.scale.reshape({weight_g.shape().begin(), weight_g.shape().end()}).to(v.dtype());
  if (bias != nullptr) *layer_.find("bias") = (-units.mean * units.scale).to(v.dtype());
  return (*this)(x);
}

AnyLayer WeightNorm::folded() const {
  const NoGrad no_grad;
  AnyLayer plain = layer_.with_weight(weight());
  plain.train(is_training());
  return plain;
}

std::string WeightNorm::describe() const { return norma::detail::concat(layer_.describe(), ", dim=", dim_); }

void WeightNorm::visit_parts(PartVisitor& visitor) {
  detail::visit_all(visitor, "weight_g, weight_v", weight_g, weight_v);
  layer_.visit_others(visitor);
}

}  // namespace norma::nn
