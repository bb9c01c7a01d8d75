// Text to token ids and back.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace norma::models {

/// One token per byte: any byte string has a code, and decode(encode(s)) == s.
class ByteTokenizer {
 public:
  std::int64_t vocabulary_size() const { return 256; }
  std::vector<std::int64_t> encode(std::string_view text) const;
  /// Throws Error on an id outside [0, 256), with its place.
  std::string decode(std::span<const std::int64_t> ids) const;
};

/// One token per character (byte) of a given list; ids follow the list.
class CharVocabulary {
 public:
  /// Throws Error when a character repeats.
  explicit CharVocabulary(std::string_view characters);
  std::int64_t vocabulary_size() const { return static_cast<std::int64_t>(characters_.size()); }
  const std::string& characters() const { return characters_; }
  /// Throws Error on a character that is not in the list, with its place.
  std::vector<std::int64_t> encode(std::string_view text) const;
  std::int64_t id(char character) const;
  /// Throws Error on an id outside [0, vocabulary_size()), with its place.
  std::string decode(std::span<const std::int64_t> ids) const;

 private:
  std::string characters_;
  std::array<std::int16_t, 256> ids_;  // -1: not in the list
};

}  // namespace norma::models
