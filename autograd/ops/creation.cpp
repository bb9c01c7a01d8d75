// Tensors from nothing: leaves without history.
#include <cmath>

#include "autograd/node.h"
#include "autograd/ops.h"

namespace norma {
namespace {

Generator& or_default(Generator* generator) {
  return generator != nullptr ? *generator : default_generator();
}

}  // namespace

Tensor empty(const Shape& shape, DType dtype, Device device) {
  return Tensor(Array::empty(shape, dtype, device));
}
Tensor zeros(const Shape& shape, DType dtype, Device device) {
  return Tensor(Array::zeros(shape, dtype, device));
}
Tensor ones(const Shape& shape, DType dtype, Device device) {
  return Tensor(Array::ones(shape, dtype, device));
}
Tensor full(const Shape& shape, double value, DType dtype, Device device) {
  return Tensor(Array::full(shape, value, dtype, device));
}
Tensor zeros_like(const Tensor& x) { return zeros(x.shape(), x.dtype(), x.device()); }
Tensor ones_like(const Tensor& x) { return ones(x.shape(), x.dtype(), x.device()); }
Tensor arange(double start, double stop, double step, DType dtype, Device device) {
  return Tensor(Array::arange(start, stop, step, dtype, device));
}

Tensor eye(std::int64_t n, DType dtype, Device device) {
  NORMA_CHECK(n >= 0, "eye: n must not be negative, got ", n);
  const Array y = Array::zeros({n, n}, dtype, device);
  y.reshape({n * n}).slice(0, {0, Slice::end, n + 1}).fill(1);
  return Tensor(y);
}

Tensor tensor(std::initializer_list<double> values, DType dtype) {
  const std::vector<double> list(values);
  return Tensor(Array::from(list, Shape{static_cast<std::int64_t>(list.size())}).to(dtype));
}

Tensor rand(const Shape& shape, DType dtype, Device device, Generator* generator) {
  return Tensor(Array::random(Random::uniform, shape, 0, 1, dtype, device, or_default(generator)));
}
Tensor randn(const Shape& shape, DType dtype, Device device, Generator* generator) {
  return Tensor(Array::random(Random::normal, shape, 0, 1, dtype, device, or_default(generator)));
}

Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape, Device device, Generator* generator) {
  NORMA_CHECK(low < high, "randint: low must be below high, got ", low, " and ", high);
  NORMA_CHECK(high - low <= (std::int64_t{1} << 52), "randint: the range must be at most 2^52, got ",
              high - low);
  const Array unit = Array::random(Random::uniform, shape, 0, 1, f64, device, or_default(generator));
  const Tensor offset = Tensor(unit) * static_cast<double>(high - low);
  return affine(offset.to(i64), 1, static_cast<double>(low));
}

Tensor randperm(std::int64_t n, Device device, Generator* generator) {
  NORMA_CHECK(n >= 0, "randperm: n must not be negative, got ", n);
  const Array order = Array::arange(0, static_cast<double>(n));
  if (n < 2) return Tensor(order.to(device));
  // Fisher and Yates: place i - 1, from the last down, changes with one of [0, i). All draws are made at
  // once, so that the places far ahead are known and can be on their way from memory. unit < 1: a product
  // rounds to less than i.
  const Array units = Array::random(Random::uniform, {n - 1}, 0, 1, f64, cpu, or_default(generator));
  const double* const unit = units.data<double>();
  std::int64_t* const at = order.data<std::int64_t>();
  const auto drawn = [=](std::int64_t i) {
    return at + static_cast<std::int64_t>(unit[n - i] * static_cast<double>(i));
  };
  constexpr std::int64_t ahead = 16;
  for (std::int64_t i = n; i > 1; --i) {
    if (i > ahead + 1) __builtin_prefetch(drawn(i - ahead), 1);
    std::swap(at[i - 1], *drawn(i));
  }
  return Tensor(order.to(device));
}

}  // namespace norma
