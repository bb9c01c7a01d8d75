// What the fused row kernels share: blocks of rows, and parameter gradients.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "backends/cpu/scratch.h"
#include "backends/cpu/short_rows.h"
#include "backends/cpu/sums.h"
#include "backends/statistics.h"
#include "backends/strided.h"

namespace norma {

/// Fewer rows than a row has parts: then the threads share one row after the other (along_row, row_sums)
/// instead of taking a row each.
inline bool shares_rows(Rows n) { return n.rows * block_elements < n.d; }

/// The one row that a body takes at a time.
struct OneRow {
  static constexpr int count = 1;
};

/// Calls body(r, rows) for the rows of [first, last): short ones by ShortRows, which share what there is to
/// do for a column, the others one by one: each is to stay in L1, with what else belongs to it, from pass to
/// pass.
template <class Body>
void in_turns(std::int64_t d, std::int64_t first, std::int64_t last, const Body& body) {
  std::int64_t r = first;
  while (ShortRows::fit(d) && last - r >= 4) {
    const ShortRows rows{static_cast<int>(std::min<std::int64_t>(ShortRows::most, (last - r) / 4 * 4))};
    body(r, rows);
    r += rows.count;
  }
  for (; r < last; ++r) body(r, OneRow());
}

/// Calls body(r, rows) for all rows, in parallel blocks of about block_elements elements, or one
/// by one when the rows are so long that the body itself is parallel.
template <class Body>
void for_rows(Rows n, const Body& body) {
  const std::int64_t block = std::max<std::int64_t>(1, block_elements / std::max<std::int64_t>(1, n.d));
  if (shares_rows(n)) return in_turns(n.d, 0, n.rows, body);
  parallel_for(n.rows, block, [&](std::int64_t begin, std::int64_t end) { in_turns(n.d, begin, end, body); });
}

/// The same with body(r) for every row.
template <class Body>
void for_each_row(Rows n, const Body& body) {
  for_rows(n, [&](std::int64_t first, auto rows) {
    for (std::int64_t r = first; r < first + rows.count; ++r) body(r);
  });
}

/// to[j] = value(j) * weight[j] + bias[j]; weight and bias may be absent.
template <class T, class Value>
void write_affine(std::int64_t d, T* to, const T* weight, const T* bias, Value value) {
  along_row(d, [=](std::int64_t begin, std::int64_t end) {
    if (weight != nullptr && bias != nullptr) {
#pragma omp simd
      for (std::int64_t j = begin; j < end; ++j) to[j] = value(j) * weight[j] + bias[j];
    } else if (weight != nullptr) {
#pragma omp simd
      for (std::int64_t j = begin; j < end; ++j) to[j] = value(j) * weight[j];
    } else if (bias != nullptr) {
#pragma omp simd
      for (std::int64_t j = begin; j < end; ++j) to[j] = value(j) + bias[j];
    } else {
#pragma omp simd
      for (std::int64_t j = begin; j < end; ++j) to[j] = value(j);
    }
  });
}

/// The same for short rows [rows, d], in packs: value(k, j, at) of row k.
template <class T, class Value>
void write_affine(ShortRows rows, std::int64_t d, T* to, const T* weight, const T* bias, Value value) {
  const auto write = [=](auto weighted, auto biased) {
    for (int first = 0; first < rows.count; first += 4) {
      for_packs<T>(
          d, [=](std::int64_t j, auto at) __attribute__((always_inline)) {
            const Pack<T> slope = weighted ? at.load(weight + j) : Pack<T>{};
            const Pack<T> shift = biased ? at.load(bias + j) : Pack<T>{};
#pragma GCC unroll 4
            for (int k = first; k < first + 4; ++k) {
              Pack<T> y = value(k, j, at);
              if constexpr (weighted) y = y * slope;
              if constexpr (biased) y = y + shift;
              at.store(to + k * d + j, y);
            }
          });
    }
  };
  constexpr std::true_type yes;
  constexpr std::false_type no;
  if (weight != nullptr) return bias != nullptr ? write(yes, yes) : write(yes, no);
  bias != nullptr ? write(no, yes) : write(no, no);
}

/// `count` values of the input from `first` on: x, or, where there is a residual, x + residual, which is
/// written to sum.
template <class T>
const T* with_residual(std::int64_t first, std::int64_t count, T* sum, const T* x, const T* residual) {
  if (residual == nullptr) return x + first;
  along_row(count,
            [to = sum + first, a = x + first, b = residual + first](std::int64_t begin, std::int64_t end) {
#pragma omp simd
              for (std::int64_t j = begin; j < end; ++j) to[j] = a[j] + b[j];
            });
  return sum + first;
}

/// Calls use(g) with g(dy, j, at) = dy * weight[j], or dy where there is no weight.
template <class T, class Use>
void with_weight(const T* weight, Use&& use) {
  if (weight != nullptr) {
    use([=](auto dy, std::int64_t j, auto at)
            __attribute__((always_inline)) { return dy * at.load(weight + j); });
  } else {
    use([](auto dy, std::int64_t, auto) __attribute__((always_inline)) { return dy; });
  }
}

/// *to += value, of an element or a pack.
template <class T, class At, class Value>
[[gnu::always_inline]] inline void add_to(T* to, At at, Value value) {
  at.store(to, at.load(to) + value);
}

/// Sums over rows of `count` vectors of length d (gradients of weight and bias). Rows are dealt to at most
/// max_groups groups; a group adds `step` rows in T, then adds that to its f64 sums; the groups are combined
/// in order. No atomics, the same bits for any thread count, and no loss of digits over many rows.
template <class T>
class ColumnSums {
 public:
  ColumnSums(Rows n, int count)
      : n_(n),
        count_(count),
        group_(group_of(n)),
        groups_((n.rows + group_ - 1) / group_),
        sums_(groups_ * width()),
        totals_(groups_ * width()) {}

  /// Calls body(r, rows, sums) for all rows; sums[k * d + j] belongs to vector k.
  template <class Body>
  void for_rows(const Body& body) {
    const auto groups = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t g = begin; g < end; ++g) add_group(g, body);
    };
    if (shares_rows(n_)) return groups(0, groups_);
    parallel_for(groups_,
                 std::max<std::int64_t>(1, block_elements / std::max<std::int64_t>(1, group_ * n_.d)),
                 groups);
  }

  /// Writes the total of vector k to out [d].
  void total(int k, T* out) {
    const double* totals = totals_.data() + k * n_.d;
    const std::int64_t block = std::max<std::int64_t>(64, block_elements / (groups_ + 1));
    parallel_for(n_.d, block, [=, this](std::int64_t begin, std::int64_t end) {
      if (groups_ == 1) {
        for (std::int64_t j = begin; j < end; ++j) out[j] = static_cast<T>(totals[j]);
        return;
      }
      for (std::int64_t first = begin; first < end; first += tile) {
        const std::int64_t last = std::min(end, first + tile);
        double sums[tile] = {};
        for (std::int64_t g = 0; g < groups_; ++g) {
          for (std::int64_t j = first; j < last; ++j) sums[j - first] += totals[g * width() + j];
        }
        for (std::int64_t j = first; j < last; ++j) out[j] = static_cast<T>(sums[j - first]);
      }
    });
  }

 private:
  static constexpr std::int64_t step = 32;  // rows added in T
  static constexpr std::int64_t max_groups = 64;
  static constexpr std::int64_t tile = 128;  // columns of a total at a time

  static std::int64_t group_of(Rows n) {
    // No more of them than parallel blocks: each costs a row of f64.
    const std::int64_t groups = std::clamp<std::int64_t>(n.rows * n.d / block_elements, 1, max_groups);
    const std::int64_t rows = (n.rows + groups - 1) / groups;
    return std::max(step, (rows + step - 1) / step * step);
  }
  std::int64_t width() const { return count_ * n_.d; }

  template <class Body>
  void add_group(std::int64_t g, const Body& body) {
    T* const sums = sums_.data() + g * width();
    double* const totals = totals_.data() + g * width();
    const std::int64_t last = std::min(n_.rows, (g + 1) * group_);
    for (std::int64_t first = g * group_; first < last; first += step) {
      along_row(width(),
                [=](std::int64_t begin, std::int64_t end) { std::fill(sums + begin, sums + end, T(0)); });
      in_turns(n_.d, first, std::min(last, first + step),
               [&](std::int64_t r, auto rows) { body(r, rows, sums); });
      const bool is_first = first == g * group_;
      along_row(width(), [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t j = begin; j < end; ++j)
          totals[j] = (is_first ? 0 : totals[j]) + static_cast<double>(sums[j]);
      });
    }
  }

  Rows n_;
  int count_;
  std::int64_t group_, groups_;
  Scratch<T> sums_;         // [groups, count, d]
  Scratch<double> totals_;  // [groups, count, d]
};

}  // namespace norma
