#include "models/data/text_dataset.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/file.h"

namespace norma::models {
namespace {

const char* name_of(Split split) { return split == Split::training ? "training" : "validation"; }

void check_sizes(std::int64_t batch, std::int64_t context) {
  NORMA_CHECK(batch > 0 && context > 0, "text data set: batch and context must be > 0, got ", batch, " and ",
              context);
}

Batch cut(std::string_view text, const std::vector<std::int64_t>& starts, std::int64_t context) {
  const Shape shape{static_cast<std::int64_t>(starts.size()), context};
  const Batch batch{Array::empty(shape, i64), Array::empty(shape, i64)};
  auto* token = batch.tokens.data<std::int64_t>();
  auto* target = batch.targets.data<std::int64_t>();
  for (const std::int64_t start : starts) {
    for (std::int64_t i = start; i < start + context; ++i) {
      *token++ = static_cast<unsigned char>(text[static_cast<std::size_t>(i)]);
      *target++ = static_cast<unsigned char>(text[static_cast<std::size_t>(i) + 1]);
    }
  }
  return batch;
}

}  // namespace

TextDataset::TextDataset(std::string text, double validation_fraction) : text_(std::move(text)) {
  NORMA_CHECK(!text_.empty(), "text data set: the text is empty");
  NORMA_CHECK(validation_fraction >= 0 && validation_fraction < 1,
              "text data set: validation_fraction must lie in [0, 1), got ", validation_fraction);
  const auto bytes = static_cast<double>(text_.size());
  training_bytes_ = text_.size() - static_cast<std::size_t>(std::floor(bytes * validation_fraction));
}

TextDataset TextDataset::load(const std::string& path, double validation_fraction) {
  std::string text = read_file(path);
  NORMA_CHECK(!text.empty(), "text data set: ", path, " is empty");
  return TextDataset(std::move(text), validation_fraction);
}

std::string_view TextDataset::text(Split split) const {
  const std::string_view all = text_;
  return split == Split::training ? all.substr(0, training_bytes_) : all.substr(training_bytes_);
}

Batch TextDataset::random_batch(Split split, std::int64_t batch, std::int64_t context,
                                Generator& generator) const {
  check_sizes(batch, context);
  const std::string_view part = text(split);
  const auto bytes = static_cast<std::int64_t>(part.size());
  NORMA_CHECK(bytes > context, "text data set: the ", name_of(split), " part has ", bytes,
              " bytes, too short for context ", context, " and the byte that follows");
  std::vector<std::int64_t> starts(static_cast<std::size_t>(batch));
  for (std::int64_t& start : starts) start = generator.below(bytes - context);
  return cut(part, starts, context);
}

std::int64_t TextDataset::pieces(Split split, std::int64_t context) const {
  check_sizes(1, context);
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(text(split).size()) - 1) / context;
}

Batch TextDataset::batch_of_pieces(Split split, std::int64_t first, std::int64_t batch,
                                   std::int64_t context) const {
  check_sizes(batch, context);
  const std::int64_t count = pieces(split, context);
  NORMA_CHECK(first >= 0 && first < count, "text data set: piece ", first, " is not in [0, ", count,
              ") of the ", name_of(split), " part with context ", context);
  std::vector<std::int64_t> starts;
  for (std::int64_t piece = first; piece < std::min(first + batch, count); ++piece) {
    starts.push_back(piece * context);
  }
  return cut(text(split), starts, context);
}

}  // namespace norma::models
