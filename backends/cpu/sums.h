// Sums along a row: blocks in T, which vectorize (the simd pragma permits reassociation of that loop alone),
// and f64 between blocks, so that the rounding error does not grow with the length. The order depends on the
// length only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "backends/cpu/scratch.h"
#include "backends/strided.h"

namespace norma {

// Elements; few enough that f32 keeps its digits even where a loop is not vectorized and adds one by one.
inline constexpr std::int64_t sum_block = 256;

/// Sum of term(i) for i in [0, n), in blocks of T.
template <class T, class Term>
double block_sum(std::int64_t n, Term&& term) {
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += sum_block) {
    const std::int64_t end = std::min(n, begin + sum_block);
    T partial = 0;
#pragma omp simd reduction(+ : partial)
    for (std::int64_t i = begin; i < end; ++i) partial += term(i);
    total += static_cast<double>(partial);
  }
  return total;
}

/// Two such sums in one pass: add(i, a, b) adds the terms of i to a and b.
template <class T, class Add>
std::pair<double, double> block_sums(std::int64_t n, Add&& add) {
  double total_a = 0, total_b = 0;
  for (std::int64_t begin = 0; begin < n; begin += sum_block) {
    const std::int64_t end = std::min(n, begin + sum_block);
    T a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
    for (std::int64_t i = begin; i < end; ++i) add(i, a, b);
    total_a += static_cast<double>(a);
    total_b += static_cast<double>(b);
  }
  return {total_a, total_b};
}

/// Calls body(begin, end) for the parts of a row. A long row is cut into parts of block_elements, which run
/// in parallel (serially inside a parallel region: many long rows).
template <class Body>
void along_row(std::int64_t n, Body&& body) {
  if (n <= block_elements) return body(std::int64_t{0}, n);
  parallel_for(n, block_elements, body);
}

/// block_sums for rows of any length: the sums of the parts of along_row, added in order.
template <class T, class Add>
std::pair<double, double> row_sums(std::int64_t n, Add&& add) {
  if (n <= block_elements) return block_sums<T>(n, add);
  using Pair = std::pair<double, double>;
  const std::int64_t parts = (n + block_elements - 1) / block_elements;
  Scratch<Pair> partials(parts);
  Pair* const partial = partials.data();
  parallel_for(n, block_elements, [&](std::int64_t begin, std::int64_t end) {
    partial[begin / block_elements] =
        block_sums<T>(end - begin, [&, begin](std::int64_t i, T& a, T& b) { add(begin + i, a, b); });
  });
  Pair total{0, 0};
  for (std::int64_t k = 0; k < parts; ++k) {
    total.first += partial[k].first;
    total.second += partial[k].second;
  }
  return total;
}

/// The same for one sum, of term(i).
template <class T, class Term>
double row_sum(std::int64_t n, Term&& term) {
  if (n <= block_elements) return block_sum<T>(n, term);
  return row_sums<T>(n, [&](std::int64_t i, T& a, T&) { a += term(i); }).first;
}

/// Largest of n >= 0 values, -inf for none. A NaN among them may or may not be returned.
template <class T>
T row_max(std::int64_t n, const T* x) {
  T largest = -std::numeric_limits<T>::infinity();
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

}  // namespace norma
