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

template <class T>
struct BlockExp {
  T largest;          // of x; NaN is passed over
  double raised_sum;  // of 2^64 e^(x - centre)
};

/// Of n <= lane_block values, read once. While the processor computes, memory brings what comes after them.
template <class T>
BlockExp<T> block_exp(std::int64_t n, const T* x, T centre) {
  constexpr T nothing = -std::numeric_limits<T>::infinity();
  if constexpr (sizeof(T) != 4) {
    return {lane_max(n, x),
            lane_sum<T>(n, [=](std::int64_t j) { return raised_exp_negative(x[j] - centre); })};
  } else {
    constexpr int vectors = lanes / vector_lanes;
    LaneVector<T> largest[vectors], sums[vectors] = {};
    std::fill(largest, largest + vectors, LaneVector<T>(nothing));
    const auto take = [&largest, &sums, centre](const T* values) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        LaneVector<T> e;
        load(e, values + v * vector_lanes);
        take_larger(largest[v], e);
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
      take(x + j);
    }
    if (j < n) {
      T last[lanes];
      std::fill(std::copy(x + j, x + n, last), last + lanes, nothing);
      take(last);
    }
    for (int v = 1; v < vectors; ++v) take_larger(largest[0], largest[v]);
    return {largest_of(largest[0]), static_cast<double>(sum_of((sums[0] + sums[2]) + (sums[1] + sums[3])))};
  }
}

}  // namespace detail

template <class T>
struct ExpSum {
  T largest;
  double sum;  // of exp(x - largest); NaN for a row of -inf alone, or with NaN or +inf
};

/// One pass over memory. Exponentials are taken about the largest value of the first block; about that of a
/// later one, which is then computed anew and the sum so far scaled, if it lies more than 1 above: up to
/// there x - centre keeps its digits.
template <class T>
ExpSum<T> exp_sum(std::int64_t n, const T* x) {
  const auto ratio = [](T a, T b) { return std::exp(static_cast<double>(a) - static_cast<double>(b)); };
  constexpr T nothing = -std::numeric_limits<T>::infinity();
  T centre = lane_max(std::min(detail::lane_block, n), x);
  ExpSum<T> row{centre, 0};
  for (std::int64_t begin = 0; begin < n; begin += detail::lane_block) {
    const std::int64_t count = std::min(detail::lane_block, n - begin);
    // -inf so far: e^-inf each, not e^(-inf + inf).
    auto block = detail::block_exp(count, x + begin, centre == nothing ? T(0) : centre);
    if (block.largest > centre + 1) {
      row.sum *= ratio(centre, block.largest);
      centre = block.largest;
      block = detail::block_exp(count, x + begin, centre);
    }
    row.largest = std::max(row.largest, block.largest);
    row.sum += 0x1p-64 * block.raised_sum;
  }
  if (row.largest > centre) row.sum *= ratio(centre, row.largest);
  if (n > 0 && row.largest == nothing) row.sum = std::numeric_limits<double>::quiet_NaN();
  return row;
}

}  // namespace norma
