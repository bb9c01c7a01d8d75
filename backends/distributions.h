// How random bits become numbers: once, for all backends, so that the same key draws the same numbers
// everywhere. An element owns one Philox block of 128 bits, of bernoulli 16 bits of each of two. Products and
// sums that a compiler could contract are written with fma, so that the bits agree as well. uniform and
// normal are plain arithmetic without branches or calls, so that loops over them vectorize.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "core/host_device.h"
#include "core/random.h"

namespace norma {

using RandomBits = std::array<std::uint32_t, 4>;

/// In [0, 1): 24 random bits for f32, 53 for f64.
template <class T>
NORMA_HOST_DEVICE T unit_uniform(const RandomBits& bits);
template <>
NORMA_HOST_DEVICE inline float unit_uniform<float>(const RandomBits& bits) {
  return static_cast<float>(bits[0] >> 8) * 0x1p-24f;
}
template <>
NORMA_HOST_DEVICE inline double unit_uniform<double>(const RandomBits& bits) {
  const std::uint64_t high = std::uint64_t{bits[0]} << 21, low = bits[1] >> 11;
  return static_cast<double>(high | low) * 0x1p-53;
}

/// The largest number of [a, b); a where the interval is empty.
template <class T>
NORMA_HOST_DEVICE T last_below(T b, T a) {
  return std::fmax(a, std::nextafter(b, a));
}
/// In [a, b), with last = last_below(b, a), since rounding may reach b.
template <class T>
NORMA_HOST_DEVICE T uniform(const RandomBits& bits, T a, T b, T last) {
  const T x = std::fma(b - a, unit_uniform<T>(bits), a);
  return x < last ? x : last;
}

/// -ln u for u in [2^-64, 1]: u = m / 2^n with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh s for
/// s = (m - 1) / (m + 1), an odd polynomial in s. Like the next one, within 2.5 ulp; both polynomials
/// are minimax fits made for this file.
NORMA_HOST_DEVICE inline double minus_log(double u) {
  constexpr std::uint64_t top = 0x3FF6A09E667F3BCC;  // the largest double below sqrt(2)
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(u), n = (top - bits) >> 52;
  const double m = std::bit_cast<double>(bits + (n << 52));
  const double exponent = std::bit_cast<double>(0x4330000000000000 | n) - 0x1p52;  // n as a double
  const double s = (m - 1) / (m + 1), z = s * s;
  double p = 0.147961134195725056;
  p = std::fma(p, z, 0.153140349717233135);
  p = std::fma(p, z, 0.181835649037137509);
  p = std::fma(p, z, 0.222221985626890691);
  p = std::fma(p, z, 0.285714287424837770);
  p = std::fma(p, z, 0.399999999994142734);
  p = std::fma(p, z, 0.666666666666673447);
  return std::fma(exponent, 0.693147180559945309, -std::fma(s * z, p, 2 * s));
}

/// sin(2 pi t) for |t| <= 1/4.
NORMA_HOST_DEVICE inline double sine_of_turns(double t) {
  const double z = t * t;
  double p = 0.100881774610787874;
  p = std::fma(p, z, -0.71773041557052375);
  p = std::fma(p, z, 3.81992780731227622);
  p = std::fma(p, z, -15.0946416650158347);
  p = std::fma(p, z, 42.0586939252769362);
  p = std::fma(p, z, -76.7058597528268641);
  p = std::fma(p, z, 81.6052492760736917);
  p = std::fma(p, z, -41.3417022403997575);
  return std::fma(t, 6.28318530717958648, t * z * p);
}

/// Box and Muller's method: mean + deviation * sqrt(-2 ln u) cos(2 pi v), in f64. The cosine goes from 1 to
/// -1 and back as v goes from 0 to 1: it is the sine of a quarter turn less |v - 1/2|, with the sign changed.
NORMA_HOST_DEVICE inline double normal(const RandomBits& bits, double mean, double deviation) {
  const double u = (static_cast<double>(bits[0]) * 4294967296.0 + static_cast<double>(bits[1]) + 1) * 0x1p-64;
  const double v = (static_cast<double>(bits[2]) * 4294967296.0 + static_cast<double>(bits[3])) * 0x1p-64;
  const double radius = std::sqrt(2 * minus_log(u));
  return std::fma(deviation, radius * sine_of_turns(std::fabs(v - 0.5) - 0.25), mean);
}

/// Phi(x), without cancellation in the lower tail.
inline double normal_cdf(double x) { return 0.5 * std::erfc(x * -0.7071067811865476); }

/// c[0] + c[1] x + c[2] x^2 + ..
template <int n>
NORMA_HOST_DEVICE double polynomial(double x, const double (&c)[n]) {
  double y = c[n - 1];
  for (int i = n - 2; i >= 0; --i) y = std::fma(y, x, c[i]);
  return y;
}

/// x with Phi(x) = p for p in (0, 1/2], to 1e-15 of it: algorithm AS 241 of Wichura (Applied Statistics 37,
/// 1988), three quotients of polynomials: in 0.425^2 - (p - 1/2)^2, and in sqrt(-ln p) near and far out.
NORMA_HOST_DEVICE inline double lower_quantile(double p) {
  const double q = p - 0.5;
  if (q >= -0.425) {
    constexpr double a[] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                            1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                            3.3430575583588128105e4, 2.5090809287301226727e3};
    constexpr double b[] = {1,
                            4.2313330701600911252e1,
                            6.8718700749205790830e2,
                            5.3941960214247511077e3,
                            2.1213794301586595867e4,
                            3.9307895800092710610e4,
                            2.8729085735721942674e4,
                            5.2264952788528545610e3};
    const double r = std::fma(-q, q, 0.180625);
    return q * polynomial(r, a) / polynomial(r, b);
  }
  const double r = std::sqrt(minus_log(p));
  if (r <= 5) {
    constexpr double c[] = {1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                            3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                            2.27238449892691845833e-2, 7.74545014278341407640e-4};
    constexpr double d[] = {1,
                            2.05319162663775882187e0,
                            1.67638483018380384940e0,
                            6.89767334985100004550e-1,
                            1.48103976427480074590e-1,
                            1.51986665636164571966e-2,
                            5.47593808499534494600e-4,
                            1.05075007164441684324e-9};
    return -polynomial(r - 1.6, c) / polynomial(r - 1.6, d);
  }
  constexpr double e[] = {6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,
                          2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                          2.71155556874348757815e-5, 2.01033439929228813265e-7};
  constexpr double f[] = {1,
                          5.99832206555887937690e-1,
                          1.36929880922735805310e-1,
                          1.48753612908506148525e-2,
                          7.86869131145613259100e-4,
                          1.84631831751005468180e-5,
                          1.42151175831644588870e-7,
                          2.04426310338993978564e-15};
  return -polynomial(r - 5, e) / polynomial(r - 5, f);
}

/// Standard normal cut to [a, b], by inversion of its distribution function. An interval above zero is
/// mirrored, so that the tails keep their digits.
class TruncatedNormal {
 public:
  TruncatedNormal(double a, double b)
      : sign_(a > 0 ? -1 : 1), low_(a > 0 ? -b : a), high_(a > 0 ? -a : b), from_(normal_cdf(low_)) {
    range_ = normal_cdf(high_) - from_;
  }
  NORMA_HOST_DEVICE double operator()(const RandomBits& bits) const {
    constexpr double least = 2.3e-308;  // below, doubles lose digits; the quantile is -37.5
    const double p = std::fma(range_, unit_uniform<double>(bits), from_);
    const double near = p <= 0.5 ? p : 1 - p, size = lower_quantile(near < least ? least : near);
    const double x = p <= 0.5 ? size : -size;
    const double cut = x < low_ ? low_ : x > high_ ? high_ : x;
    return sign_ * cut;
  }

 private:
  double sign_;  // a bool would leave padding, which a kernel's argument must not have
  double low_, high_, from_, range_;
};

/// The threshold that 32 bits stay below with probability p.
NORMA_HOST_DEVICE inline std::uint64_t bernoulli_threshold(double p) {
  return p >= 1 ? 4294967296u : p > 0 ? static_cast<std::uint64_t>(p * 4294967296.0) : 0u;
}
/// Element i of a mask: whether its 32 bits stay below the threshold. The upper 16 decide that but once in
/// 65536 times, so the block with the lower ones is rarely made.
NORMA_HOST_DEVICE inline bool bernoulli(RandomKey key, std::int64_t i, std::uint64_t threshold) {
  const std::uint64_t upper = mask_bits(key, i, 0);
  if (upper != threshold >> 16) return upper < threshold >> 16;
  return mask_bits(key, i, 1) < (threshold & 0xFFFFu);
}

}  // namespace norma
