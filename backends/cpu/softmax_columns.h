// softmax along the middle axis of x [outer, d, inner]: tiles of neighbouring columns, whose maxima and sums
// lie side by side. A tile stays in the cache from pass to pass. Sums in T are 32 rows long, f64 between.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "backends/cpu/vector_math.h"
#include "backends/statistics.h"
#include "backends/strided.h"

namespace norma {

/// Columns [.., inner) of d values each, `inner` apart; channels_of(x) calls d channels.
class ColumnTiles {
 public:
  static constexpr std::int64_t widest = 256;

  explicit ColumnTiles(const Channels& x)
      : x_(x), width_(std::clamp<std::int64_t>(65536 / x.channels / 16 * 16, 32, widest)) {}

  /// Fewer columns than vectors need are better turned into rows.
  static bool fit(const Channels& x) { return x.inner >= 16 && x.n * x.inner >= 64; }

  /// Calls body(at, width) for tiles of `width` columns, the first of which begins at element `at`.
  template <class Body>
  void for_each(const Body& body) const {
    const std::int64_t across = (x_.inner + width_ - 1) / width_, d = x_.channels;
    parallel_for(x_.n * across, std::max<std::int64_t>(1, block_elements / (d * std::min(width_, x_.inner))),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t tile = begin; tile < end; ++tile) {
                     const std::int64_t first = tile % across * width_;
                     body(tile / across * d * x_.inner + first, std::min(width_, x_.inner - first));
                   }
                 });
  }
  /// sums[j] = the sum of term(i, j) over the d rows: i, the place of a row's first element in the tile.
  template <class T, class Term>
  void sums(std::int64_t width, T* sums, const Term& term) const {
    constexpr std::int64_t step = 32;  // rows added in T
    double totals[widest] = {};
    for (std::int64_t first = 0; first < x_.channels; first += step) {
      T some[widest] = {};
      for (std::int64_t r = first; r < std::min(x_.channels, first + step); ++r) {
#pragma omp simd
        for (std::int64_t j = 0; j < width; ++j) some[j] += term(r * x_.inner, j);
      }
      for (std::int64_t j = 0; j < width; ++j) totals[j] += static_cast<double>(some[j]);
    }
    for (std::int64_t j = 0; j < width; ++j) sums[j] = static_cast<T>(totals[j]);
  }
  /// to[i + j] = value(i, j) for all rows.
  template <class T, class Value>
  void write(std::int64_t width, T* to, const Value& value) const {
    for (std::int64_t r = 0; r < x_.channels; ++r) {
      const std::int64_t i = r * x_.inner;
#pragma omp simd
      for (std::int64_t j = 0; j < width; ++j) to[i + j] = value(i, j);
    }
  }
  template <class T>
  void largest(std::int64_t width, T* top, const T* x) const {
    std::fill(top, top + width, -std::numeric_limits<T>::infinity());
    for (std::int64_t r = 0; r < x_.channels; ++r) {
      const T* row = x + r * x_.inner;
      for (std::int64_t j = 0; j < width; ++j) top[j] = row[j] > top[j] ? row[j] : top[j];
    }
  }

 private:
  Channels x_;
  std::int64_t width_;
};

template <class T>
void softmax_columns(const ColumnTiles& tiles, T* y, const T* x, bool log) {
  tiles.for_each([=, &tiles](std::int64_t at, std::int64_t width) {
    const T* const from = x + at;
    T* const to = y + at;
    T top[ColumnTiles::widest], sum[ColumnTiles::widest];
    tiles.largest(width, top, from);
    if (log) {
      tiles.sums(width, sum,
                 [&](std::int64_t i, std::int64_t j) { return vector_exp_negative(from[i + j] - top[j]); });
      for (std::int64_t j = 0; j < width; ++j) sum[j] = std::log(sum[j]);
      tiles.write(width, to, [&](std::int64_t i, std::int64_t j) { return from[i + j] - top[j] - sum[j]; });
    } else {
      tiles.sums(width, sum, [&](std::int64_t i, std::int64_t j) {
        return to[i + j] = vector_exp_negative(from[i + j] - top[j]);
      });
      for (std::int64_t j = 0; j < width; ++j) sum[j] = 1 / sum[j];
      tiles.write(width, to, [&](std::int64_t i, std::int64_t j) { return to[i + j] * sum[j]; });
    }
  });
}

template <class T>
void softmax_columns_backward(const ColumnTiles& tiles, T* dx, const T* y, const T* dy, bool log) {
  tiles.for_each([=, &tiles](std::int64_t at, std::int64_t width) {
    const T *const value = y + at, *const slope = dy + at;
    T sum[ColumnTiles::widest];
    if (log) {
      tiles.sums(width, sum, [&](std::int64_t i, std::int64_t j) { return slope[i + j]; });
      tiles.write(width, dx + at, [&](std::int64_t i, std::int64_t j) {
        return slope[i + j] - vector_exp_negative(value[i + j]) * sum[j];
      });
    } else {
      tiles.sums(width, sum, [&](std::int64_t i, std::int64_t j) { return value[i + j] * slope[i + j]; });
      tiles.write(width, dx + at,
                  [&](std::int64_t i, std::int64_t j) { return value[i + j] * (slope[i + j] - sum[j]); });
    }
  });
}

}  // namespace norma
