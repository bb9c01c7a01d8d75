#include "nn/rotary.h"

#include <cmath>

#include "autograd/ops.h"

namespace norma::nn {

RotaryTable rotary_table(std::int64_t length, std::int64_t d, std::int64_t offset, double base, DType dtype,
                         Device device) {
  NORMA_CHECK(d > 0 && d % 2 == 0, "rotary_table: d must be even and > 0, got ", d);
  NORMA_CHECK(base > 0, "rotary_table: base must be > 0, got ", base);
  NORMA_CHECK(length >= 0 && offset >= 0, "rotary_table: length and offset must be >= 0, got ", length,
              " and ", offset);
  const auto first = static_cast<double>(offset);
  const Tensor positions = arange(first, first + static_cast<double>(length), 1, f64, device);
  const Tensor pairs = arange(0, static_cast<double>(d / 2), 1, f64, device);
  const Tensor frequencies = (pairs * (-2 * std::log(base) / static_cast<double>(d))).exp();
  const Tensor angles = positions.unsqueeze(1) * frequencies;  // [length, d / 2]
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

Tensor rotate(const Tensor& x, const RotaryTable& table) {
  const std::int64_t half = table.cos.size(1);
  NORMA_CHECK(x.defined() && x.dim() >= 2 && x.size(-1) == 2 * half && x.size(-2) == table.cos.size(0),
              "rotate: x must be [.., ", table.cos.size(0), ", ", 2 * half, "] for a table of shape ",
              table.cos.shape(), ", got ", x.defined() ? x.shape() : Shape());
  const Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
  return cat({a * table.cos - b * table.sin, a * table.sin + b * table.cos}, -1);
}

}  // namespace norma::nn
