// Mean, variance and sum of squares of a row, in f64 whatever the dtype.
#pragma once

#include <cstdint>

#include "backends/cpu/sums.h"
#include "backends/statistics.h"

namespace norma {

/// Relative to the first element, so that the mean of a constant row is exact.
template <class T>
double mean_of(const T* x, std::int64_t d) {
  const double origin = static_cast<double>(x[0]);
  return origin + row_sum<double>(d, [=](std::int64_t i) { return static_cast<double>(x[i]) - origin; }) /
                      static_cast<double>(d);
}

/// Biased.
template <class T>
double variance_of(const T* x, std::int64_t d, double mean) {
  const Centre<T> centre(mean);
  double squares = row_sum<T>(d, [=](std::int64_t i) { return centre(x[i]) * centre(x[i]); });
  if (!is_safe_square<T>(squares)) {
    squares = row_sum<double>(d, [=](std::int64_t i) {
      const double c = static_cast<double>(x[i]) - mean;
      return c * c;
    });
  }
  return squares / static_cast<double>(d);
}

template <class T>
double sum_of_squares_of(const T* x, std::int64_t d) {
  const double squares = row_sum<T>(d, [=](std::int64_t i) { return x[i] * x[i]; });
  if (is_safe_square<T>(squares)) return squares;
  return row_sum<double>(
      d, [=](std::int64_t i) { return static_cast<double>(x[i]) * static_cast<double>(x[i]); });
}

}  // namespace norma
