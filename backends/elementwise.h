// The scalar formula of every elementwise op, once, for all backends (plain functions; device functions under
// nvcc). A new op is one line here, one enumerator in core/backend.h and one line in with_unary or
// with_binary.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "core/backend.h"
#include "core/host_device.h"

namespace norma {

/// Integer arithmetic that wraps around instead of being undefined.
NORMA_HOST_DEVICE inline std::int64_t wrap_add(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}
NORMA_HOST_DEVICE inline std::int64_t wrap_sub(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}
NORMA_HOST_DEVICE inline std::int64_t wrap_mul(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}
/// Truncates toward zero. Division by zero must be ruled out before; -1 wraps at the smallest integer.
NORMA_HOST_DEVICE inline std::int64_t wrap_div(std::int64_t a, std::int64_t b) {
  return b == -1 ? wrap_sub(0, a) : b == 0 ? 0 : a / b;
}
/// a ^ b; for b < 0 the exact power truncated toward zero (0 ^ b counts as 0).
NORMA_HOST_DEVICE inline std::int64_t integer_power(std::int64_t a, std::int64_t b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
  std::int64_t result = 1;
  for (; b > 0; b >>= 1, a = wrap_mul(a, a)) {
    if (b & 1) result = wrap_mul(result, a);
  }
  return result;
}

/// True for the ops that i64 has; the others need a floating dtype.
constexpr bool has_integer_form(Unary op) {
  return op == Unary::neg || op == Unary::abs || op == Unary::sign || op == Unary::relu ||
         op == Unary::affine || op == Unary::clamp;
}
constexpr bool is_predicate(Unary op) {
  return op == Unary::logical_not || op == Unary::is_nan || op == Unary::is_finite;
}
constexpr bool is_logical(Binary op) { return op == Binary::logical_and || op == Binary::logical_or; }
constexpr bool is_comparison(Binary op) {
  return op == Binary::equal || op == Binary::not_equal || op == Binary::less || op == Binary::less_equal ||
         op == Binary::greater || op == Binary::greater_equal;
}

/// 1 / (1 + e^-x), written so that nothing overflows on either side.
template <class T>
NORMA_HOST_DEVICE T sigmoid(T x, T exp_of_minus_abs) {
  const T r = T(1) / (T(1) + exp_of_minus_abs);
  return x < T(0) ? exp_of_minus_abs * r : r;
}

/// log(1 + e^x), without the exponential of a positive number.
template <class T>
NORMA_HOST_DEVICE T softplus(T x) {
  return (x > T(0) ? x : T(0)) + std::log1p(std::exp(-std::fabs(x)));
}

/// op(x) for floating T. sign, relu and clamp keep NaN.
template <Unary op, class T>
NORMA_HOST_DEVICE T float_unary(T x, T a, T b) {
  (void)a, (void)b;
  if constexpr (op == Unary::neg) return -x;
  if constexpr (op == Unary::exp) return std::exp(x);
  if constexpr (op == Unary::log) return std::log(x);
  if constexpr (op == Unary::sqrt) return std::sqrt(x);
  if constexpr (op == Unary::rsqrt) return T(1) / std::sqrt(x);
  if constexpr (op == Unary::tanh) return std::tanh(x);
  if constexpr (op == Unary::erf) return std::erf(x);
  if constexpr (op == Unary::abs) return std::fabs(x);
  if constexpr (op == Unary::sign) return x > T(0) ? T(1) : x < T(0) ? T(-1) : x == T(0) ? T(0) : x;
  if constexpr (op == Unary::sin) return std::sin(x);
  if constexpr (op == Unary::cos) return std::cos(x);
  if constexpr (op == Unary::floor) return std::floor(x);
  if constexpr (op == Unary::reciprocal) return T(1) / x;
  if constexpr (op == Unary::sigmoid) return sigmoid(x, std::exp(-std::fabs(x)));
  if constexpr (op == Unary::expm1) return std::expm1(x);
  if constexpr (op == Unary::log1p) return std::log1p(x);
  if constexpr (op == Unary::softplus) return softplus(x);
  if constexpr (op == Unary::relu) return x <= T(0) ? T(0) : x;
  if constexpr (op == Unary::affine) return a * x + b;
  if constexpr (op == Unary::power) return std::pow(x, a);
  if constexpr (op == Unary::clamp) {
    const T low = x < a ? a : x;
    return low > b ? b : low;
  }
}

/// op(x) for i64; arithmetic wraps around.
template <Unary op>
NORMA_HOST_DEVICE std::int64_t integer_unary(std::int64_t x, std::int64_t a, std::int64_t b) {
  (void)a, (void)b;
  if constexpr (op == Unary::neg) return wrap_sub(0, x);
  if constexpr (op == Unary::abs) return x < 0 ? wrap_sub(0, x) : x;
  if constexpr (op == Unary::sign) return (x > 0) - (x < 0);
  if constexpr (op == Unary::relu) return x > 0 ? x : 0;
  if constexpr (op == Unary::affine) return wrap_add(wrap_mul(a, x), b);
  if constexpr (op == Unary::clamp) {
    const std::int64_t low = x < a ? a : x;
    return low > b ? b : low;
  }
}

/// op(x) -> boolean; logical_not reads boolean, the others floating T.
template <Unary op, class T>
NORMA_HOST_DEVICE bool predicate(T x) {
  if constexpr (op == Unary::logical_not) return !x;
  if constexpr (op == Unary::is_nan) return x != x;
  if constexpr (op == Unary::is_finite) return x - x == T(0);
}

/// Arithmetic of floating or i64 T. NaN wins in maximum and minimum.
template <Binary op, class T>
NORMA_HOST_DEVICE T arithmetic(T a, T b) {
  if constexpr (op == Binary::maximum) return a > b || a != a ? a : b;
  if constexpr (op == Binary::minimum) return a < b || a != a ? a : b;
  if constexpr (std::is_floating_point_v<T>) {
    if constexpr (op == Binary::add) return a + b;
    if constexpr (op == Binary::sub) return a - b;
    if constexpr (op == Binary::mul) return a * b;
    if constexpr (op == Binary::div) return a / b;
    if constexpr (op == Binary::power) return std::pow(a, b);
  } else {
    if constexpr (op == Binary::add) return wrap_add(a, b);
    if constexpr (op == Binary::sub) return wrap_sub(a, b);
    if constexpr (op == Binary::mul) return wrap_mul(a, b);
    if constexpr (op == Binary::div) return wrap_div(a, b);
    if constexpr (op == Binary::power) return integer_power(a, b);
  }
}

/// Comparisons of any T, and the logical ops of bool.
template <Binary op, class T>
NORMA_HOST_DEVICE bool compare(T a, T b) {
  if constexpr (op == Binary::equal) return a == b;
  if constexpr (op == Binary::not_equal) return a != b;
  if constexpr (op == Binary::less) return a < b;
  if constexpr (op == Binary::less_equal) return a <= b;
  if constexpr (op == Binary::greater) return a > b;
  if constexpr (op == Binary::greater_equal) return a >= b;
  if constexpr (op == Binary::logical_and) return a && b;
  if constexpr (op == Binary::logical_or) return a || b;
}

/// x converted to the dtype of To: float -> i64 truncates (NaN and what does not fit become the smallest
/// integer), anything -> bool is x != 0.
template <class To, class From>
NORMA_HOST_DEVICE To convert(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_same_v<To, std::int64_t> && std::is_floating_point_v<From>) {
    constexpr From limit = From(9223372036854775808.0);
    return x >= -limit && x < limit ? static_cast<std::int64_t>(x) : INT64_MIN;
  } else {
    return static_cast<To>(x);
  }
}

/// Calls body.operator()<op>() with the run-time op as a template argument.
template <class Body>
decltype(auto) with_unary(Unary op, Body&& body) {
  switch (op) {
#define NORMA_CASE(name) \
  case Unary::name:      \
    return body.template operator()<Unary::name>()
    NORMA_CASE(neg);
    NORMA_CASE(exp);
    NORMA_CASE(log);
    NORMA_CASE(sqrt);
    NORMA_CASE(rsqrt);
    NORMA_CASE(tanh);
    NORMA_CASE(erf);
    NORMA_CASE(abs);
    NORMA_CASE(sign);
    NORMA_CASE(sin);
    NORMA_CASE(cos);
    NORMA_CASE(floor);
    NORMA_CASE(reciprocal);
    NORMA_CASE(sigmoid);
    NORMA_CASE(expm1);
    NORMA_CASE(log1p);
    NORMA_CASE(softplus);
    NORMA_CASE(relu);
    NORMA_CASE(affine);
    NORMA_CASE(power);
    NORMA_CASE(clamp);
    NORMA_CASE(logical_not);
    NORMA_CASE(is_nan);
    NORMA_CASE(is_finite);
#undef NORMA_CASE
  }
  detail::fail_assert("known unary op", __FILE__, __LINE__);
}

template <class Body>
decltype(auto) with_binary(Binary op, Body&& body) {
  switch (op) {
#define NORMA_CASE(name) \
  case Binary::name:     \
    return body.template operator()<Binary::name>()
    NORMA_CASE(add);
    NORMA_CASE(sub);
    NORMA_CASE(mul);
    NORMA_CASE(div);
    NORMA_CASE(power);
    NORMA_CASE(maximum);
    NORMA_CASE(minimum);
    NORMA_CASE(equal);
    NORMA_CASE(not_equal);
    NORMA_CASE(less);
    NORMA_CASE(less_equal);
    NORMA_CASE(greater);
    NORMA_CASE(greater_equal);
    NORMA_CASE(logical_and);
    NORMA_CASE(logical_or);
#undef NORMA_CASE
  }
  detail::fail_assert("known binary op", __FILE__, __LINE__);
}

/// Names as users write them, for messages.
const char* name(Unary op);
const char* name(Binary op);
const char* name(Reduce op);

}  // namespace norma
