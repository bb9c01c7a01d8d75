// Functions of f32 without branches or calls, so that loops over them vectorize. The largest errors over all
// 2^32 floats, in ulp: exp 1.05 (of arguments <= 40: 0.92), expm1 1.59, log 0.81, log1p 1.39, softplus 1.80,
// tanh 1.44, erf 1.28, sin and cos 1.53 (|x| <= vector_turn_limit); pow 0.54 over exponents and floats by
// sample. NaN, infinities, zeros and subnormals come out as in libm. The polynomials are weighted
// least-squares fits to the functions on the reduced range, made for this file. f64: vector_math_f64.h; its
// pow is libm's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "backends/cpu/vector_math_f64.h"

namespace norma {

inline double vector_pow(double x, double y) { return std::pow(x, y); }

namespace detail {

constexpr float infinity = std::numeric_limits<float>::infinity(),
                nan = std::numeric_limits<float>::quiet_NaN();

/// c ? a : b by masks: a chain of ?: over related conditions becomes jumps, and the loop stays scalar.
inline float select(bool c, float a, float b) {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(c);
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(a) & mask) |
                              (std::bit_cast<std::uint32_t>(b) & ~mask));
}

inline float power_of_two(std::int32_t n) {  // n in [-126, 127]
  return std::bit_cast<float>((n + 127) << 23);
}

/// (e^r - 1 - r) / r^2 for r in [-ln 2 / 2, ln 2 / 2]; X: float or a vector of them.
template <class X>
[[gnu::always_inline]] inline void exp_quotient(X& p, const X& r) {
  p = 1.3950543e-3f * r + 8.3690419e-3f;
  p = p * r + 4.1666205e-2f;
  p = p * r + 1.6666518e-1f;
  p = p * r + 5.0000001e-1f;
}

// What LaneVector has as well.
inline float pick(bool c, float a, float b) { return c ? a : b; }
inline float shifted_left(float x, int places) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) << places);
}

/// x becomes 2^64 e^x; X: float or a LaneVector of them.
template <class X>
[[gnu::always_inline]] inline void raise_exp_negative(X& x) {
  constexpr float shift = 12582912.0f + 127.0f + 64.0f;
  const X shifted = x * 1.44269504f + shift;
  const X n = shifted - shift;
  X r = x - n * 0.693359375f, p;
  r = r + n * 2.12194440e-4f;
  exp_quotient(p, r);
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const X least = -104.0f;  // e^-104 rounds to 0; -infinity made a NaN of p
  x = pick(x < least, X{}, p * shifted_left(shifted, 23));
}

}  // namespace detail

/// e^x = 2^n e^r with r in [-ln 2 / 2, ln 2 / 2].
inline float vector_exp(float x) {
  x = x < -104.0f ? -104.0f : x;  // e^-104 rounds to 0, e^89 overflows; NaN passes both comparisons
  x = x > 89.0f ? 89.0f : x;
  constexpr float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer held in the low bits
  const float shifted = x * 1.44269504f + shift;
  const float n = shifted - shift;
  float r = x - n * 0.693359375f;  // ln 2 in two parts, the first exact in 9 bits
  r = r + n * 2.12194440e-4f;
  float p;
  detail::exp_quotient(p, r);
  p = p * (r * r) + r + 1.0f;
  // 2^n as a product of two, so that results below 2^-126 and above 2^127 are reached.
  const std::int32_t whole = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(shift);
  const std::int32_t half = whole >> 1;
  return p * detail::power_of_two(half) * detail::power_of_two(whole - half);
}

/// 2^64 e^x for x <= 40: no subnormals, so sums of these are scaled back once, at their end.
inline float raised_exp_negative(float x) {
  detail::raise_exp_negative(x);
  return x;
}

/// e^x for x <= 40, as softmax and sigmoid need it, by fewer instructions: the number that rounds to n also
/// puts n + 64 where a float has its exponent, and what overflowed there is no case.
inline float vector_exp_negative(float x) { return raised_exp_negative(x) * 0x1p-64f; }

namespace detail {

/// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), for positive finite x.
struct Split {
  float e, f;
};
inline Split split(float x) {
  const bool tiny = x < 1.17549435e-38f;  // subnormals are scaled up by 2^24
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(select(tiny, x * 16777216.0f, x));
  const std::int32_t exponent = static_cast<std::int32_t>(bits - 0x3F3504F3u) >> 23;  // 0x3F3504F3: sqrt(1/2)
  const float f = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(exponent) << 23)) - 1.0f;
  return {static_cast<float>(exponent) - select(tiny, 24.0f, 0.0f), f};
}

/// e ln 2 + ln(1 + f)
inline float log_of(float e, float f) {
  float p = 6.9099307e-2f;
  p = p * f - 1.1787005e-1f;
  p = p * f + 1.1873939e-1f;
  p = p * f - 1.2384893e-1f;
  p = p * f + 1.4218597e-1f;
  p = p * f - 1.6669217e-1f;
  p = p * f + 2.0002229e-1f;
  p = p * f - 2.4999987e-1f;
  p = p * f + 3.3333310e-1f;
  const float square = f * f;
  const float y = p * f * square - e * 2.12194440e-4f - 0.5f * square;
  return y + f + e * 0.693359375f;
}

}  // namespace detail

inline float vector_log(float x) {
  const detail::Split parts = detail::split(x);
  float y = detail::log_of(parts.e, parts.f);
  y = detail::select(x <= 3.40282347e38f, y, x);  // infinity, NaN
  y = detail::select(x == 0.0f, -detail::infinity, y);
  return detail::select(x < 0.0f, detail::nan, y);
}

/// 1 + x = 2^e (1 + f). What is rounded off in 1 + x comes back in f = 2^-e x + (2^-e - 1), where 2^-e is
/// taken off the exponent of x: this is exact, since |x| > 0.29 unless e = 0.
inline float vector_log1p(float x) {
  const float sum = 1.0f + x;
  std::int32_t e = static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(sum) - 0x3F3504F3u) >> 23;
  const float scaled =
      std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) - (static_cast<std::uint32_t>(e) << 23));
  const float shift = detail::power_of_two(e > 126 ? -126 : -e) - 1.0f;
  float y = std::copysign(detail::log_of(static_cast<float>(e), scaled + shift), x);
  y = detail::select(x <= 3.40282347e38f, y, x);
  y = detail::select(x == -1.0f, -detail::infinity, y);
  return detail::select(x < -1.0f, detail::nan, y);
}

/// log(1 + e^x) = max(x, 0) + log(1 + e), e = e^-|x|. 1 + e, in [1, 2], is 1 + f or 2 (1 + f).
inline float vector_softplus(float x) {
  const float e = vector_exp_negative(-std::fabs(x));
  const bool twice = e > 0.41421356f;
  return (x > 0.0f ? x : 0.0f) + detail::log_of(twice ? 1.0f : 0.0f, twice ? 0.5f * e - 0.5f : e);
}

/// e^x - 1 = 2^n (e^r - 1) + (2^n - 1), by halves, since 2^128 overflows.
inline float vector_expm1(float x) {
  float c = x < -18.0f ? -18.0f : x;  // e^-18 - 1 rounds to -1, e^89 overflows
  c = c > 89.0f ? 89.0f : c;
  constexpr float shift = 12582912.0f;
  const float shifted = c * 1.44269504f + shift;
  const float n = shifted - shift;
  float r = c - n * 0.693359375f, p;
  r = r + n * 2.12194440e-4f;
  detail::exp_quotient(p, r);
  p = p * (r * r) + r;
  const std::int32_t whole = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(shift);
  const float half = detail::power_of_two(whole - 1);
  return std::copysign(2.0f * (half * p + (half - 0.5f)), x);
}

/// x^y = 2^(y log2 |x|) in f64, which rounds right almost always: what is exact (3^4) comes out exact.
[[gnu::always_inline]] inline float vector_pow(float x, float y) {
  const float a = std::fabs(x);
  detail::Split parts = detail::split(a);
  parts.e = detail::select(a == 0.0f, -detail::infinity, parts.e);
  parts.e = detail::select(a <= 3.40282347e38f, parts.e, a);  // infinity, NaN
  const double f = static_cast<double>(parts.f);
  const double g = f * f;
  double p = 7.95400762899928643e-02;  // log2(1 + f) / f = p(f^2) + f o(f^2): two short chains
  p = p * g + 1.44461088046298924e-01;
  p = p * g + 1.58764175953248682e-01;
  p = p * g + 2.06177507642082231e-01;
  p = p * g + 2.88537201884967787e-01;
  p = p * g + 4.80898362507269528e-01;
  p = p * g + 1.44269504086678135e+00;
  double o = -1.44417808538103043e-01;
  o = o * g - 1.42769540844172427e-01;
  o = o * g - 1.80335749845347726e-01;
  o = o * g - 2.40451732587161793e-01;
  o = o * g - 3.60673699437983997e-01;
  o = o * g - 7.21347520746269844e-01;
  p = p + o * f;
  double t = static_cast<double>(y) * (p * f + static_cast<double>(parts.e));
  t = t < -160.0 ? -160.0 : t;  // beyond the range of f32; NaN passes both comparisons
  t = t > 160.0 ? 160.0 : t;
  constexpr double shift = 6755399441055744.0;  // 1.5 * 2^52
  const double shifted = t + shift;
  const double r = t - (shifted - shift);
  double q = 1.54744793748896805e-04;  // (2^r - 1) / r
  q = q * r + 1.34003362832640742e-03;
  q = q * r + 9.61801076306678833e-03;
  q = q * r + 5.55032755174963560e-02;
  q = q * r + 2.40226512851478224e-01;
  q = q * r + 6.93147206444145070e-01;
  q = q * r + 1.0;
  // n, the low bits of shifted, is added to the exponent; those of a NaN are 0.
  const float power = static_cast<float>(
      std::bit_cast<double>(std::bit_cast<std::uint64_t>(q) + (std::bit_cast<std::uint64_t>(shifted) << 52)));
  const bool whole = std::floor(y) == y, odd = whole & (std::floor(0.5f * y) != 0.5f * y);
  float z = detail::select((y == 0.0f) | (a == 1.0f), 1.0f, power);
  z = detail::select(odd, std::copysign(z, x), z);
  return detail::select((x < 0.0f) & (x >= -3.40282347e38f) & !whole, detail::nan, z);
}

namespace detail {

/// r = x - n pi/2 with |r| <= pi/4, in f64, where an r near 0 keeps its digits, and the quadrant: n in the
/// low bits.
struct Turn {
  float r;
  std::uint32_t quadrant;
};
inline Turn turn(float x) {
  constexpr float shift = 12582912.0f;
  const float shifted = x * 0.636619772f + shift;
  const double n = static_cast<double>(shifted - shift);
  double r = static_cast<double>(x) - n * 1.57079632673412561417;  // pi/2 in two parts, the first of 33 bits
  r = r - n * 6.07710050650619224932e-11;
  return {static_cast<float>(r), std::bit_cast<std::uint32_t>(shifted)};
}

/// sin of quadrant pi/2 + r
inline float sin_of(float r, std::uint32_t quadrant) {
  const float s = r * r;
  float p = -1.95172310e-04f;
  p = p * s + 8.33217800e-03f;
  p = p * s - 1.66666552e-01f;
  p = p * s + 0.0f;  // -0 would cost r its sign
  const float sine = p * r + r;
  float q = 2.44383718e-05f;
  q = q * s - 1.38873665e-03f;
  q = q * s + 4.16666456e-02f;
  q = q * s - 0.5f;
  const float cosine = q * s + 1.0f;
  const float y = select((quadrant & 1u) != 0, cosine, sine);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(y) ^ ((quadrant & 2u) << 30));
}

}  // namespace detail

inline float vector_sin(float x) {
  const detail::Turn t = detail::turn(x);
  return detail::sin_of(t.r, t.quadrant);
}
inline float vector_cos(float x) {
  const detail::Turn t = detail::turn(x);
  return detail::sin_of(t.r, t.quadrant + 1u);
}

/// A polynomial near zero, where the form by e = exp(-2 |x|) cancels; 1 - 2 e / (1 + e) elsewhere.
inline float vector_tanh(float x) {
  const float a = std::fabs(x), s = x * x;
  float p = -5.6600359e-3f;
  p = p * s + 2.0601253e-2f;
  p = p * s - 5.3728966e-2f;
  p = p * s + 1.3331325e-1f;
  p = p * s - 3.3333278e-1f;
  const float small = x + x * (p * s);
  const float e = vector_exp_negative(-2.0f * a);
  const float large = 1.0f - 2.0f * e / (1.0f + e);
  return std::copysign(a < 0.625f ? small : large, x);
}

/// A polynomial near zero; elsewhere 1 - e^-q(|x|), q a polynomial for -ln erfc.
inline float vector_erf(float x) {
  const float a = std::fabs(x), s = x * x;
  float p = -6.3324421e-4f;
  p = p * s + 5.0542400e-3f;
  p = p * s - 2.6804551e-2f;
  p = p * s + 1.1282770e-1f;
  p = p * s - 3.7612577e-1f;
  p = p * s + 1.2837916e-1f;
  const float small = x + x * p;
  const float b = a > 4.0f ? 4.0f : a;  // erf(4) rounds to 1
  float q = 1.9794660e-5f;
  q = q * b - 4.1962608e-4f;
  q = q * b + 4.1002556e-3f;
  q = q * b - 2.4936120e-2f;
  q = q * b + 1.0800194e-1f;
  q = q * b + 6.3359445e-1f;
  q = q * b + 1.1293952f;
  q = q * b - 1.5038676e-4f;
  const float large = std::copysign(1.0f - vector_exp_negative(-q), x);
  return detail::select(a < 0.83f, small, large);
}

/// True where vector_sin and vector_cos do not serve.
template <class T>
bool is_large_turn(T x) {
  return std::fabs(x) > vector_turn_limit<T>;
}
template <class T>
bool any_large_turn(std::int64_t n, const T* x) {
  int large = 0;
  for (std::int64_t i = 0; i < n; ++i) large |= is_large_turn(x[i]);
  return large != 0;
}

/// For formulas that are templates over the functions of a backend; they take exp of arguments <= 0 alone,
/// sin and cos up to vector_turn_limit.
struct VectorMath {
  template <class T>
  static T sin(T x) {
    return vector_sin(x);
  }
  template <class T>
  static T cos(T x) {
    return vector_cos(x);
  }
  template <class T>
  static T pow(T x, T y) {
    return vector_pow(x, y);
  }
  template <class T>
  static T exp(T x) {
    return vector_exp_negative(x);
  }
  template <class T>
  static T erf(T x) {
    return vector_erf(x);
  }
  template <class T>
  static T softplus(T x) {
    return vector_softplus(x);
  }
};

/// The same with sin and cos of any argument.
struct VectorMathOfLargeTurns : VectorMath {
  template <class T>
  static T sin(T x) {
    return is_large_turn(x) ? std::sin(x) : vector_sin(x);
  }
  template <class T>
  static T cos(T x) {
    return is_large_turn(x) ? std::cos(x) : vector_cos(x);
  }
};

}  // namespace norma
