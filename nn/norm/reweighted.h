// A layer whose weight is computed for every call: what WeightNorm and SpectralNorm are made of.
#pragma once

#include "nn/any_layer.h"

namespace norma::nn::detail {

/// Holds any layer with a floating parameter named "weight" of rank 1 or more, and gives it another weight
/// for the time of a call. Calls change the layer, so one such object serves one thread at a time.
class Reweighted {
 public:
  /// Throws, naming `user`, unless there is such a parameter.
  Reweighted(const char* user, AnyLayer layer);
  /// The layer's own parameter of this name, directly in the layer; nullptr when it has none.
  Parameter* find(std::string_view name);
  /// layer(x) with this weight, and this bias when one is given, in the mode given.
  Tensor call(const Tensor& x, bool training, const Tensor& weight, const Tensor& bias = {});
  /// The layer's parts but its weight.
  void visit_others(PartVisitor& visitor);
  /// A copy of the layer with these values as its weight.
  AnyLayer with_weight(const Tensor& weight) const;
  /// "Linear(in_features=3, ..)"
  std::string describe() const;

 private:
  AnyLayer layer_;
};

}  // namespace norma::nn::detail
