// Values of a row by groups of 16, in vector registers: what a loop over them adds up or compares stays
// there. What comes out does not depend on how wide the registers are.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/pack.h"
#include "backends/cpu/vector_math.h"

namespace norma {

inline constexpr int vector_lanes = 16;

/// 16 values in as many registers as they take. (GCC keeps one vector that is larger than a register in
/// memory and compares it element by element.) Values convert to a vector of 16 times the same.
template <class T>
class LaneVector {
 public:
  using Part = Pack<T>;
  static constexpr int width = pack_lanes<T>, parts = vector_lanes / width;
  /// All bits set where a comparison holds, none where not.
  using Mask = LaneVector<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>;

  LaneVector() = default;
  [[gnu::always_inline]] LaneVector(T value) {
    for (Part& to : part) to = value - Part{};
  }

  T operator[](int lane) const { return part[lane / width][lane % width]; }
  void set(int lane, T value) { part[lane / width][lane % width] = value; }

  [[gnu::always_inline]] friend LaneVector operator+(const LaneVector& a, const LaneVector& b) {
    return each([](Part x, Part y) { return x + y; }, a, b);
  }
  [[gnu::always_inline]] friend LaneVector operator-(const LaneVector& a, const LaneVector& b) {
    return each([](Part x, Part y) { return x - y; }, a, b);
  }
  [[gnu::always_inline]] friend LaneVector operator*(const LaneVector& a, const LaneVector& b) {
    return each([](Part x, Part y) { return x * y; }, a, b);
  }
  [[gnu::always_inline]] friend LaneVector operator/(const LaneVector& a, const LaneVector& b) {
    return each([](Part x, Part y) { return x / y; }, a, b);
  }
  [[gnu::always_inline]] LaneVector& operator+=(const LaneVector& b) { return *this = *this + b; }
  [[gnu::always_inline]] LaneVector& operator-=(const LaneVector& b) { return *this = *this - b; }
  [[gnu::always_inline]] LaneVector& operator*=(const LaneVector& b) { return *this = *this * b; }

  [[gnu::always_inline]] friend Mask operator<(const LaneVector& a, const LaneVector& b) {
    return Mask::each([](Part x, Part y) { return x < y; }, a, b);
  }
  [[gnu::always_inline]] friend Mask operator>(const LaneVector& a, const LaneVector& b) { return b < a; }
  [[gnu::always_inline]] friend Mask operator<=(const LaneVector& a, const LaneVector& b) {
    return Mask::each([](Part x, Part y) { return x <= y; }, a, b);
  }
  [[gnu::always_inline]] friend Mask operator==(const LaneVector& a, const LaneVector& b) {
    return Mask::each([](Part x, Part y) { return x == y; }, a, b);
  }
  [[gnu::always_inline]] friend Mask operator!=(const LaneVector& a, const LaneVector& b) {
    return Mask::each([](Part x, Part y) { return x != y; }, a, b);
  }

  // Of masks.
  [[gnu::always_inline]] friend LaneVector operator&(const LaneVector& a, const LaneVector& b) {
    return each([](Part x, Part y) { return x & y; }, a, b);
  }
  [[gnu::always_inline]] friend LaneVector operator|(const LaneVector& a, const LaneVector& b) {
    return each([](Part x, Part y) { return x | y; }, a, b);
  }
  [[gnu::always_inline]] friend LaneVector operator~(const LaneVector& a) {
    return each([](Part x) { return ~x; }, a);
  }

  /// a where the mask is set, b elsewhere.
  [[gnu::always_inline]] friend LaneVector pick(const Mask& mask, const LaneVector& a, const LaneVector& b) {
    return each([](typename Mask::Part m, Part x, Part y) { return m ? x : y; }, mask, a, b);
  }
  /// The bits of each value moved to the left.
  [[gnu::always_inline]] friend LaneVector shifted_left(const LaneVector& a, int places) {
    using Bits = typename Mask::Part;
    return each([=](Part x) { return reinterpret_cast<Bits>(x) << places; }, a);
  }

  /// value(part of each vector) for every part.
  template <class Value, class... Vectors>
  [[gnu::always_inline]] static LaneVector each(const Value& value, const Vectors&... x) {
    LaneVector result;
#pragma GCC unroll 8
    for (int i = 0; i < parts; ++i) result.part[i] = reinterpret_cast<Part>(value(x.part[i]...));
    return result;
  }

  Part part[parts];
};

template <class Vector, class T>
[[gnu::always_inline]] inline void load(Vector& x, const T* from) {
  std::memcpy(&x, from, sizeof x);
}
template <class Vector, class T>
[[gnu::always_inline]] inline void store(T* to, const Vector& x) {
  std::memcpy(to, &x, sizeof x);
}
template <class T>
[[gnu::always_inline]] inline void load(LaneVector<T>& x, const T* from) {
#pragma GCC unroll 8
  for (int i = 0; i < x.parts; ++i) load(x.part[i], from + i * x.width);
}
template <class T>
[[gnu::always_inline]] inline void store(T* to, const LaneVector<T>& x) {
#pragma GCC unroll 8
  for (int i = 0; i < x.parts; ++i) store(to + i * x.width, x.part[i]);
}

/// x = from[0], from[stride], ..: a constant stride of 2 is read as two vectors.
template <class T>
[[gnu::always_inline]] inline void load_strided(LaneVector<T>& x, const T* from, std::int64_t stride) {
  for (int i = 0; i < x.parts; ++i) {
    Pack<T> values{};
#pragma GCC unroll 16
    for (int lane = 0; lane < x.width; ++lane) values[lane] = from[(i * x.width + lane) * stride];
    x.part[i] = values;
  }
}
template <class T>
[[gnu::always_inline]] inline void load_strided(LaneVector<T>& x, const T* from,
                                                std::integral_constant<std::int64_t, 1>) {
  load(x, from);
}
template <class T>
[[gnu::always_inline]] inline void load_strided(LaneVector<T>& x, const T* from,
                                                std::integral_constant<std::int64_t, 2>) {
  for (int i = 0; i < x.parts; ++i, from += 2 * x.width) {
    Pack<T> first, second;
    load(first, from), load(second, from + x.width);
    [&]<int... lane>(std::integer_sequence<int, lane...>) {
      x.part[i] = __builtin_shufflevector(first, second, 2 * lane...);
    }
    (std::make_integer_sequence<int, LaneVector<T>::width>());
  }
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

[[gnu::always_inline]] inline LaneVector<double> widened(const LaneVector<double>& x) { return x; }
[[gnu::always_inline]] inline LaneVector<double> widened(const LaneVector<float>& x) {
  LaneVector<double> y;
  constexpr int half = LaneVector<double>::width;
  for (int i = 0; i < x.parts; ++i) {
    [&]<int... lane>(std::integer_sequence<int, lane...>) {
      const VectorOf<float, half> low = __builtin_shufflevector(x.part[i], x.part[i], lane...),
                                  high = __builtin_shufflevector(x.part[i], x.part[i], (lane + half)...);
      y.part[2 * i] = __builtin_convertvector(low, Pack<double>);
      y.part[2 * i + 1] = __builtin_convertvector(high, Pack<double>);
    }
    (std::make_integer_sequence<int, half>());
  }
  return y;
}

namespace detail {

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
template <class T, class Combine>
[[gnu::always_inline]] inline T fold(LaneVector<T> x, const Combine& combine) {
#pragma GCC unroll 4
  for (int half = x.parts / 2; half > 0; half /= 2) {
#pragma GCC unroll 4
    for (int i = 0; i < half; ++i) combine(x.part[i], x.part[i + half]);
  }
  return fold<T, LaneVector<T>::width>(x.part[0], combine);
}

}  // namespace detail

template <class T>
[[gnu::always_inline]] inline T sum_of(const LaneVector<T>& x) {
  return detail::fold(x, [](auto& a, const auto& b) { a += b; });
}
/// Largest of values none of which is NaN.
template <class T>
[[gnu::always_inline]] inline T largest_of(const LaneVector<T>& x) {
  return detail::fold(x, [](auto& a, const auto& b) { a = a > b ? a : b; });
}
/// top = the larger of both; NaN in x is passed over.
template <class T>
[[gnu::always_inline]] inline void take_larger(LaneVector<T>& top, const LaneVector<T>& x) {
  top = LaneVector<T>::each([](Pack<T> a, Pack<T> b) { return b > a ? b : a; }, top, x);
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
