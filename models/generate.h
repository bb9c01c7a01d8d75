// Text from a language model, token by token.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "models/gpt.h"

namespace norma::models {

struct SamplingOptions {
  double temperature = 1;  // >= 0; 0: always the likeliest token
  std::int64_t top_k = 0;  // only the k likeliest; 0: all
  double top_p = 1;        // only the likeliest that together reach this probability, in (0, 1]
};

/// Draws an index from softmax(logits / temperature), cut first to the top_k likeliest and then to the
/// smallest set of the likeliest whose probabilities, renewed after the first cut, reach top_p (Holtzman et
/// al. 2020, arXiv:1904.09751). Among equals the lower index counts as likelier. Takes one number from the
/// generator, none at temperature 0. Throws for options outside their ranges, no logits, and NaN.
std::int64_t sample(std::span<const float> logits, const SamplingOptions& options, Generator& generator);

struct GenerateOptions {
  SamplingOptions sampling = {};
  bool cache = true;  // keep keys and values; the tokens are the same without, only slower
  /// Sees each new token of every row as soon as it is there; return false to stop.
  std::function<bool(std::span<const std::int64_t> tokens)> on_token = {};
};

/// Prompts (i64) [batch, length >= 1] -> the tokens that follow, [batch, at most count]. When the context is
/// full, its older half is forgotten. The model's mode is eval meanwhile and is restored. Throws for a prompt
/// of another rank or dtype, an empty one, and count < 0.
Array generate(Gpt& model, const Array& prompts, std::int64_t count, const GenerateOptions& options,
               Generator& generator);

}  // namespace norma::models
