// Mean and centred squares, or squares, of a row, in f64 whatever the dtype; x_hat made of the first.
#pragma once

#include <algorithm>
#include <array>
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

/// Of a row in f64: for the rows that T has no range for, and those with an infinity or a NaN.
template <class T>
Moments wide_moments_of(const T* x, std::int64_t d) {
  const double mean = mean_of(x, d);
  const double squares = row_sum<double>(d, [=](std::int64_t i) {
    const double centred = static_cast<double>(x[i]) - mean;
    return centred * centred;
  });
  return {static_cast<double>(d), mean, squares};
}

/// Of a row, with every digit of the mean. The squares are taken in T around `near`, the mean rounded to T,
/// which adds d (mean - near)^2 to those around the mean.
template <class T>
Moments moments_of(const T* x, std::int64_t d) {
  const double mean = mean_of(x, d), count = static_cast<double>(d);
  const T near = static_cast<T>(mean);
  const double squares = row_sum<T>(d, [=](std::int64_t i) { return (x[i] - near) * (x[i] - near); });
  if (!is_safe_square<T>(squares)) return wide_moments_of(x, d);
  const double low = mean - static_cast<double>(near);
  return {count, mean, std::max(squares - count * low * low, 0.0)};
}

/// A mean of the first few values of a row; of a constant row that value, exactly.
template <class T>
T near_mean_of(const T* x, std::int64_t d) {
  constexpr std::int64_t few = 64 / sizeof(T);
  if (d < few) return x[0];
  T sample[few];
  for (std::int64_t i = 0; i < few; ++i) sample[i] = x[i] - x[0];
  return x[0] + sum_of_lanes<few>(sample) / static_cast<T>(few);
}

/// Of a row, in one pass over c = x - near, small numbers whatever the mean: mean = near + mean(c), and the
/// squares around it are sum(c^2) - d mean(c)^2. The mean is as exact as values of T times the deviation.
/// Where `near` was no good guess, farther from the mean than the deviation, the difference would lose
/// digits: such a row gets a second pass, from the mean of the first.
template <class T>
Moments moments_near(const T* x, std::int64_t d, T near, bool is_last = false) {
  const auto [sum, squares] = row_sums<T, 2>(d, [=](std::int64_t i, auto sums) {
    const T c = x[i] - near;
    sums(0) += c;
    sums(1) += c * c;
  });
  const double number = static_cast<double>(d), lost = sum * sum / number;
  const double mean = static_cast<double>(near) + sum / number;
  if (!is_safe_square<T>(squares)) return wide_moments_of(x, d);
  if (lost > squares / 2 && !is_last) return moments_near(x, d, static_cast<T>(mean), true);
  return {number, mean, std::max(squares - lost, 0.0)};
}

template <class T>
Moments moments_of_row(const T* x, std::int64_t d) {
  return moments_near(x, d, near_mean_of(x, d));
}

/// x_hat = (x - mean) * rstd. The mean is kept in two parts of T, so that f32 rows with a large mean lose
/// nothing: (x - high) * rstd - low * rstd.
template <class T>
struct Standard {
  T high = 0, scale = 0, shift = 0;

  Standard() = default;
  Standard(double mean, double rstd)
      : high(static_cast<T>(mean)),
        scale(static_cast<T>(rstd)),
        shift(static_cast<T>((static_cast<double>(high) - mean) * rstd)) {}
  T operator()(T x) const { return (x - high) * scale + shift; }
};

/// Sum of squares of a row.
template <class T>
double squares_of(const T* x, std::int64_t d) {
  const double squares = row_sum<T>(d, [=](std::int64_t i) { return x[i] * x[i]; });
  if (is_safe_square<T>(squares)) return squares;
  return row_sum<double>(
      d, [=](std::int64_t i) { return static_cast<double>(x[i]) * static_cast<double>(x[i]); });
}

}  // namespace norma
