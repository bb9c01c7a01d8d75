// Largest value and sum of exponentials of a row, for softmax and cross-entropy. Sums and maxima go into 64
// lanes, which are combined by halves: enough independent chains for the processor, and an order that depends
// on the length only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "backends/cpu/lane_vector.h"
#include "backends/cpu/vector_math.h"

namespace norma {

namespace detail {

inline constexpr int lanes = 64;
/// Elements whose sum is made in T: 32 additions a lane, so f32 keeps its digits. They fit the first cache.
inline constexpr std::int64_t lane_block = 2048;

/// combine(.. combine(combine(start, term(0)), term(64)) ..), so in each lane; then the lanes, by halves.
template <class T, class Term, class Combine>
T over_lanes(std::int64_t n, T start, Term&& term, Combine&& combine) {
  alignas(64) T lane[lanes];
  std::fill(lane, lane + lanes, start);
  std::int64_t begin = 0;
  for (; begin + lanes <= n; begin += lanes) {
#pragma omp simd
    for (int l = 0; l < lanes; ++l) lane[l] = combine(lane[l], term(begin + l));
  }
  for (std::int64_t j = begin; j < n; ++j) lane[j - begin] = combine(lane[j - begin], term(j));
  for (int half = lanes / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) lane[l] = combine(lane[l], lane[l + half]);
  }
  return lane[0];
}

}  // namespace detail

/// Largest of n >= 0 values, -inf for none. NaN is passed over.
template <class T>
T lane_max(std::int64_t n, const T* x) {
  return detail::over_lanes(
      n, -std::numeric_limits<T>::infinity(), [=](std::int64_t j) { return x[j]; },
      [](T a, T b) { return b > a ? b : a; });
}

/// Sum of term(j), j in [0, n): in T within blocks of 2048, in f64 between them.
template <class T, class Term>
double lane_sum(std::int64_t n, Term&& term) {
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += detail::lane_block) {
    const std::int64_t count = std::min(detail::lane_block, n - begin);
    total += static_cast<double>(detail::over_lanes(
        count, T(0), [&, begin](std::int64_t j) { return term(begin + j); }, [](T a, T b) { return a + b; }));
  }
  return total;
}

namespace detail {

/// Sum of 2^64 e^(x[j] - centre), j in [0, n), n <= lane_block. While the processor computes, memory brings
/// what comes after these values.
template <class T>
double raised_exp_sum(std::int64_t n, const T* x, T centre) {
  if constexpr (sizeof(T) != 4) {
    return lane_sum<T>(n, [=](std::int64_t j) { return raised_exp_negative(x[j] - centre); });
  } else {
    LaneVector<T> sums[lanes / vector_lanes] = {};
    const auto add = [&sums, centre](const T* values) {
#pragma GCC unroll 4
      for (int v = 0; v < lanes / vector_lanes; ++v) {
        LaneVector<T> e;
        load(e, values + v * vector_lanes);
        e -= centre;
        raise_exp_negative(e);
        sums[v] += e;
      }
    };
    std::int64_t j = 0;
    for (; j + lanes <= n; j += lanes) {
      const std::uintptr_t later = reinterpret_cast<std::uintptr_t>(x + j) + lane_block * sizeof(T);
      for (std::uintptr_t line = 0; line < lanes * sizeof(T); line += 64)
        __builtin_prefetch(reinterpret_cast<const void*>(later + line));
      add(x + j);
    }
    if (j < n) {
      T last[lanes];
      std::fill(std::copy(x + j, x + n, last), last + lanes, -std::numeric_limits<T>::infinity());
      add(last);
    }
    return static_cast<double>(sum_of<T>((sums[0] + sums[2]) + (sums[1] + sums[3])));
  }
}

}  // namespace detail

template <class T>
struct ExpSum {
  T largest;
  double sum;  // of exp(x - largest); NaN for a row of -inf alone, or with NaN or +inf
};

/// One pass over memory: the sum of the blocks so far is scaled when a block brings a larger value.
template <class T>
ExpSum<T> exp_sum(std::int64_t n, const T* x) {
  constexpr T nothing = -std::numeric_limits<T>::infinity();
  ExpSum<T> row{nothing, 0};
  for (std::int64_t begin = 0; begin < n; begin += detail::lane_block) {
    const T* const block = x + begin;
    const std::int64_t count = std::min(detail::lane_block, n - begin);
    const T largest = std::max(row.largest, lane_max(count, block));
    if (largest > row.largest)
      row.sum *= std::exp(static_cast<double>(row.largest) - static_cast<double>(largest));
    row.largest = largest;
    const T centre = largest == nothing ? T(0) : largest;  // -inf so far: e^-inf each, not e^(-inf + inf)
    row.sum += 0x1p-64 * detail::raised_exp_sum<T>(count, block, centre);
  }
  if (n > 0 && row.largest == nothing) row.sum = std::numeric_limits<double>::quiet_NaN();
  return row;
}

}  // namespace norma
