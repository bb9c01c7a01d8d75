// The formulas of gelu (Hendrycks, Gimpel 2016, arXiv:1606.08415) and silu, once, for all backends. Math has
// the backend's exp and erf.
//   erf form:   y = x Phi(x),          dy/dx = Phi(x) + x phi(x)
//   tanh form:  y = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3), which is x/2 (1 + tanh u) without
//   cancellation;
//               dy/dx = s + x s (1 - s) 2u'
//   silu:       y = x sigmoid(x),      dy/dx = s (1 + x (1 - s))
#pragma once

#include <cmath>

#include "backends/elementwise.h"

namespace norma {

template <class T, class Math>
NORMA_HOST_DEVICE T logistic(T x) {
  return sigmoid(x, Math::exp(-std::fabs(x)));
}

template <class T, class Math>
struct GeluTanh {
  static constexpr T two_root_two_over_pi = T(1.5957691216057308);  // 2 sqrt(2 / pi)
  static constexpr T cubic = T(0.044715);
  /// From here on s (1 - s) is 0, while x^2 would overflow further out.
  static constexpr T far = sizeof(T) == 4 ? T(10.5) : T(22);

  NORMA_HOST_DEVICE static T sigmoid_of(T x) {
    return logistic<T, Math>(two_root_two_over_pi * x * (T(1) + cubic * x * x));
  }
  NORMA_HOST_DEVICE static T value(T x) { return x * sigmoid_of(x); }
  NORMA_HOST_DEVICE static T slope(T x) {
    x = x > far ? far : x < -far ? -far : x;
    const T s = sigmoid_of(x);
    return s + x * s * (T(1) - s) * (two_root_two_over_pi * (T(1) + T(3) * cubic * x * x));
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
  NORMA_HOST_DEVICE static T value(T x) { return x * logistic<T, Math>(x); }
  NORMA_HOST_DEVICE static T slope(T x) {
    const T s = logistic<T, Math>(x);
    return s * (T(1) + x * (T(1) - s));
  }
};

}  // namespace norma
