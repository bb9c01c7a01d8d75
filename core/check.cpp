#include "core/check.h"

#include <charconv>

#include "core/device.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace norma::detail {
namespace {

// to_chars, unlike printf and streams, does not look at the locale.
template <class T>
std::string digits(T value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  return error == std::errc() ? std::string(buffer, end) : std::string("?");
}

}  // namespace

std::string text(double value) { return digits(value); }
std::string text(std::int64_t value) { return digits(value); }
std::string text(DType dtype) { return name(dtype); }
std::string text(Device device) { return name(device); }
std::string text(const Shape& shape) { return text(shape.extents()); }

std::string text(std::span<const std::int64_t> values) {
  std::string out = "[";
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ", ";
    out += text(values[i]);
  }
  return out + "]";
}

void fail_assert(const char* condition, const char* file, int line) {
  throw Bug(concat(file, ":", line, ": broken invariant: ", condition, "; please report this"));
}

}  // namespace norma::detail
