// exp, log, tanh and erf of f32 without branches or calls, so that loops over them vectorize. The largest
// errors over all 2^32 floats, in ulp: exp 1.05 (of arguments <= 40: 0.92), log 0.81, tanh 1.44, erf 1.28;
// NaN, infinities, zeros and subnormals come out as in libm. The polynomials are weighted least-squares fits
// to the functions on the reduced range, made for this file. f64 uses libm.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace norma {

inline double vector_exp(double x) { return std::exp(x); }
inline double vector_exp_negative(double x) { return std::exp(x); }
inline double vector_log(double x) { return std::log(x); }
inline double vector_tanh(double x) { return std::tanh(x); }
inline double vector_erf(double x) { return std::erf(x); }

namespace detail {

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

/// x becomes 2^64 e^x; X: float or a vector of them (as references, since the ABI of vectors has variants).
template <class X>
[[gnu::always_inline]] inline void raise_exp_negative(X& x) {
  using Bits = std::conditional_t<std::is_same_v<X, float>, std::uint32_t, decltype(x < x)>;
  constexpr float shift = 12582912.0f + 127.0f + 64.0f;
  const X shifted = x * 1.44269504f + shift;
  const X n = shifted - shift;
  X r = x - n * 0.693359375f, p;
  r = r + n * 2.12194440e-4f;
  exp_quotient(p, r);
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Bits power;
  X raised;
  std::memcpy(&power, &shifted, sizeof power);
  power <<= 23;
  std::memcpy(&raised, &power, sizeof raised);
  const X least = X{} - 104.0f;  // e^-104 rounds to 0; -infinity made a NaN of p
  x = x < least ? X{} : p * raised;
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
inline double raised_exp_negative(double x) { return std::exp(x) * 0x1p64; }

/// e^x for x <= 40, as softmax and sigmoid need it, by fewer instructions: the number that rounds to n also
/// puts n + 64 where a float has its exponent, and what overflowed there is no case.
inline float vector_exp_negative(float x) { return raised_exp_negative(x) * 0x1p-64f; }

/// ln x = e ln 2 + ln(1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
inline float vector_log(float x) {
  const bool tiny = x < 1.17549435e-38f;  // subnormals are scaled up by 2^24
  const float scaled = tiny ? x * 16777216.0f : x;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(scaled);
  const std::int32_t exponent = static_cast<std::int32_t>(bits - 0x3F3504F3u) >> 23;  // 0x3F3504F3: sqrt(1/2)
  const float f = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(exponent) << 23)) - 1.0f;
  const float e = static_cast<float>(exponent) - (tiny ? 24.0f : 0.0f);
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
  float y = p * f * square - e * 2.12194440e-4f - 0.5f * square;
  y = y + f + e * 0.693359375f;
  y = x > 3.40282347e38f ? x : y;                         // infinity
  y = x == 0.0f ? -std::bit_cast<float>(0x7F800000) : y;  // -infinity
  return x < 0.0f ? std::bit_cast<float>(0x7FC00000) : x != x ? x : y;
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
  return a < 0.83f ? small : x != x ? x : large;
}

}  // namespace norma
