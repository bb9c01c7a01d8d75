// Small models and settings for the tests of models.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "autograd/ops.h"
#include "models/generate.h"
#include "models/trainer.h"
#include "tests/temporary.h"
#include "tests/threads.h"

namespace norma::tests {

inline models::GptOptions small_options() {
  return {.vocabulary = 11, .context = 8, .layers = 2, .heads = 2, .width = 16};
}

/// As after some training: starting values are so small that all logits would be nearly equal.
inline models::Gpt trained_gpt(const models::GptOptions& options) {
  manual_seed(3);
  models::Gpt model(options);
  const NoGrad guard;
  for (const auto& [name, parameter] : model.named_parameters()) {
    parameter.copy_(parameter + randn(parameter.shape(), parameter.dtype()) * 0.3);
  }
  return model;
}

inline Tensor some_tokens(std::int64_t batch, std::int64_t length, std::int64_t vocabulary,
                          std::uint64_t seed = 5) {
  Generator generator(seed);
  return randint(0, vocabulary, {batch, length}, cpu, &generator);
}

inline double largest_difference(const Tensor& a, const Tensor& b) {
  return (a.detach() - b.detach()).abs().max().item();
}

/// A run of addition that takes well under a second; its files lie in the folder.
inline models::Settings quick_settings(const TemporaryFolder& folder) {
  models::Settings settings;
  settings.digits = 1;
  settings.layers = 1;
  settings.heads = 2;
  settings.width = 16;
  settings.batch = 8;
  settings.steps = 10;
  settings.warmup = 2;
  settings.dropout = 0.1;
  settings.eval_every = 5;
  settings.log = folder.path("log.csv");
  settings.checkpoint = folder.path("gpt.safetensors");
  return settings;
}

}  // namespace norma::tests
