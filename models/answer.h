// What a trained model says to a prompt, in text.
#pragma once

#include <functional>
#include <string>

#include "models/generate.h"
#include "models/settings.h"

namespace norma::models {

/// A trained model and the settings of its run, from a checkpoint of train_gpt.
struct TrainedGpt {
  Gpt model;
  Settings settings;
};
/// On the device named, whatever it was trained on. Throws Error when the file cannot be read or is no such
/// checkpoint, and when the device is not there.
TrainedGpt load_gpt(const std::string& path, const std::string& device = "cpu");

/// Continues a prompt. A model of text writes on, byte by byte, at most `tokens` of them; an empty prompt
/// counts as a line break. A model of addition answers "12+34". `write` sees the pieces as they come and may
/// return false to stop. Throws Error for a prompt that the model cannot read.
void answer(TrainedGpt& trained, const std::string& prompt, std::int64_t tokens,
            const SamplingOptions& sampling, bool cache, Generator& generator,
            const std::function<bool(const std::string&)>& write);

}  // namespace norma::models
