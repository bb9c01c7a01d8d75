#include "core/number.h"

#include <charconv>

#include "core/check.h"

namespace norma {
namespace {

template <class T>
std::string write(T value) {
  char buffer[40];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  NORMA_ASSERT(error == std::errc());
  return {buffer, end};
}

template <class T>
bool read(std::string_view text, T& value) {
  T parsed{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  value = parsed;
  return true;
}

}  // namespace

std::string to_text(double value) { return write(value); }
std::string to_text(std::int64_t value) { return write(value); }
std::string to_text(std::uint64_t value) { return write(value); }

bool parse_number(std::string_view text, double& value) { return read(text, value); }
bool parse_number(std::string_view text, std::int64_t& value) { return read(text, value); }
bool parse_number(std::string_view text, std::uint64_t& value) { return read(text, value); }

}  // namespace norma
