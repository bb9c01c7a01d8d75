// Short rows, up to sixteen at a time. Sums go along four rows at once, in vectors: their chains of additions
// overlap, and the sums of four rows come out as one vector. What a row waits for next (divisions, a root) is
// done for all sixteen in plain loops, which compilers make vectors of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "backends/cpu/moments.h"
#include "backends/cpu/pack.h"

namespace norma {

/// Rows that a body takes at a time, a multiple of four.
struct ShortRows {
  static constexpr int most = 16;
  static bool fit(std::int64_t d) { return d > 1 && d <= 256 && (has_last_packs || d % 16 == 0); }

  int count;
};

/// One value of each.
template <class T>
using PerRow = T[ShortRows::most];

/// Lanes halved down to four.
template <class Four, class Vector, class Combine>
[[gnu::always_inline]] inline Four quarters_of(Vector x, Combine combine) {
  if constexpr (sizeof(Vector) == sizeof(Four)) {
    return x;
  } else if constexpr (sizeof(Vector) == 2 * sizeof(Four)) {
    return combine(__builtin_shufflevector(x, x, 0, 1, 2, 3), __builtin_shufflevector(x, x, 4, 5, 6, 7));
  } else {
    return quarters_of<Four>(combine(__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7),
                                     __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15)),
                             combine);
  }
}

/// totals[k] = the lanes of x[k], combined. Four lanes of each row go across, all rows in one vector.
template <class T, class Combine>
[[gnu::always_inline]] inline void combine_lanes(const Pack<T> (&x)[4], T* totals, Combine combine) {
  if constexpr (pack_lanes<T> < 4) {
    for (int k = 0; k < 4; ++k) totals[k] = combine(x[k][0], x[k][1]);
  } else {
    using Four = VectorOf<T, 4>;
    const Four a = quarters_of<Four>(x[0], combine), b = quarters_of<Four>(x[1], combine),
               c = quarters_of<Four>(x[2], combine), d = quarters_of<Four>(x[3], combine);
    const Four ab =
        combine(__builtin_shufflevector(a, b, 0, 4, 1, 5), __builtin_shufflevector(a, b, 2, 6, 3, 7));
    const Four cd =
        combine(__builtin_shufflevector(c, d, 0, 4, 1, 5), __builtin_shufflevector(c, d, 2, 6, 3, 7));
    const Four all =
        combine(__builtin_shufflevector(ab, cd, 0, 1, 4, 5), __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
    std::memcpy(totals, &all, sizeof(all));
  }
}

/// sums[k] = the sum of the lanes of x[k].
template <class T>
[[gnu::always_inline]] inline void sum_lanes(const Pack<T> (&x)[4], T* sums) {
  combine_lanes<T>(
      x, sums, [](auto a, auto b) __attribute__((always_inline)) { return a + b; });
}

/// Calls body(j, at) for packs of columns j, j + 1, .. that cover [0, d).
template <class T, class Body>
[[gnu::always_inline]] inline void for_packs(std::int64_t d, const Body& body) {
  std::int64_t j = 0;
  for (; j + pack_lanes<T> <= d; j += pack_lanes<T>) body(j, AtPack<T>());
#ifdef __AVX2__
  if (j < d) body(j, AtLastPack(d - j));
#endif
}

/// Standard for each row.
template <class T>
struct Standards {
  PerRow<T> high, scale, shift;

  Standards(ShortRows rows, const double* mean, const double* rstd) {
#pragma omp simd simdlen(4)
    for (int k = 0; k < rows.count; ++k) {
      high[k] = static_cast<T>(mean[k]);
      scale[k] = static_cast<T>(rstd[k]);
      shift[k] = static_cast<T>((static_cast<double>(high[k]) - mean[k]) * rstd[k]);
    }
  }
  [[gnu::always_inline]] Pack<T> operator()(int k, Pack<T> x) const {
    return (x - high[k]) * scale[k] + shift[k];
  }
};

/// Mean and centred squares of each row.
struct ShortMoments {
  PerRow<double> mean, squares;
};

/// The mean of the first values of each row.
template <class T>
void near_means_of(ShortRows rows, const T* x, std::int64_t d, PerRow<T>& near) {
  const std::int64_t few = std::min(d, pack_lanes<T>);
  const T part = T(1) / static_cast<T>(few);
  for (int first = 0; first < rows.count; first += 4) {
    Pack<T> sample[4] = {};
    for_packs<T>(
        few, [&](std::int64_t, auto at) __attribute__((always_inline)) {
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) sample[k] += at.load(x + (first + k) * d) * part;
        });
    sum_lanes<T>(sample, near + first);
  }
}

/// In one pass, as moments_near.
template <class T>
ShortMoments moments_of(ShortRows rows, const T* x, std::int64_t d) {
  PerRow<T> near, sums, squares;
  near_means_of(rows, x, d, near);
  for (int first = 0; first < rows.count; first += 4) {
    Pack<T> sum[4] = {}, square[4] = {};
    for_packs<T>(
        d, [&](std::int64_t j, auto at) __attribute__((always_inline)) {
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) {
            const Pack<T> c = at.only(at.load(x + (first + k) * d + j) - near[first + k]);
            sum[k] += c;
            square[k] += c * c;
          }
        });
    sum_lanes<T>(sum, sums + first);
    sum_lanes<T>(square, squares + first);
  }
  const double part = 1 / static_cast<double>(d);
  const auto is_plain = [&](int k) {
    const double sum = sums[k], square = squares[k];
    return is_safe_square<T>(square) & !(sum * sum * part > square / 2);
  };
  ShortMoments moments;
  bool all_plain = true;
#pragma omp simd reduction(& : all_plain) simdlen(4)
  for (int k = 0; k < rows.count; ++k) {
    const double sum = sums[k], square = squares[k];
    moments.mean[k] = static_cast<double>(near[k]) + sum * part;
    moments.squares[k] = square - sum * sum * part;
    all_plain &= is_plain(k);
  }
  for (int k = 0; k < rows.count && !all_plain; ++k) {
    if (is_plain(k)) continue;
    const Moments row = moments_of_row(x + k * d, d);
    moments.mean[k] = row.mean, moments.squares[k] = row.squares;
  }
  return moments;
}

/// Sum of squares of each row.
template <class T>
void squares_of(ShortRows rows, const T* x, std::int64_t d, PerRow<double>& squares) {
  PerRow<T> sums;
  for (int first = 0; first < rows.count; first += 4) {
    Pack<T> square[4] = {};
    for_packs<T>(
        d, [&](std::int64_t j, auto at) __attribute__((always_inline)) {
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) {
            const Pack<T> value = at.only(at.load(x + (first + k) * d + j));
            square[k] += value * value;
          }
        });
    sum_lanes<T>(square, sums + first);
  }
  for (int k = 0; k < rows.count; ++k) {
    squares[k] = is_safe_square<T>(sums[k]) ? static_cast<double>(sums[k]) : squares_of(x + k * d, d);
  }
}

}  // namespace norma
