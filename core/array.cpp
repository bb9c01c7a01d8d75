// Arrays: creation, copies and access to elements. Views are made in array_views.cpp.
#include "core/array.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "core/profile.h"
#include "core/random.h"
#include "core/recycled.h"

namespace norma {
namespace {

std::int64_t bytes_of(const Shape& shape, DType dtype) {
  std::int64_t bytes = 0;
  NORMA_CHECK(!__builtin_mul_overflow(shape.numel(), size_of(dtype), &bytes), "empty: shape ", shape, " of ",
              dtype, " takes more than 2^63 bytes");
  return bytes;
}

// The integer that a double stands for, cut towards zero, for dtype i64; 0 for the others, which do not use
// it.
std::int64_t integral_of(double value, DType dtype, const char* op) {
  if (dtype != i64) return 0;
  NORMA_CHECK(value >= -0x1p63 && value < 0x1p63, op, ": ", value, " is not an i64");
  return static_cast<std::int64_t>(value);
}

void check_random(Random distribution, double a, double b, DType dtype) {
  switch (distribution) {
    case Random::uniform:
      NORMA_CHECK(a <= b && std::isfinite(b - a), "uniform: needs finite low <= high, got ", a, " and ", b);
      break;
    case Random::normal:
      NORMA_CHECK(std::isfinite(a) && b >= 0 && std::isfinite(b),
                  "normal: needs a finite mean and standard deviation >= 0, got ", a, " and ", b);
      break;
    case Random::truncated_normal:
      NORMA_CHECK(a < b, "truncated_normal: needs low < high, got ", a, " and ", b);
      break;
    case Random::bernoulli:
      NORMA_CHECK(a >= 0 && a <= 1, "bernoulli: needs a probability in [0, 1], got ", a);
      return;
  }
  NORMA_CHECK(is_floating(dtype), "random: needs a floating dtype, got ", dtype);
}

double value_at(const void* element, DType dtype) {
  switch (dtype) {
    case DType::f32:
      return *static_cast<const float*>(element);
    case DType::f64:
      return *static_cast<const double*>(element);
    case DType::i64:
      return static_cast<double>(*static_cast<const std::int64_t*>(element));
    case DType::boolean:
      break;
  }
  return *static_cast<const unsigned char*>(element);
}

// Number of elements of arange; the bounds are finite and step is not 0.
std::int64_t arange_length(double start, double stop, double step) {
  NORMA_CHECK(std::isfinite(start) && std::isfinite(stop) && std::isfinite(step) && step != 0,
              "arange: needs finite bounds and a step other than 0, got ", start, ", ", stop, ", ", step);
  const double length = std::ceil((stop - start) / step);
  NORMA_CHECK(length >= 0, "arange: step ", step, " leads away from stop ", stop, " (start ", start, ")");
  NORMA_CHECK(length < 0x1p62, "arange: ", length, " elements are too many");
  return static_cast<std::int64_t>(length);
}

// start + i * step for i in [0, length), f64, without a copy from the host.
Array count_on(Device device, double start, double step, std::int64_t length) {
  const Array ones = Array::ones({length}, f64, device), y = Array::empty({length}, f64, device);
  if (length == 0) return y;
  Backend& kernels = backend(device);
  kernels.cumsum(y.view(), ones.view(), 0, false);  // exact up to 2^53
  kernels.binary_scalar(Binary::sub, y.view(), y.view(), 1, false);
  kernels.unary(Unary::affine, y.view(), y.view(), step, start);
  return y;
}

}  // namespace

Array Array::empty(const Shape& shape, DType dtype, Device device) {
  backend(device);  // throws for a device that is not there, also when no memory is needed
  return Array(make_recycled<Storage>(bytes_of(shape, dtype), device), shape, dtype);
}

Array Array::full(const Shape& shape, double value, DType dtype, Device device) {
  const std::int64_t integral = integral_of(value, dtype, "full");
  Array y = empty(shape, dtype, device);
  const detail::ProfileSpan span("fill", y);
  if (y.numel() > 0) backend(device).fill(y.view(), value, integral);
  return y;
}

Array Array::arange(double start, double stop, double step, DType dtype, Device device) {
  const std::int64_t length = arange_length(start, stop, step);
  if (length > 0) {
    integral_of(start, dtype, "arange");
    integral_of(start + static_cast<double>(length - 1) * step, dtype, "arange");
  }
  if (!is_host(device)) return count_on(device, start, step, length).to(dtype);
  const Array host = empty({length}, dtype, cpu);
  for_any(dtype, [&]<class T>() {
    T* const y = host.data<T>();
    parallel_for(length, 32768, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(start + static_cast<double>(i) * step);
    });
  });
  return host.to(device);
}

Array Array::random(Random distribution, const Shape& shape, double a, double b, DType dtype, Device device,
                    Generator& generator) {
  check_random(distribution, a, b, dtype);
  Array y = empty(shape, dtype, device);
  const bool is_mask = distribution == Random::bernoulli;
  const RandomKey key = generator.advance(is_mask ? blocks_of_mask(y.numel()) : y.numel());
  const detail::ProfileSpan span("random", y);
  if (y.numel() > 0) backend(device).random(distribution, y.view(), key, a, b);
  return y;
}

Array Array::from_host(const void* values, std::int64_t count, DType dtype, const Shape& shape,
                       Device device) {
  NORMA_CHECK(count == shape.numel(), "from: shape ", shape, " has ", shape.numel(), " elements, got ", count,
              " values");
  Array y = empty(shape, dtype, device);
  const detail::ProfileSpan span("upload", y);
  if (count > 0) backend(device).upload(y.storage_->data(), values, y.storage_->bytes());
  return y;
}

void* Array::host_data(DType dtype) const {
  check_defined(*this, "data");
  NORMA_CHECK(dtype == dtype_, "data: the array holds ", dtype_, ", asked for ", dtype);
  NORMA_CHECK(is_host(device()), "data: the host cannot read memory of ", device(), "; use to(cpu) first");
  return view().data;
}

Array Array::contiguous() const { return is_contiguous() ? *this : clone(); }

Array Array::clone() const {
  check_defined(*this, "clone");
  Array y = empty(shape_, dtype_, device());
  const detail::ProfileSpan span("copy", y);
  if (numel() > 0) backend(device()).copy(y.view(), view());
  return y;
}

Array Array::to(DType dtype) const {
  check_defined(*this, "to");
  if (dtype == dtype_) return *this;
  Array y = empty(shape_, dtype, device());
  const detail::ProfileSpan span("copy", y);
  if (numel() > 0) backend(device()).copy(y.view(), view());
  return y;
}

Array Array::to(Device target) const {
  check_defined(*this, "to");
  if (target == device()) return *this;
  Array y = empty(shape_, dtype_, target);
  if (numel() == 0) return y;
  const detail::ProfileSpan span("transfer", y);
  const Array x = contiguous();
  const std::int64_t bytes = y.storage_->bytes();
  // At least one of the two devices is host memory.
  if (is_host(device())) {
    backend(target).upload(y.view().data, x.view().data, bytes);
  } else {
    backend(device()).download(y.view().data, x.view().data, bytes);
  }
  return y;
}

void Array::copy_from(const Array& source) const {
  check_defined(*this, "copy_from");
  check_defined(source, "copy_from");
  NORMA_CHECK(!overlaps_itself(*this), "copy_from: elements of the destination share memory (shape ", shape_,
              ", expanded); clone it first");
  Array x = source.to(device()).expand(shape_);
  if (may_overlap(*this, x)) x = x.clone();
  const detail::ProfileSpan span("copy", *this);
  if (numel() > 0) backend(device()).copy(view(), x.view());
  bump_version();
}

void Array::fill(double value) const {
  check_defined(*this, "fill");
  const std::int64_t integral = integral_of(value, dtype_, "fill");
  const detail::ProfileSpan span("fill", *this);
  if (numel() > 0) backend(device()).fill(view(), value, integral);
  bump_version();
}

double Array::item() const {
  check_defined(*this, "item");
  NORMA_CHECK(numel() == 1, "item: needs exactly one element, got shape ", shape_);
  return at(std::span<const std::int64_t>(std::array<std::int64_t, max_rank>{}.data(),
                                          static_cast<std::size_t>(rank())));
}

double Array::at(std::span<const std::int64_t> index) const {
  check_defined(*this, "at");
  NORMA_CHECK(index.size() == static_cast<std::size_t>(rank()), "at: shape ", shape_, " needs ", rank(),
              " indices, got ", index.size());
  std::int64_t offset = 0;
  for (int axis = 0; axis < rank(); ++axis) {
    const std::int64_t i = index[static_cast<std::size_t>(axis)];
    const std::int64_t extent = shape_[axis];
    NORMA_CHECK(i >= -extent && i < extent, "at: index ", index, " out of range for shape ", shape_);
    offset += (i < 0 ? i + extent : i) * strides_[static_cast<std::size_t>(axis)];
  }
  const void* const element = static_cast<const char*>(view().data) + offset * size_of(dtype_);
  if (is_host(device())) return value_at(element, dtype_);
  alignas(8) unsigned char host[8];
  backend(device()).download(host, element, size_of(dtype_));
  return value_at(host, dtype_);
}

void Array::copy_to_host(void* out, DType dtype) const {
  check_defined(*this, "to_vector");
  NORMA_CHECK(dtype == dtype_, "to_vector: the array holds ", dtype_, ", asked for ", dtype);
  if (numel() == 0) return;
  backend(device()).download(out, contiguous().view().data, numel() * size_of(dtype_));
}

}  // namespace norma
