// A text as bytes, cut into a training part and a validation part, for language models.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/array.h"
#include "core/random.h"
#include "models/data/tokenizer.h"

namespace norma::models {

/// tokens and targets: i64. Targets are the tokens that follow; where they are ignore_index, nothing is
/// asked.
struct Batch {
  Array tokens;
  Array targets;
};
inline constexpr std::int64_t ignore_index = -100;

enum class Split : std::uint8_t { training, validation };

/// The position in the data is the state of the generator that draws the batches.
class TextDataset {
 public:
  /// The last validation_fraction (in [0, 1)) of the bytes is for validation. Throws Error on an empty text.
  explicit TextDataset(std::string text, double validation_fraction = 0.1);
  /// Throws Error when the file cannot be read or is empty.
  static TextDataset load(const std::string& path, double validation_fraction = 0.1);

  std::string_view text(Split split) const;
  const ByteTokenizer& tokenizer() const { return tokenizer_; }

  /// Contiguous pieces from random places: tokens and targets [batch, context]. Throws Error when the part
  /// has no context + 1 bytes.
  Batch random_batch(Split split, std::int64_t batch, std::int64_t context, Generator& generator) const;

  /// Number of pieces of `context` targets that cover the part once, without a shorter rest.
  std::int64_t pieces(Split split, std::int64_t context) const;
  /// Pieces first, first + 1, ... of that cover, at most `batch` of them; throws Error past the last one.
  Batch batch_of_pieces(Split split, std::int64_t first, std::int64_t batch, std::int64_t context) const;

 private:
  std::string text_;
  std::size_t training_bytes_ = 0;
  ByteTokenizer tokenizer_;
};

}  // namespace norma::models
