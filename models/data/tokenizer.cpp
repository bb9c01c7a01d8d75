#include "models/data/tokenizer.h"

#include "core/check.h"

namespace norma::models {

std::vector<std::int64_t> ByteTokenizer::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  ids.reserve(text.size());
  for (const char character : text) ids.push_back(static_cast<unsigned char>(character));
  return ids;
}

std::string ByteTokenizer::decode(std::span<const std::int64_t> ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const std::int64_t id : ids) {
    NORMA_CHECK(id >= 0 && id < 256, "decode: id ", id, " at place ", text.size(), " is not in [0, 256)");
    text.push_back(static_cast<char>(static_cast<unsigned char>(id)));
  }
  return text;
}

CharVocabulary::CharVocabulary(std::string_view characters) : characters_(characters) {
  ids_.fill(-1);
  for (std::size_t i = 0; i < characters.size(); ++i) {
    std::int16_t& id = ids_[static_cast<unsigned char>(characters[i])];
    NORMA_CHECK(id < 0, "vocabulary: the character at place ", i, " repeats the one at place ", id);
    id = static_cast<std::int16_t>(i);
  }
}

std::int64_t CharVocabulary::id(char character) const {
  const std::int16_t id = ids_[static_cast<unsigned char>(character)];
  NORMA_CHECK(id >= 0, "encode: byte ", static_cast<unsigned char>(character), " is not in the vocabulary \"",
              characters_, "\"");
  return id;
}

std::vector<std::int64_t> CharVocabulary::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  ids.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    NORMA_CHECK(ids_[byte] >= 0, "encode: byte ", byte, " at place ", i, " is not in the vocabulary \"",
                characters_, "\"");
    ids.push_back(ids_[byte]);
  }
  return ids;
}

std::string CharVocabulary::decode(std::span<const std::int64_t> ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const std::int64_t id : ids) {
    NORMA_CHECK(id >= 0 && id < vocabulary_size(), "decode: id ", id, " at place ", text.size(),
                " is not in [0, ", vocabulary_size(), ")");
    text.push_back(characters_[static_cast<std::size_t>(id)]);
  }
  return text;
}

}  // namespace norma::models
