// The formulas of gelu (Hendrycks, Gimpel 2016, arXiv:1606.08415) and silu, once, for all backends. Math has
// the backend's exp, for arguments <= 0, and erf.
//   erf form:   y = x Phi(x),          dy/dx = Phi(x) + x phi(x)
//   tanh form:  y = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3), which is x/2 (1 + tanh u) without
//   cancellation;
//               dy/dx = s + x s (1 - s) 2u'
//   silu:       y = x sigmoid(x),      dy/dx = s + x s (1 - s)
#pragma once

#include <cmath>

#include "backends/elementwise.h"

namespace norma {

/// s = sigmoid(t) = 1 / (1 + e^-t) by e = e^-|t|, which does not overflow on either side.
template <class T, class Math>
struct Logistic {
  bool negative;
  T e;

  NORMA_HOST_DEVICE explicit Logistic(T t) : negative(t < T(0)), e(Math::exp(-std::fabs(t))) {}
  /// x s
  NORMA_HOST_DEVICE T times(T x) const { return (negative ? x * e : x) / (T(1) + e); }
  /// s + z s (1 - s)
  NORMA_HOST_DEVICE T slope(T z) const {
    const T r = T(1) / (T(1) + e), er = e * r;  // s and 1 - s, or the other way round
    return (negative ? er : r) + z * (er * r);
  }
};

template <class T, class Math>
struct GeluTanh {
  // 2u = a x + b x^3, a = 2 sqrt(2 / pi)
  static constexpr T a = T(1.5957691216057308), b = T(0.044715 * 1.5957691216057308);
  /// From here on s (1 - s) is 0, while x^2 would overflow further out.
  static constexpr T far = sizeof(T) == 4 ? T(10.5) : T(22);

  NORMA_HOST_DEVICE static Logistic<T, Math> logistic(T x) {
    return Logistic<T, Math>(x * (a + b * (x * x)));
  }
  NORMA_HOST_DEVICE static T value(T x) { return logistic(x).times(x); }
  NORMA_HOST_DEVICE static T slope(T x) {
    const T size = std::fabs(x);
    x = std::copysign(size > far ? far : size, x);
    return logistic(x).slope(x * (a + T(3) * b * (x * x)));
  }
};

template <class T, class Math>
struct GeluErf {
  static constexpr T root_half = T(0.7071067811865476), density = T(0.3989422804014327);  // phi(0)

  NORMA_HOST_DEVICE static T cdf(T x) { return T(0.5) * (T(1) + Math::erf(x * root_half)); }
  NORMA_HOST_DEVICE static T value(T x) { return x * cdf(x); }
  NORMA_HOST_DEVICE static T slope(T x) { return cdf(x) + x * (density * Math::exp(T(-0.5) * x * x)); }
};

template <class T, class Math>
struct Silu {
  NORMA_HOST_DEVICE static T value(T x) { return Logistic<T, Math>(x).times(x); }
  NORMA_HOST_DEVICE static T slope(T x) { return Logistic<T, Math>(x).slope(x); }
};

}  // namespace norma
