// Values of a row by groups of 16, as vectors of GCC and clang: what a loop over them adds up or compares
// stays in registers. Vectors are handed on as references, since the ABI of vector arguments has variants.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/vector_math.h"

namespace norma {

template <class T, int n>
using VectorOf __attribute__((vector_size(n * sizeof(T)))) = T;

inline constexpr int vector_lanes = 16;
template <class T>
using LaneVector = VectorOf<T, vector_lanes>;

template <class Vector, class T>
[[gnu::always_inline]] inline void load(Vector& x, const T* from) {
  std::memcpy(&x, from, sizeof x);
}
template <class Vector, class T>
[[gnu::always_inline]] inline void store(T* to, const Vector& x) {
  std::memcpy(to, &x, sizeof x);
}

/// x = from[0], from[stride], ..: a constant stride of 2 is read as two vectors.
template <class Vector, class T>
[[gnu::always_inline]] inline void load_strided(Vector& x, const T* from, std::int64_t stride) {
  for (int lane = 0; lane < vector_lanes; ++lane) x[lane] = from[lane * stride];
}
template <class Vector, class T>
[[gnu::always_inline]] inline void load_strided(Vector& x, const T* from,
                                                std::integral_constant<std::int64_t, 1>) {
  load(x, from);
}
template <class Vector, class T>
[[gnu::always_inline]] inline void load_strided(Vector& x, const T* from,
                                                std::integral_constant<std::int64_t, 2>) {
  Vector first, second;
  load(first, from), load(second, from + vector_lanes);
  [&]<int... i>(std::integer_sequence<int, i...>) { x = __builtin_shufflevector(first, second, 2 * i...); }
  (std::make_integer_sequence<int, vector_lanes>());
}
/// Calls body(stride), with a constant where it is 1 or 2.
template <class Body>
void with_stride(std::int64_t stride, const Body& body) {
  if (stride == 1) {
    body(std::integral_constant<std::int64_t, 1>());
  } else if (stride == 2) {
    body(std::integral_constant<std::int64_t, 2>());
  } else {
    body(stride);
  }
}

/// The n values combined: the halves, then the halves of what comes out, and so on. combine(a, b): a takes b.
template <class T, int n, class Combine>
[[gnu::always_inline]] inline T fold(const VectorOf<T, n>& x, const Combine& combine) {
  if constexpr (n == 2) {
    T a = x[0];
    combine(a, T(x[1]));
    return a;
  } else {
    return [&]<int... i>(std::integer_sequence<int, i...>) {
      VectorOf<T, n / 2> low = __builtin_shufflevector(x, x, i...);
      const VectorOf<T, n / 2> high = __builtin_shufflevector(x, x, (i + n / 2)...);
      combine(low, high);
      return fold<T, n / 2>(low, combine);
    }
    (std::make_integer_sequence<int, n / 2>());
  }
}

template <class T>
[[gnu::always_inline]] inline T sum_of(const LaneVector<T>& x) {
  return fold<T, vector_lanes>(x, [](auto& a, const auto& b) { a += b; });
}
/// Largest of values none of which is NaN.
template <class T>
[[gnu::always_inline]] inline T largest_of(const LaneVector<T>& x) {
  return fold<T, vector_lanes>(x, [](auto& a, const auto& b) { a = a > b ? a : b; });
}

/// x becomes e^x, x <= 40.
template <class T>
[[gnu::always_inline]] inline void exp_negative(LaneVector<T>& x) {
  if constexpr (sizeof(T) == 4) {
    detail::raise_exp_negative(x);
  } else {
    detail::f64_math::raise_exp_negative(x);
  }
  x *= T(0x1p-64);
}

}  // namespace norma
