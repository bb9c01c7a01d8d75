// Element types. The dtype is a run-time property; a template parameter T appears only inside backends.
#pragma once

#include <cstdint>

#include "core/check.h"

namespace norma {

/// f32: 32-bit float, f64: 64-bit float, i64: 64-bit signed integer, boolean: one byte, 0 or 1.
enum class DType : std::uint8_t { f32, f64, i64, boolean };

inline constexpr DType f32 = DType::f32;
inline constexpr DType f64 = DType::f64;
inline constexpr DType i64 = DType::i64;
inline constexpr DType boolean = DType::boolean;

/// Bytes of one element.
constexpr std::int64_t size_of(DType dtype) {
  return dtype == DType::f32 ? 4 : dtype == DType::boolean ? 1 : 8;
}
constexpr bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }
const char* name(DType dtype);

/// The dtype that stores the C++ type T: float, double, int64_t or bool.
template <class T>
constexpr DType dtype_of() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int64_t> ||
                    std::is_same_v<T, bool>,
                "norma holds float, double, int64_t and bool");
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, double>) return DType::f64;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
  return DType::boolean;
}

/// Calls body.operator()<T>() with T = float or double; throws "op: needs a floating dtype, got ..."
/// otherwise.
template <class Body>
decltype(auto) for_float(DType dtype, const char* op, Body&& body) {
  if (dtype == DType::f32) return body.template operator()<float>();
  NORMA_CHECK(dtype == DType::f64, op, ": needs a floating dtype, got ", dtype);
  return body.template operator()<double>();
}

/// Calls body.operator()<T>() with the C++ type of any dtype.
template <class Body>
decltype(auto) for_any(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body.template operator()<float>();
    case DType::f64:
      return body.template operator()<double>();
    case DType::i64:
      return body.template operator()<std::int64_t>();
    case DType::boolean:
      break;
  }
  return body.template operator()<bool>();
}

}  // namespace norma
