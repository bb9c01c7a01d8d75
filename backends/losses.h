// Losses of a value x and its target t, once, for all backends:
//   squared:   l = (x - t)^2,   dl/dx = 2 (x - t),  dl/dt = -2 (x - t)
//   logistic:  l = -t ln s - (1 - t) ln(1 - s), s = sigmoid(x)
//                = max(x, 0) - x t + softplus(-|x|), which does not overflow,
//              dl/dx = s - t,  dl/dt = -x
// Math has the backend's exp of arguments <= 0, and softplus(x) = ln(1 + e^x).
#pragma once

#include <cmath>

#include "backends/elementwise.h"

namespace norma {

template <class T, class Math>
struct SquaredLoss {
  NORMA_HOST_DEVICE static T value(T x, T t) { return (x - t) * (x - t); }
  NORMA_HOST_DEVICE static T slope(T x, T t) { return T(2) * (x - t); }
  NORMA_HOST_DEVICE static T target_slope(T x, T t) { return T(-2) * (x - t); }
};

template <class T, class Math>
struct LogisticLoss {
  NORMA_HOST_DEVICE static T value(T x, T t) {
    return ((x > T(0) ? x : T(0)) - x * t) + Math::softplus(-std::fabs(x));
  }
  NORMA_HOST_DEVICE static T slope(T x, T t) { return sigmoid(x, Math::exp(-std::fabs(x))) - t; }
  NORMA_HOST_DEVICE static T target_slope(T x, T) { return -x; }
};

}  // namespace norma
