// Numbers as text: the shortest that reads back as the same number, whatever the locale.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace norma {

std::string to_text(double value);
std::string to_text(std::int64_t value);
std::string to_text(std::uint64_t value);

/// True when the whole text is a number of the type; else value stays as it was.
bool parse_number(std::string_view text, double& value);
bool parse_number(std::string_view text, std::int64_t& value);
bool parse_number(std::string_view text, std::uint64_t& value);

}  // namespace norma
