// Neighbouring values reduced in packs: a run of any length by several packs side by side, short rows four at
// a time. What comes out depends on the values and their number only, not on where they lie.
#pragma once

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
    if constexpr (op == Reduce::max) return (a > b) | (a != a) ? a : b;
    if constexpr (op == Reduce::min) return (a < b) | (a != a) ? a : b;
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

}  // namespace norma
