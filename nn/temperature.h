// A learned temperature of attention scores (Henry et al. 2020, arXiv:2010.04245).
#pragma once

#include "nn/module.h"

namespace norma::nn {

struct TemperatureOptions {
  /// divide: scores / tau, the note's form; multiply: scores * g, the paper's.
  enum class Form : std::uint8_t { divide, multiply };
  Form form = Form::divide;
  double initial = 1;      // of tau or g; finite and > 0
  std::int64_t heads = 1;  // one number for each head, or one for all
  double smallest = 1e-3;  // tau or g below this counts as this, so that scores stay finite; > 0
  bool logarithm =
      false;  // the weight is log tau or log g: positive without a bound (`smallest` is not used)

  /// The paper's: g = log2(L^2 - L), L the length that 97.5% of the training sequences do not exceed; L >= 2.
  static TemperatureOptions log2_of_length(std::int64_t length);
};

/// q [.., heads, length, d] -> q / tau or q * g: scaling the queries scales the scores. weight [heads, 1, 1],
/// or [1] for one number; below `smallest` it gets no gradient. Throws for options outside their ranges.
class Temperature : public Module {
 public:
  explicit Temperature(const TemperatureOptions& options = {});
  Tensor operator()(const Tensor& q) const;
  /// What q is multiplied by, 1 / tau or g; of weight's shape.
  Tensor factor() const;
  std::string describe() const override;

  Parameter weight;
  NORMA_PARTS(weight)

 private:
  TemperatureOptions options_;
};

}  // namespace norma::nn
