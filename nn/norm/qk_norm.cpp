#include "nn/norm/qk_norm.h"

#include <cmath>
#include <limits>

#include "autograd/normalization.h"
#include "nn/norm/trailing.h"

namespace norma::nn {
namespace {

constexpr double lowest_temperature = 1e-3;

double start_of(const QKNormOptions& o) {
  if (o.start) {
    NORMA_CHECK(std::isfinite(*o.start) && *o.start > 0, "QKNorm: start must be finite and > 0, got ",
                *o.start);
    return *o.start;
  }
  if (o.form == QKScale::divide) return 1;
  NORMA_CHECK(o.length >= 2, "QKNorm: multiply needs the length of typical sequences, >= 2, got ", o.length);
  const auto length = static_cast<double>(o.length);
  return std::log2(length * length - length);
}

}  // namespace

QKNorm::QKNorm(const QKNormOptions& options) : options_(options) {
  detail::check_eps("QKNorm", options.eps);
  NORMA_CHECK(options.heads >= 0, "QKNorm: heads must be >= 0, got ", options.heads);
  const double start = start_of(options);
  const std::int64_t count = options.heads == 0 ? 1 : options.heads;
  (options.form == QKScale::divide ? temperature : scale) =
      Parameter(full({count}, options.logarithm ? std::log(start) : start));
}

Tensor QKNorm::factor() const {
  if (options_.form == QKScale::multiply) return options_.logarithm ? scale.exp() : Tensor(scale);
  if (options_.logarithm) return (-temperature).exp();
  return 1.0 / temperature.clamp(lowest_temperature, std::numeric_limits<double>::infinity());
}

std::pair<Tensor, Tensor> QKNorm::operator()(const Tensor& q, const Tensor& k) const {
  const Tensor k_unit = l2_norm(k, {}, options_.eps);
  if (options_.heads == 0) return {l2_norm(q, factor(), options_.eps), k_unit};
  NORMA_CHECK(q.defined() && q.dim() >= 3 && q.size(-3) == options_.heads,
              "QKNorm: q must be [.., heads = ", options_.heads, ", length, d_head], got ",
              q.defined() ? q.shape() : Shape{});
  return {l2_norm(q, {}, options_.eps) * factor().reshape({options_.heads, 1, 1}), k_unit};
}

std::string QKNorm::describe() const {
  return norma::detail::concat(options_.form == QKScale::divide ? "divide" : "multiply",
                               options_.heads == 0 ? "" : ", per head",
                               options_.logarithm ? ", logarithm" : "", ", eps=", options_.eps);
}

}  // namespace norma::nn
