// Two kinds of failure: the user's mistake (Error) and ours (Bug).
// Messages read "op: what must hold, what came; what to do", and are formatted only when a check fails.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace norma {

/// A mistake in how the library was called: wrong shape, dtype, index, file. The call changed nothing.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A broken invariant inside the library; please report it.
class Bug : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Memory could not be had: the system refused, or the allocator's cap was reached.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

class Shape;
enum class DType : std::uint8_t;
enum class Device : std::uint8_t;

namespace detail {

std::string text(const Shape& shape);
std::string text(DType dtype);
std::string text(Device device);
std::string text(double value);
std::string text(std::int64_t value);
std::string text(std::span<const std::int64_t> values);
inline std::string text(std::string_view value) { return std::string(value); }
inline std::string text(const char* value) { return value; }
inline std::string text(char value) { return std::string(1, value); }
inline std::string text(bool value) { return value ? "true" : "false"; }

template <class T>
std::string part(const T& value) {
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char>) {
    return text(static_cast<std::int64_t>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    return text(static_cast<double>(value));
  } else {
    return text(value);
  }
}

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::string out;
  (out.append(part(parts)), ...);
  return out;
}

template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail(const Parts&... parts) {
  throw Error(concat(parts...));
}

[[noreturn, gnu::cold]] void fail_assert(const char* condition, const char* file, int line);

}  // namespace detail
}  // namespace norma

/// Throws norma::Error made of the parts unless `condition` holds.
#define NORMA_CHECK(condition, ...)       \
  do {                                    \
    if (!(condition)) [[unlikely]]        \
      ::norma::detail::fail(__VA_ARGS__); \
  } while (false)

/// Throws norma::Bug with file and line unless `condition` holds.
#define NORMA_ASSERT(condition)                                     \
  do {                                                              \
    if (!(condition)) [[unlikely]]                                  \
      ::norma::detail::fail_assert(#condition, __FILE__, __LINE__); \
  } while (false)
