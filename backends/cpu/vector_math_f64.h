// Functions of f64 without branches or calls, so that loops over them vectorize; the f32 ones, by the same
// equations, are in vector_math.h. The polynomials are minimax fits, weighted for the error of the result,
// made for this file. The largest errors found in millions of samples, in ulp: exp 1.02 (of arguments <= 40:
// 1.18), expm1 1.33, log 0.86, log1p 1.31, softplus 1.51, tanh 1.45, erf 1.36, sin and cos 0.82 (|x| <=
// vector_turn_limit). NaN, infinities, zeros and subnormals come out as in libm.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace norma {

/// The largest |x| of vector_sin and vector_cos: beyond, their multiples of pi/2 would not be exact.
template <class T>
inline constexpr T vector_turn_limit = std::is_same_v<T, float> ? T(1e5) : T(2e4);

namespace detail::f64_math {

constexpr double infinity = std::numeric_limits<double>::infinity(),
                 nan = std::numeric_limits<double>::quiet_NaN(), largest = std::numeric_limits<double>::max();
constexpr double per_ln2 = 1.44269504088896339;
constexpr double ln2_high = 6.93147180559208209e-01,
                 ln2_low = 7.37100256516779890e-13;  // the first of 40 bits
constexpr double shift = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer in the low bits

/// c ? a : b by masks, as in vector_math.h.
inline double select(bool c, double a, double b) {
  const std::uint64_t mask = std::uint64_t{0} - static_cast<std::uint64_t>(c);
  return std::bit_cast<double>((std::bit_cast<std::uint64_t>(a) & mask) |
                               (std::bit_cast<std::uint64_t>(b) & ~mask));
}

/// 2^n, n in [-1022, 1023], of shifted = shift + n.
inline double power_of_two(double shifted) {
  return std::bit_cast<double>((std::bit_cast<std::uint64_t>(shifted) + 1023u) << 52);
}

/// (e^r - 1 - r) / r^2 for r in [-ln 2 / 2, ln 2 / 2]; X: double or a vector of them.
template <class X>
[[gnu::always_inline]] inline void exp_quotient(X& p, const X& r) {
  p = 2.51144913108767751e-08 * r + 2.76263273980314880e-07;
  p = p * r + 2.75572278890804156e-06;
  p = p * r + 2.48015044438682433e-05;
  p = p * r + 1.98412699031134379e-04;
  p = p * r + 1.38888889323802848e-03;
  p = p * r + 8.33333333331454790e-03;
  p = p * r + 4.16666666665736207e-02;
  p = p * r + 1.66666666666666852e-01;
  p = p * r + 5.00000000000000555e-01;
}

// What LaneVector has as well.
inline double pick(bool c, double a, double b) { return c ? a : b; }
inline double shifted_left(double x, int places) {
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) << places);
}

/// x becomes 2^64 e^x for x <= 40, as in vector_math.h.
template <class X>
[[gnu::always_inline]] inline void raise_exp_negative(X& x) {
  constexpr double raised_shift = shift + 1023.0 + 64.0;
  const X shifted = x * per_ln2 + raised_shift;
  const X n = shifted - raised_shift;
  X r = x - n * ln2_high, p;
  r = r - n * ln2_low;
  exp_quotient(p, r);
  p = p * r + 1.0;
  p = p * r + 1.0;
  const X least = -746.0;  // e^-746 rounds to 0; -infinity made a NaN of p
  x = pick(x < least, X{}, p * shifted_left(shifted, 52));
}

/// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), for positive x that are not subnormal. place: e as an
/// exponent has it, above 52 zeros.
struct Split {
  double e, f;
  std::uint64_t place;
};
inline Split split(double x) {
  constexpr std::uint64_t root_half = 0x3FE6A09E667F3BCD, one = 0x3FF0000000000000,
                          fraction = 0x000FFFFFFFFFFFFF;
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x) + (one - root_half);
  const double m = std::bit_cast<double>((bits & fraction) + root_half);
  // Integers below 2^52 as the low bits of a double, which is less work than to convert them.
  const double biased = std::bit_cast<double>((bits >> 52) | 0x4330000000000000) - 4503599627370496.0;
  return {biased - 1023.0, m - 1.0, (bits & ~fraction) - one};
}

/// e ln2_high + ln(1 + f) + low. With s = f / (2 + f): ln(1 + f) = 2 artanh s = 2 s + s^3 R(s^2), and 2 s = f
/// - f^2 / 2 + s f^2 / 2, where f is exact.
inline double log_of(double e, double f, double low) {
  const double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
  double p = 1.47961621892430673e-01;
  p = p * z + 1.53140304977159608e-01;
  p = p * z + 1.81835650565758927e-01;
  p = p * z + 2.22221985603624911e-01;
  p = p * z + 2.85714287424971847e-01;
  p = p * z + 3.99999999994142874e-01;
  p = p * z + 6.66666666666673402e-01;
  const double rest = s * (half + z * p) + low;
  return e * ln2_high + (f - (half - rest));
}
/// e ln 2 + ln(1 + f)
inline double log_of(double e, double f) { return log_of(e, f, e * ln2_low); }

/// x = n pi/2 + r + rest with |r| <= pi/4 and |rest| at most half a unit of r, and the quadrant: n in the low
/// bits.
struct Turn {
  double r, rest;
  std::uint64_t quadrant;
};
inline Turn turn(double x) {
  const double shifted = x * 6.36619772367581343e-01 + shift, n = shifted - shift;
  // pi/2 in three parts. The first two have 33 bits, so that their products are exact, and so is what is
  // left of x without the first.
  const double left = x - n * 1.57079632673412561e+00, second = n * 6.07710050630396598e-11;
  const double difference = left - second, back = difference - left;
  const double rounded_off = (left - (difference - back)) - (second + back);
  const double third = n * 2.02226624879595063e-21 - rounded_off, r = difference - third;
  return {r, (difference - r) - third, std::bit_cast<std::uint64_t>(shifted)};
}

/// sin of quadrant pi/2 + r + rest
inline double sin_of(const Turn& t, std::uint64_t quadrant) {
  const double r = t.r, z = r * r, half = 0.5 * z;
  double p = 1.58961976971972408e-10;
  p = p * z - 2.50507472193464493e-08;
  p = p * z + 2.75573136180253345e-06;
  p = p * z - 1.98412698295801902e-04;
  p = p * z + 8.33333333332210765e-03;
  p = p * z - 1.66666666666666297e-01;
  const double sine = std::copysign(r + (z * r * p + t.rest * (1.0 - half)), r);  // -0 too
  double q = -1.13585139428466882e-11;
  q = q * z + 2.08757004159556672e-09;
  q = q * z - 2.75573141762394957e-07;
  q = q * z + 2.48015872888414002e-05;
  q = q * z - 1.38888888888730401e-03;
  q = q * z + 4.16666666666665950e-02;
  const double near = 1.0 - half;
  const double cosine = near + (((1.0 - near) - half) + (z * z * q - r * t.rest));
  const double y = select((quadrant & 1u) != 0, cosine, sine);
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(y) ^ ((quadrant & 2u) << 62));
}

}  // namespace detail::f64_math

/// e^x = 2^n e^r with r in [-ln 2 / 2, ln 2 / 2].
inline double vector_exp(double x) {
  using namespace detail::f64_math;
  x = x < -746.0 ? -746.0 : x;  // e^-746 rounds to 0, e^710 overflows; NaN passes both comparisons
  x = x > 710.0 ? 710.0 : x;
  const double n = (x * per_ln2 + shift) - shift;
  double r = x - n * ln2_high, p;
  r = r - n * ln2_low;
  exp_quotient(p, r);
  p = p * (r * r) + r + 1.0;
  // 2^n as a product of two, so that results below 2^-1022 and above 2^1023 are reached.
  const double half = 0.5 * n + shift, rest = n - (half - shift) + shift;
  return p * power_of_two(half) * power_of_two(rest);
}

/// 2^64 e^x for x <= 40.
inline double raised_exp_negative(double x) {
  detail::f64_math::raise_exp_negative(x);
  return x;
}
/// e^x for x <= 40, by fewer instructions.
inline double vector_exp_negative(double x) { return raised_exp_negative(x) * 0x1p-64; }

/// e^x - 1 = (2^n - 1) + 2^n r + 2^n (e^r - 1 - r), added in this order, which rounds least, with what is
/// rounded off in r; by halves, since 2^1024 overflows.
inline double vector_expm1(double x) {
  using namespace detail::f64_math;
  double c = x < -38.0 ? -38.0 : x;  // e^-38 - 1 rounds to -1, e^710 overflows
  c = c > 710.0 ? 710.0 : c;
  const double shifted = c * per_ln2 + shift, n = shifted - shift;
  const double high = c - n * ln2_high, r = high - n * ln2_low, rest = (high - r) - n * ln2_low;
  double p;
  exp_quotient(p, r);
  const double half = power_of_two(shifted - 1.0);
  const double y = 2.0 * (((half - 0.5) + half * r) + half * (r * r * p + rest));
  return select(std::fabs(x) < 0x1p-54, x, y);  // half of a subnormal would be rounded
}

inline double vector_log(double x) {
  using namespace detail::f64_math;
  const bool tiny = x < std::numeric_limits<double>::min();  // subnormals are scaled up by 2^54
  const Split parts = split(select(tiny, x * 0x1p54, x));
  double y = log_of(parts.e - select(tiny, 54.0, 0.0), parts.f);
  y = select(x <= largest, y, x);  // infinity, NaN
  y = select(x == 0.0, -infinity, y);
  return select(x < 0.0, nan, y);
}

/// 1 + x = 2^e (1 + f), f = 2^-e x + (2^-e - 1), as in vector_math.h.
inline double vector_log1p(double x) {
  using namespace detail::f64_math;
  constexpr std::uint64_t one = 0x3FF0000000000000;
  const Split sum = split(1.0 + x);
  const double scaled = std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) - sum.place);
  const double power = std::bit_cast<double>(one - sum.place);
  double y = log_of(sum.e, scaled + select(x > 0x1p60, -1.0, power - 1.0));
  y = std::copysign(y, x);
  y = select(x <= largest, y, x);  // infinity, NaN
  y = select(x == -1.0, -infinity, y);
  return select(x < -1.0, nan, y);
}

/// log(1 + e^x) = max(x, 0) + log(1 + e), e = e^-|x|. 1 + e, in [1, 2], is 1 + f or 2 (1 + f). What e is
/// rounded by, rest, is a third of the error where x < 0: the logarithm is given rest / (1 + e), nearly.
inline double vector_softplus(double x) {
  using namespace detail::f64_math;
  constexpr double raised_shift = shift + 1023.0 + 64.0;
  double a = -std::fabs(x), p;
  a = a < -746.0 ? -746.0 : a;  // e^-746 rounds to 0; NaN passes
  const double shifted = a * per_ln2 + raised_shift, n = shifted - raised_shift;
  double r = a - n * ln2_high;
  r = r - n * ln2_low;
  exp_quotient(p, r);
  const double less_one = p * (r * r) + r, sum = 1.0 + less_one;
  const double power = shifted_left(shifted, 52);  // 2^(n + 64)
  const double e = sum * power * 0x1p-64, rest = (less_one - (sum - 1.0)) * power * 0x1p-64;
  const bool twice = e > 0.41421356;
  const double low = (twice ? ln2_low : 0.0) + rest * (1.0 - 0.5 * e);
  return (x > 0.0 ? x : 0.0) + log_of(twice ? 1.0 : 0.0, twice ? 0.5 * e - 0.5 : e, low);
}

inline double vector_sin(double x) {
  const detail::f64_math::Turn t = detail::f64_math::turn(x);
  return detail::f64_math::sin_of(t, t.quadrant);
}
inline double vector_cos(double x) {
  const detail::f64_math::Turn t = detail::f64_math::turn(x);
  return detail::f64_math::sin_of(t, t.quadrant + 1u);
}

/// A polynomial near zero, where the form by e = exp(-2 |x|) cancels; 1 - 2 e / (1 + e) elsewhere.
inline double vector_tanh(double x) {
  const double a = std::fabs(x), s = x * x;
  double p = -1.61076788451707570e-05;
  p = p * s + 7.72194480126693150e-05;
  p = p * s - 2.28633471313919890e-04;
  p = p * s + 5.86352592615844688e-04;
  p = p * s - 1.45497050678221351e-03;
  p = p * s + 3.59199157606199812e-03;
  p = p * s - 8.86322131983062651e-03;
  p = p * s + 2.18694876019995127e-02;
  p = p * s - 5.39682539324833968e-02;
  p = p * s + 1.33333333332649157e-01;
  p = p * s - 3.33333333333328763e-01;
  const double small = x + x * (p * s);
  const double e = vector_exp_negative(-2.0 * a);
  const double large = 1.0 - 2.0 * e / (1.0 + e);
  return std::copysign(a < 0.625 ? small : large, x);
}

/// A polynomial near zero; elsewhere 1 - e^-q(|x|), q a polynomial for -ln erfc.
inline double vector_erf(double x) {
  const double a = std::fabs(x), s = x * x;
  double p = 1.08421183534830351e-08;
  p = p * s - 1.57529759679988634e-07;
  p = p * s + 1.64070725751780986e-06;
  p = p * s - 1.49225462555132135e-05;
  p = p * s + 1.20552199041183756e-04;
  p = p * s - 8.54832436994444351e-04;
  p = p * s + 5.22397758655385180e-03;
  p = p * s - 2.68661706418029493e-02;
  p = p * s + 1.12837916709405087e-01;
  p = p * s - 3.76126389031835040e-01;
  p = p * s + 1.28379167095512559e-01;
  const double small = x + x * p;
  const double b = a > 6.0 ? 6.0 : a;  // erf(6) rounds to 1
  double q = -1.61316939959444960e-12;
  q = q * b + 7.10299164676265673e-11;
  q = q * b - 1.46503847605926171e-09;
  q = q * b + 1.87981512108797238e-08;
  q = q * b - 1.67865907259923292e-07;
  q = q * b + 1.10337252018613755e-06;
  q = q * b - 5.48237318039613013e-06;
  q = q * b + 2.06289438806226242e-05;
  q = q * b - 5.66174165477629541e-05;
  q = q * b + 9.63076827190810687e-05;
  q = q * b - 1.55116014306951601e-06;
  q = q * b - 5.75167103690806501e-04;
  q = q * b + 1.69474256399356382e-03;
  q = q * b - 2.15339938193996226e-04;
  q = q * b - 1.91217564668753406e-02;
  q = q * b + 1.02768735538069325e-01;
  q = q * b + 6.36621148338776033e-01;
  q = q * b + 1.12837888181082113e+00;
  q = q * b + 2.66044774439886191e-08;
  const double large = std::copysign(1.0 - vector_exp_negative(-q), x);
  return detail::f64_math::select(a < 0.83, small, large);
}

}  // namespace norma
