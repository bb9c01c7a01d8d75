// Settings as texts and back: for the flags of programs and for what a checkpoint keeps. A struct of settings
// S has a function visit_settings(S&, visit) that calls visit(name, value, on_resume, help) for each, in the
// order of --help; names are the flags without dashes.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>

#include "core/check.h"
#include "core/number.h"
#include "nn/safetensors.h"

namespace norma::models {

/// May a resumed run have another value than the run that it goes on with?
enum class OnResume : std::uint8_t { keep, change };

/// S or const S: what a visit_settings is for.
template <class T, class S>
concept SettingsLike = std::same_as<std::remove_const_t<T>, S>;

namespace detail {

inline std::string write_setting(const std::string& value) { return value; }
inline std::string write_setting(bool value) { return value ? "1" : "0"; }
template <class T>
std::string write_setting(T value) {
  return to_text(value);
}

template <class T>
bool read_setting(const std::string& text, T& value) {
  return parse_number(text, value);
}
inline bool read_setting(const std::string& text, std::string& value) {
  value = text;
  return true;
}
inline bool read_setting(const std::string& text, bool& value) {
  value = text == "1";
  return text == "0" || text == "1";
}

}  // namespace detail

template <class S>
nn::Metadata write_settings(const S& settings) {
  nn::Metadata metadata;
  visit_settings(settings, [&](const char* name, const auto& value, OnResume, const char*) {
    metadata.emplace_back(name, detail::write_setting(value));
  });
  return metadata;
}

/// Unknown names are skipped, absent ones keep the default; a text that is no number where one belongs throws
/// Error.
template <class S>
S read_settings(const nn::Metadata& metadata) {
  S settings;
  visit_settings(settings, [&](const char* name, auto& value, OnResume, const char*) {
    const std::string* text = nn::find(metadata, name);
    NORMA_CHECK(text == nullptr || detail::read_setting(*text, value), "--", name, " cannot be \"",
                text == nullptr ? std::string() : *text, "\"");
  });
  return settings;
}

/// Throws Error "--flag must be <range>, got <value>" unless `holds`.
template <class T>
void check_range(const char* flag, T value, bool holds, const char* range) {
  NORMA_CHECK(holds, flag, " must be ", range, ", got ", value);
}

}  // namespace norma::models
