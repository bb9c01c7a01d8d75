#include "nn/temperature.h"

#include <cmath>
#include <limits>

#include "autograd/node.h"
#include "autograd/ops.h"

namespace norma::nn {

TemperatureOptions TemperatureOptions::log2_of_length(std::int64_t length) {
  NORMA_CHECK(length >= 2, "Temperature: log2_of_length needs a length >= 2, got ", length);
  const auto l = static_cast<double>(length);
  return {.form = Form::multiply, .initial = std::log2(l * l - l)};
}

Temperature::Temperature(const TemperatureOptions& options) : options_(options) {
  const auto positive = [](double value) { return std::isfinite(value) && value > 0; };
  NORMA_CHECK(positive(options.initial), "Temperature: initial must be finite and > 0, got ",
              options.initial);
  NORMA_CHECK(positive(options.smallest), "Temperature: smallest must be finite and > 0, got ",
              options.smallest);
  NORMA_CHECK(options.heads >= 1, "Temperature: heads must be >= 1, got ", options.heads);
  const Shape shape = options.heads == 1 ? Shape{1} : Shape{options.heads, 1, 1};
  weight = Parameter(full(shape, options.logarithm ? std::log(options.initial) : options.initial));
}

Tensor Temperature::factor() const {
  const bool divide = options_.form == TemperatureOptions::Form::divide;
  if (options_.logarithm) return divide ? (-weight).exp() : weight.exp();
  const Tensor value = weight.clamp(options_.smallest, std::numeric_limits<double>::infinity());
  return divide ? 1 / value : value;
}

Tensor Temperature::operator()(const Tensor& q) const {
  check_defined("Temperature", "q", q);
  NORMA_CHECK(options_.heads == 1 || (q.dim() >= 3 && q.size(-3) == options_.heads),
              "Temperature: q must be [.., ", options_.heads, ", length, d], got ", q.shape());
  return q * factor();
}

std::string Temperature::describe() const {
  return norma::detail::concat(options_.form == TemperatureOptions::Form::divide ? "divide" : "multiply",
                               ", heads=", options_.heads, ", initial=", options_.initial,
                               options_.logarithm ? ", logarithm" : "");
}

}  // namespace norma::nn
