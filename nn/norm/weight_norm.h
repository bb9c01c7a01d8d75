// Weight normalization (Salimans & Kingma 2016, arXiv:1602.07868).
#pragma once

#include "nn/norm/reweighted.h"

namespace norma::nn {

struct WeightNormOptions {
  int dim = 0;  // the axis of the weight that keeps a length of its own for each entry; -1: one length in all
};

/// Data-dependent initialization.
struct WeightNormInit {
  double std = 0.05;               // weight_v is drawn from N(0, std^2); 0: it stays as it is
  Generator* generator = nullptr;  // the thread's default one
};

/// A layer whose weight is weight_g * weight_v / |weight_v| (eq. 2): WeightNorm(Linear(3, 4)), or any other
/// layer with a parameter named "weight". The function stays the same: weight_v starts as the weight,
/// weight_g as its lengths. Names are PyTorch's: weight_g, weight_v, and the layer's other parts (bias) under
/// their own. weight_g has the weight's rank, with extents of 1 but at dim; rank 0 for dim = -1. Training =
/// eval, as far as the layer itself has no modes. A weight_v (or row of it) of length 0 gives a weight of 0
/// and gets a gradient of 0. Calls put the weight into the layer, so that a WeightNorm serves one thread at a
/// time.
class WeightNorm : public Module {
 public:
  /// Throws for a layer without a weight and for a dim that the weight does not have.
  template <class Layer>
  requires(!std::same_as<Layer, WeightNorm> &&
           TensorLayer<Layer>) explicit WeightNorm(Layer layer, const WeightNormOptions& options = {})
      : WeightNorm(detail::Reweighted("WeightNorm", std::move(layer)), options) {}
  Tensor operator()(const Tensor& x) { return layer_.call(x, is_training(), weight()); }
  /// weight_g * weight_v / |weight_v|, with history.
  Tensor weight() const;
  /// Section 3 of the paper: draws weight_v and sets weight_g and bias so that on this batch each output unit
  /// has mean 0 (when there is a bias) and variance 1; returns that output, for the layer after this one. A
  /// unit that is constant on the batch keeps a weight_g of 1. Units are the first axis of the weight and, of
  /// the output, the last axis for weights of rank 1 and 2 and axis 1 for others. Needs dim = 0. On failure
  /// nothing has changed.
  Tensor initialize(const Tensor& x, const WeightNormInit& options = {});
  /// The layer without the parametrization: its weight holds the values of weight().
  AnyLayer folded() const;
  std::string describe() const override;

  Parameter weight_g, weight_v;

  void visit_parts(PartVisitor& visitor) override;
  std::size_t object_size() const override { return sizeof(*this); }

 private:
  WeightNorm(detail::Reweighted layer, const WeightNormOptions& options);

  detail::Reweighted layer_;
  int dim_;
};

}  // namespace norma::nn
