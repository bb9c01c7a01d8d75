// Neighbouring values reduced in packs: a run of any length by several packs side by side, short rows four at
// a time. What comes out depends on the values and their number only, not on where they lie.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "backends/cpu/short_rows.h"
#include "backends/reduction.h"

namespace norma {

/// a and b combined as Reduction<op, T>::merge combines them, whether values or packs. NaN wins.
template <Reduce op>
struct Merge {
  template <class Values>
  [[gnu::always_inline]] Values operator()(Values a, Values b) const {
    if constexpr (op == Reduce::sum) return a + b;
    if constexpr (op == Reduce::max) return ((a > b) | (a != a)) ? a : b;
    if constexpr (op == Reduce::min) return ((a < b) | (a != a)) ? a : b;
  }
};

/// What each lane has gathered of the values it met. Extremes are found by comparisons alone, which pass over
/// NaN; one that was met is kept beside.
template <Reduce op, class T>
class Gathered {
 public:
  [[gnu::always_inline]] static Pack<T> start() { return Pack<T>{} + Reduction<op, T>::template start<T>(); }
  [[gnu::always_inline]] void add(Pack<T> x) {
    if constexpr (op == Reduce::sum) all_ += x;
    if constexpr (op == Reduce::max) all_ = x > all_ ? x : all_;
    if constexpr (op == Reduce::min) all_ = x < all_ ? x : all_;
    if constexpr (has_nan) nan_ = x != x ? x : nan_;
  }
  [[gnu::always_inline]] Pack<T> value() const {
    if constexpr (has_nan) return nan_ != nan_ ? nan_ : all_;
    return all_;
  }

 private:
  static constexpr bool has_nan = op != Reduce::sum && std::is_floating_point_v<T>;
  Pack<T> all_ = start(), nan_{};
};

/// totals[k] = what is gathered in the lanes of four[k].
template <Reduce op, class T>
[[gnu::always_inline]] inline void total_of(const Gathered<op, T> (&four)[4], T* totals) {
  const Pack<T> packs[4] = {four[0].value(), four[1].value(), four[2].value(), four[3].value()};
  combine_lanes<T>(packs, totals, Merge<op>());
}

/// Of n values.
template <Reduce op, class T>
T reduce_run(std::int64_t n, const T* x) {
  constexpr std::int64_t lanes = pack_lanes<T>;
  Gathered<op, T> four[4];
  const AtPack<T> at;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) four[k].add(at.load(x + i + k * lanes));
  }
  for (; i + lanes <= n; i += lanes) four[0].add(at.load(x + i));
  T totals[4];
  total_of(four, totals);
  const Merge<op> merge;
  T total = merge(merge(totals[0], totals[1]), merge(totals[2], totals[3]));
  for (; i < n; ++i) total = merge(total, x[i]);
  return total;
}

/// Where x, a value or a pack, equals an extreme, or is NaN as the extreme then is.
template <class T, class Values>
[[gnu::always_inline]] inline auto is_extreme(Values x, T extreme) {
  if constexpr (std::is_floating_point_v<T>) {
    return (x == extreme) | (x != x);
  } else {
    return x == extreme;
  }
}

/// The place of the first of n values that equals their extreme, or, where that is NaN, is NaN.
template <class T>
std::int64_t place_of(T extreme, std::int64_t n, const T* x) {
  constexpr std::int64_t block = 64;
  std::int64_t i = 0;
  for (; i + block <= n; i += block) {
    int found = 0;
#pragma omp simd reduction(| : found)
    for (std::int64_t l = 0; l < block; ++l) found |= is_extreme(x[i + l], extreme);
    if (found != 0) break;
  }
  while (i < n - 1 && !is_extreme(x[i], extreme)) ++i;
  return i;
}

/// totals[k] of row[k] [d], where ShortRows::fit(d).
template <Reduce op, class T>
void reduce_short_rows(std::int64_t d, const T* const (&row)[4], T* totals) {
  Gathered<op, T> four[4];
  for_packs<T>(
      d, [&](std::int64_t j, auto at) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) four[k].add(at.load(row[k] + j, Gathered<op, T>::start()));
      });
  total_of(four, totals);
}

/// places[k] = the place of the first value of row[k] that equals its extreme, or, where that is NaN, is NaN.
template <Reduce op, class T>
void places_in_short_rows(std::int64_t d, const T* const (&row)[4], std::int64_t* places) {
  using Index = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  T extreme[4];
  reduce_short_rows<op>(d, row, extreme);
  Index lane[pack_lanes<T>];
  for (int l = 0; l < pack_lanes<T>; ++l) lane[l] = l;
  Pack<Index> index = AtPack<Index>().load(lane), first[4];
  for (auto& none : first) none = Pack<Index>{} + static_cast<Index>(d);
  for_packs<T>(
      d, [&](std::int64_t j, auto at) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
          const Pack<T> x = at.load(row[k] + j, Gathered<op, T>::start());
          first[k] = (is_extreme(x, extreme[k]) & (index < first[k])) ? index : first[k];
        }
        index += static_cast<Index>(pack_lanes<T>);
      });
  Index least[4];
  combine_lanes<Index>(first, least, Merge<Reduce::min>());
  std::copy(least, least + 4, places);
}

/// Calls body(first, count, row) for rows of x, `stride` apart, four at a time. The last ones come with a row
/// again, so that what is made of a row does not depend on its company: `count` are new.
template <class T, class Body>
void for_fours(std::int64_t rows, const T* x, std::int64_t stride, const Body& body) {
  for (std::int64_t first = 0; first < rows; first += 4) {
    const T* row[4];
    for (std::int64_t k = 0; k < 4; ++k) row[k] = x + std::min(first + k, rows - 1) * stride;
    body(first, std::min<std::int64_t>(4, rows - first), row);
  }
}

/// Rows of a parallel block. Where there is more than one block, there are a few for each thread, so that all
/// threads have about the same to do.
inline std::int64_t rows_per_block(std::int64_t rows, std::int64_t length) {
  if (rows * length <= block_elements) return std::max<std::int64_t>(1, rows);
  return std::max<std::int64_t>(1, block_elements / 4 / std::max<std::int64_t>(1, length));
}

}  // namespace norma
