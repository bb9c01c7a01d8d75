// The gradients of elementwise ops, once, for all backends: dx = dy f', by the formula that the op's rule in
// autograd/ops has in ops. Math has the backend's exp of arguments <= 0, sin, cos and pow.
#pragma once

#include <cmath>

#include "backends/elementwise.h"

namespace norma {

/// True for the ops that unary_gradient knows.
constexpr bool has_gradient(Unary op) {
  return op == Unary::log || op == Unary::log1p || op == Unary::erf || op == Unary::softplus ||
         op == Unary::abs || op == Unary::clamp || op == Unary::sin || op == Unary::cos ||
         op == Unary::power || op == Unary::relu || op == Unary::exp || op == Unary::expm1 ||
         op == Unary::sqrt || op == Unary::rsqrt || op == Unary::reciprocal || op == Unary::tanh ||
         op == Unary::sigmoid;
}
constexpr bool has_gradient(Binary op) {
  return op == Binary::div || op == Binary::maximum || op == Binary::minimum;
}

/// dx of y = op(x). v: y for relu and what follows it below, x for what comes before.
template <Unary op, class Math, class T>
NORMA_HOST_DEVICE T unary_gradient(T dy, T v, T a, T b) {
  (void)a, (void)b;
  if constexpr (op == Unary::log) return dy / v;
  if constexpr (op == Unary::log1p) return dy / (v + T(1));
  if constexpr (op == Unary::erf) return dy * (Math::exp(-(v * v)) * T(1.1283791670955126));  // 2 / sqrt(pi)
  if constexpr (op == Unary::softplus) return dy * sigmoid(v, Math::exp(-std::fabs(v)));
  if constexpr (op == Unary::abs) return dy * float_unary<Unary::sign>(v, a, b);
  if constexpr (op == Unary::clamp) return v >= a && v <= b ? dy : T(0);
  if constexpr (op == Unary::sin) return dy * Math::cos(v);
  if constexpr (op == Unary::cos) return -(dy * Math::sin(v));
  if constexpr (op == Unary::power)
    return dy * (a == T(2) ? v : a == T(3) ? v * v : Math::pow(v, a - T(1))) * a;
  if constexpr (op == Unary::relu) return v <= T(0) ? T(0) : dy;
  if constexpr (op == Unary::exp) return dy * v;
  if constexpr (op == Unary::expm1) return dy * (v + T(1));
  if constexpr (op == Unary::sqrt) return dy / (v + v);
  if constexpr (op == Unary::rsqrt) return dy * (v * v * v) * T(-0.5);
  if constexpr (op == Unary::reciprocal) return -(dy * v * v);
  if constexpr (op == Unary::tanh) return dy * (T(1) - v * v);
  if constexpr (op == Unary::sigmoid) return dy * (v * (T(1) - v));
}

/// The gradient of operand 0 or 1 of op(a, b). Of maximum and minimum, equals share dy.
template <Binary op, int operand, class T>
NORMA_HOST_DEVICE T binary_gradient(T dy, T a, T b) {
  if constexpr (op == Binary::div) {
    const T da = dy / b;
    return operand == 0 ? da : -da * (a / b);
  } else {
    const bool a_wins = op == Binary::maximum ? a > b : a < b;
    const T share = a_wins ? T(1) : a == b ? T(0.5) : T(0);
    return dy * (operand == 0 ? share : T(1) - share);
  }
}

}  // namespace norma
