// Sums along a row: its elements are dealt to lanes; lanes add in T, and f64 takes over after few additions,
// so that the rounding error does not grow with the length. Lanes do not wait for each other as the additions
// to one sum would. The order depends on the length only.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "backends/cpu/scratch.h"
#include "backends/strided.h"

namespace norma {

/// Lanes of each of `sums` sums: 64 bytes at least, a few vector registers together.
template <class T, int sums>
inline constexpr std::int64_t lanes_of = std::max<int>(64, 256 / sums) / static_cast<int>(sizeof(T));

/// Sum of n values, n a power of 2: the halves are added, and so on. Written with vectors, since compilers
/// make single additions of loops over so few values.
template <std::int64_t n, class T>
[[gnu::always_inline]] inline T sum_of_lanes(const T* x) {
  if constexpr (n == 1) {
    return x[0];
  } else {
    constexpr std::int64_t half = n / 2, width = std::min<std::int64_t>(half, 32 / sizeof(T));
    typedef T Vector __attribute__((vector_size(width * sizeof(T))));
    T sums[half];
#pragma GCC unroll 16
    for (std::int64_t i = 0; i < half; i += width) {
      Vector low, high;
      std::memcpy(&low, x + i, sizeof(Vector));
      std::memcpy(&high, x + half + i, sizeof(Vector));
      low += high;
      std::memcpy(sums + i, &low, sizeof(Vector));
    }
    return sum_of_lanes<half>(sums);
  }
}

/// Adds the terms of i, .., `width` at a time while they last, to the first `width` lanes of each sum.
/// Returns where it stopped.
template <std::int64_t width, class T, int count, std::int64_t lanes, class Add>
[[gnu::always_inline]] inline std::int64_t add_lanes(T (&at)[count][lanes], std::int64_t i, std::int64_t end,
                                                     Add& add) {
  for (; i + width <= end; i += width) {
#pragma omp simd
    for (std::int64_t l = 0; l < width; ++l) add(i + l, [&at, l](int k) -> T& { return at[k][l]; });
  }
  return i;
}

/// Sums over i in [0, n), all in one pass: add(i, sum) adds the terms of i to sum(0), sum(1), ... What is
/// left at the end of a single sum goes to fewer lanes, none of variable index, so that all are registers. Of
/// several sums it goes to the first lanes: compilers would pair the scalars of different sums, and with them
/// round products before they are added here but not there.
template <class T, int count = 1, class Add>
std::array<double, count> block_sums(std::int64_t n, Add add) {
  constexpr std::int64_t lanes = lanes_of<T, count>, block = 32 * lanes;  // 32 additions a lane
  std::array<double, count> totals{};
  for (std::int64_t begin = 0; begin < n; begin += block) {
    const std::int64_t end = std::min(n, begin + block);
    T many[count][lanes] = {}, rest = 0;
    std::int64_t i = add_lanes<lanes>(many, begin, end, add);
    if constexpr (count == 1) {
      if (i < end) {
        T few[1][4] = {}, one[1][1] = {};
        i = add_lanes<64 / sizeof(T)>(many, i, end, add);
        i = add_lanes<4>(few, i, end, add);
        add_lanes<1>(one, i, end, add);
        rest = sum_of_lanes<4>(few[0]) + one[0][0];
      }
    } else {
#pragma omp simd
      for (std::int64_t l = 0; l < end - i; ++l) add(i + l, [&many, l](int k) -> T& { return many[k][l]; });
    }
#pragma GCC unroll 8
    for (int k = 0; k < count; ++k) {
      totals[static_cast<std::size_t>(k)] += static_cast<double>(sum_of_lanes<lanes>(many[k]) + rest);
    }
  }
  return totals;
}

/// Sum of term(i).
template <class T, class Term>
double block_sum(std::int64_t n, Term term) {
  return block_sums<T>(n, [=](std::int64_t i, auto sum) { sum(0) += term(i); })[0];
}

/// Calls body(begin, end) for the parts of a row. A long row is cut into parts of block_elements, which run
/// in parallel (serially inside a parallel region: many long rows).
template <class Body>
void along_row(std::int64_t n, const Body& body) {
  if (n > block_elements) return parallel_for(n, block_elements, body);
  const Body local = body;  // of which no other thread has the address: what it holds stays in registers
  local(std::int64_t{0}, n);
}

/// block_sums for rows of any length: the sums of parts of `part_size`, like those of along_row, added in
/// order.
template <class T, int count = 1, class Add>
std::array<double, count> row_sums(std::int64_t n, const Add& add, std::int64_t part_size = block_elements) {
  if (n <= part_size) return block_sums<T, count>(n, add);
  using Sums = std::array<double, count>;
  const std::int64_t parts = (n + part_size - 1) / part_size;
  Scratch<Sums> partials(parts);
  Sums* const partial = partials.data();
  parallel_for(n, part_size, [&](std::int64_t begin, std::int64_t end) {
    partial[begin / part_size] =
        block_sums<T, count>(end - begin, [=](std::int64_t i, auto sum) { add(begin + i, sum); });
  });
  Sums totals{};
  for (std::int64_t part = 0; part < parts; ++part) {
    for (std::size_t k = 0; k < count; ++k) totals[k] += partial[part][k];
  }
  return totals;
}

/// The same for one sum, of term(i).
template <class T, class Term>
double row_sum(std::int64_t n, const Term& term, std::int64_t part_size = block_elements) {
  return row_sums<T>(
      n, [=](std::int64_t i, auto sum) { sum(0) += term(i); }, part_size)[0];
}

}  // namespace norma
