// QKNorm: queries and keys of length one and a learned scale (Henry et al. 2020, "Query-Key Normalization for
// Transformers", arXiv:2010.04245).
#pragma once

#include <optional>
#include <utility>

#include "nn/module.h"

namespace norma::nn {

/// divide: scores = q.k / temperature, which starts at 1. multiply: scores = g q.k, the paper's form, in
/// which g starts at log2(length^2 - length).
enum class QKScale : std::uint8_t { divide, multiply };

struct QKNormOptions {
  QKScale form = QKScale::divide;
  std::int64_t length = 0;           // of typical sequences, >= 2; multiply without `start` needs it
  std::optional<double> start = {};  // where temperature or g starts instead; > 0
  std::int64_t heads = 0;            // 0: one number that all heads share; else one for each of these heads
  bool logarithm = false;            // the parameter is the logarithm of temperature or g
  double eps = 1e-12;                // floor of the length of a row, >= 0
};

/// {scale * q / |q|, k / |k|} over the last axis, so that plain products of the two are the scores (attention
/// with scale 1). q [.., heads, length, d_head]; k [.., kv_heads, length, d_head]. Training = eval.
///
/// The parameter `temperature` (divide) or `scale` (multiply) is [1], or [heads]. A temperature below 1e-3
/// acts as 1e-3 and gets no gradient, so scores stay within +-1000; with `logarithm` it is positive without a
/// bound. At temperature 1 scores lie in [-1, 1] and attention stays near uniform: 0.055 is the largest
/// possible weight over 128 keys. A row of zeros stays zero, with a finite gradient. Throws for options
/// outside their ranges and for a q whose heads are not `heads`.
class QKNorm : public Module {
 public:
  explicit QKNorm(const QKNormOptions& options = {});
  std::pair<Tensor, Tensor> operator()(const Tensor& q, const Tensor& k) const;
  /// What products of unit rows are multiplied by: g, or 1 / temperature; [1] or [heads].
  Tensor factor() const;
  std::string describe() const override;

  Parameter temperature, scale;  // one of the two is absent
  NORMA_PARTS(temperature, scale)

 private:
  QKNormOptions options_;
};

}  // namespace norma::nn
