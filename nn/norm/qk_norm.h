// QKNorm: queries and keys of length one and a learned temperature (Henry et al. 2020, "Query-Key
// Normalization for Transformers", arXiv:2010.04245).
#pragma once

#include <utility>

#include "nn/temperature.h"

namespace norma::nn {

struct QKNormOptions {
  // Dividing, from 1, one number for all heads; the paper's: TemperatureOptions::log2_of_length(length).
  TemperatureOptions temperature = {};
  double eps = 1e-12;  // floor of the length of a row, >= 0
};

/// {q / |q| / tau, k / |k|} over the last axis, so that plain products of the two are the scores: attention
/// with scale 1. q [.., heads, length, d_head], k [.., kv_heads, length, d_head]. Training = eval.
///
/// At temperature 1 scores lie in [-1, 1] and attention stays near uniform: 0.055 is the largest possible
/// weight over 128 keys. A row of zeros stays zero, with a finite gradient. Throws for options outside their
/// ranges and for a q whose heads are not the temperature's.
class QKNorm : public Module {
 public:
  explicit QKNorm(const QKNormOptions& options = {});
  std::pair<Tensor, Tensor> operator()(const Tensor& q, const Tensor& k) const;
  std::string describe() const override;

  Temperature temperature;
  NORMA_PARTS(temperature)

 private:
  double eps_;
};

}  // namespace norma::nn
