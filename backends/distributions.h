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
NORMA_HOST_DEVICE inline double normal_cdf(double x) { return 0.5 * std::erfc(x * -0.7071067811865476); }

/// x with Phi(x) = p for p in (0, 1/2]. The start lies left of the root; Newton steps on ln Phi, which is
/// concave, stay there and converge.
NORMA_HOST_DEVICE inline double lower_quantile(double p) {
  const double target = std::log(p);
  double x = -std::sqrt(std::fmax(0.0, -2.0 * std::log(2.0 * p)));  // Phi(x) <= exp(-x^2 / 2) / 2
  for (int step = 0; step < 60; ++step) {
    const double phi = normal_cdf(x);
    const double density = 0.3989422804014327 * std::exp(-0.5 * x * x);
    if (!(phi > 0) || !(density > 0)) break;
    const double move = (target - std::log(phi)) * phi / density;
    x += move;
    if (std::fabs(move) <= 1e-15 * std::fabs(x) + 1e-16) break;
  }
  return x;
}

/// Standard normal cut to [a, b], by inversion of its distribution function. An interval above zero is
/// mirrored, so that the tails keep their digits.
NORMA_HOST_DEVICE inline double truncated_normal(const RandomBits& bits, double a, double b) {
  const double u = unit_uniform<double>(bits);
  const bool mirrored = a > 0;
  const double low = mirrored ? -b : a, high = mirrored ? -a : b;
  const double from = normal_cdf(low), to = normal_cdf(high);
  const double p = std::fma(to - from, u, from);
  double x = p <= 0 ? low : p >= 1 ? high : p <= 0.5 ? lower_quantile(p) : -lower_quantile(1 - p);
  x = x < low ? low : x > high ? high : x;
  return mirrored ? -x : x;
}

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
