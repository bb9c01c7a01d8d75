// Short rows, sixteen at a time, turned into columns: a vector holds the same place of sixteen rows, so that
// what is added up or compared along rows are whole vectors, and no lane is idle whatever the length. What
// comes out for a row depends on its values only, not on where it stands or what stands beside it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "backends/cpu/lane_vector.h"
#include "backends/statistics.h"
#include "backends/strided.h"

namespace norma {

template <class T>
class TurnedRows {
 public:
  using Vector = LaneVector<T>;
  static constexpr std::int64_t most = vector_lanes;  // rows
  /// So that sums in T are of 32 values (sum). In f64 every exponential is a call, and longer rows gain
  /// nothing.
  static constexpr std::int64_t longest = sizeof(T) == 4 ? 128 : 32;

  static bool fit(std::int64_t d) { return d <= longest; }

  /// Rows [0, count) of x, d apart; room for as many when there is none. Lanes without a row hold the last.
  TurnedRows(std::int64_t count, std::int64_t d, const T* x = nullptr) : count_(count), d_(d) {
    for (std::int64_t first = 0; x != nullptr && first < most; first += 4) {
      const auto row = [=](std::int64_t k) { return x + std::min(first + k, count - 1) * d; };
      const T* const from[4] = {row(0), row(1), row(2), row(3)};
      std::int64_t j = 0;
      for (; j + 4 <= d; j += 4) {
        Four four[4];
        for (int k = 0; k < 4; ++k) load(four[k], from[k] + j);
        turn(four);
        for (int k = 0; k < 4; ++k) store(values_ + (j + k) * most + first, four[k]);
      }
      for (; j < d; ++j) {
        for (int k = 0; k < 4; ++k) values_[j * most + first + k] = from[k][j];
      }
    }
  }
  void write(T* y) const {
    std::int64_t first = 0;
    for (; first + 4 <= count_; first += 4) {
      T* const to = y + first * d_;
      std::int64_t j = 0;
      for (; j + 4 <= d_; j += 4) {
        Four four[4];
        for (int k = 0; k < 4; ++k) load(four[k], values_ + (j + k) * most + first);
        turn(four);
        for (int k = 0; k < 4; ++k) store(to + k * d_ + j, four[k]);
      }
      for (; j < d_; ++j) {
        for (int k = 0; k < 4; ++k) to[k * d_ + j] = values_[j * most + first + k];
      }
    }
    for (; first < count_; ++first) {
      for (std::int64_t j = 0; j < d_; ++j) y[first * d_ + j] = values_[j * most + first];
    }
  }

  /// Place j of all rows.
  [[gnu::always_inline]] const T* at(std::int64_t j) const { return values_ + j * most; }
  [[gnu::always_inline]] T* at(std::int64_t j) { return values_ + j * most; }

  /// The largest of each row, -inf for none. NaN is passed over.
  void largest(Vector& top) const {
    top = -std::numeric_limits<T>::infinity();
    for (std::int64_t j = 0; j < d_; ++j) {
      Vector x;
      load(x, at(j));
      take_larger(top, x);
    }
  }
  /// total = the sum of each row's terms: term(x, j) makes x that of place j. Four sums go side by side.
  template <class Term>
  [[gnu::always_inline]] void sum(Vector& total, const Term& term) const {
    Vector sums[4] = {};
    std::int64_t j = 0;
    for (; j + 4 <= d_; j += 4) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        Vector x;
        term(x, j + k);
        sums[k] += x;
      }
    }
    for (int k = 0; j < d_; ++j, ++k) {
      Vector x;
      term(x, j);
      sums[k] += x;
    }
    total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
  /// value(y, j) makes y what is to stand at place j.
  template <class Value>
  [[gnu::always_inline]] void set(const Value& value) {
    for (std::int64_t j = 0; j < d_; ++j) {
      Vector y;
      value(y, j);
      store(at(j), y);
    }
  }

 private:
  using Four = VectorOf<T, 4>;

  /// Rows and columns of four by four change places.
  [[gnu::always_inline]] static void turn(Four (&x)[4]) {
    const Four ab = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5),
               ba = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7),
               cd = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5),
               dc = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    x[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    x[2] = __builtin_shufflevector(ba, dc, 0, 1, 4, 5);
    x[3] = __builtin_shufflevector(ba, dc, 2, 3, 6, 7);
  }

  std::int64_t count_, d_;
  alignas(64) T values_[longest * most];  // [d, most]
};

/// Calls body(first, count) for all rows, at most TurnedRows::most at a time, in parallel blocks.
template <class Body>
void for_turned_rows(Rows n, const Body& body) {
  constexpr std::int64_t most = TurnedRows<float>::most;
  if (n.rows == 0) return;
  const std::int64_t groups = (n.rows + most - 1) / most, group = most * std::max<std::int64_t>(1, n.d);
  // Where there is more than one block, there are a few for each thread.
  const bool one = groups * group <= block_elements;
  parallel_for(groups, one ? groups : std::max<std::int64_t>(1, block_elements / 4 / group),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t first = begin * most; first < std::min(n.rows, end * most); first += most)
                   body(first, std::min(most, n.rows - first));
               });
}

}  // namespace norma
