// What the suites of the core share.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/array.h"
#include "tests/messages.h"
#include "tests/temporary.h"
#include "tests/threads.h"

namespace norma::tests {

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// 0, 1, 2, ... in row-major order.
inline Array counting(const Shape& shape, DType dtype = i64, Device device = cpu) {
  return Array::arange(0, static_cast<double>(shape.numel()), 1, dtype, device).reshape(shape);
}

using Integers = std::vector<std::int64_t>;
inline Integers integers(const Array& x) { return x.to_vector<std::int64_t>(); }

}  // namespace norma::tests
