#include "nn/checkpoint.h"

#include "core/number.h"
#include "nn/safetensors_header.h"

namespace norma::nn {
namespace {

constexpr std::string_view optimizer_prefix = "optimizer.";
constexpr std::string_view generator_prefix = "generator.";
constexpr std::string_view user_prefix = "user.";

std::string prefixed(std::string_view prefix, std::string_view name) {
  return std::string(prefix).append(name);
}

template <class T>
T to_number(std::string_view text, const std::string& path, std::string_view name) {
  T value{};
  NORMA_CHECK(parse_number(text, value), path, ": \"", name, "\" is no number: \"", text, "\"");
  return value;
}

const std::string& wanted(const Metadata& metadata, const std::string& path, const std::string& name) {
  const std::string* text = find(metadata, name);
  NORMA_CHECK(text != nullptr, path, ": the checkpoint has no \"", name, "\"");
  return *text;
}

RandomKey to_key(const std::string& text, const std::string& path, const std::string& name) {
  const std::size_t space = text.find(' ');
  NORMA_CHECK(space != std::string::npos, path, ": \"", name, "\" must hold seed and position, got \"", text,
              "\"");
  const std::string_view view = text;
  return {to_number<std::uint64_t>(view.substr(0, space), path, name),
          to_number<std::uint64_t>(view.substr(space + 1), path, name)};
}

void append_optimizer(const OptimizerState& state, StateDict& tensors, Metadata& metadata) {
  metadata.emplace_back("optimizer", state.type);
  for (const auto& [name, value] : state.numbers) {
    metadata.emplace_back(prefixed(optimizer_prefix, name), to_text(value));
  }
  for (const auto& [name, tensor] : state.tensors) {
    tensors.emplace_back(prefixed(optimizer_prefix, name), tensor);
  }
}

OptimizerState optimizer_state(const SafetensorsFile& file, const std::string& path) {
  OptimizerState state;
  state.type = wanted(file.metadata, path, "optimizer");
  for (const auto& [name, text] : file.metadata) {
    if (!name.starts_with(optimizer_prefix)) continue;
    state.numbers.emplace_back(name.substr(optimizer_prefix.size()), to_number<double>(text, path, name));
  }
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(optimizer_prefix)) {
      state.tensors.emplace_back(name.substr(optimizer_prefix.size()), tensor);
    }
  }
  return state;
}

StateDict model_state(const SafetensorsFile& file) {
  StateDict state;
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.starts_with(optimizer_prefix)) state.emplace_back(name, tensor);
  }
  return state;
}

Checkpoint head(const Metadata& metadata, const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.step = to_number<std::int64_t>(wanted(metadata, path, "step"), path, "step");
  NORMA_CHECK(checkpoint.step >= 0, path, ": the step is negative: ", checkpoint.step);
  for (const auto& [name, text] : metadata) {
    if (name.starts_with(user_prefix))
      checkpoint.metadata.emplace_back(name.substr(user_prefix.size()), text);
  }
  return checkpoint;
}

}  // namespace

void save_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  StateDict tensors;
  Metadata metadata{{"step", to_text(checkpoint.step)}};
  if (checkpoint.model != nullptr) tensors = checkpoint.model->state_dict();
  for (const auto& [name, tensor] : tensors) {
    NORMA_CHECK(!name.starts_with(optimizer_prefix), "save_checkpoint: the model's \"", name,
                "\" would be taken for a part of the optimizer");
  }
  for (const auto& [name, generator] : checkpoint.generators) {
    NORMA_CHECK(generator != nullptr, "save_checkpoint: generator \"", name, "\" is null");
    const RandomKey key = generator->state();
    metadata.emplace_back(prefixed(generator_prefix, name), to_text(key.seed) + " " + to_text(key.offset));
  }
  for (const auto& [name, text] : checkpoint.metadata)
    metadata.emplace_back(prefixed(user_prefix, name), text);
  if (checkpoint.optimizer != nullptr) append_optimizer(checkpoint.optimizer->state(), tensors, metadata);
  save_safetensors(path, tensors, metadata);
}

void load_checkpoint(const std::string& path, Checkpoint& checkpoint) {
  const SafetensorsFile file = load_safetensors(path);
  Checkpoint loaded = head(file.metadata, path);
  std::vector<RandomKey> keys;
  for (const auto& [name, generator] : checkpoint.generators) {
    NORMA_CHECK(generator != nullptr, "load_checkpoint: generator \"", name, "\" is null");
    const std::string key = prefixed(generator_prefix, name);
    keys.push_back(to_key(wanted(file.metadata, path, key), path, key));
  }
  // The two loads that may still fail: each changes nothing then, and the first can be taken back.
  std::optional<OptimizerState> before;
  if (checkpoint.optimizer != nullptr) {
    before = checkpoint.optimizer->state();
    checkpoint.optimizer->load_state(optimizer_state(file, path));
  }
  try {
    if (checkpoint.model != nullptr) checkpoint.model->load_state_dict(model_state(file));
  } catch (...) {
    if (before) checkpoint.optimizer->load_state(*before);
    throw;
  }
  for (std::size_t i = 0; i < keys.size(); ++i) checkpoint.generators[i].second->set_state(keys[i]);
  checkpoint.step = loaded.step;
  checkpoint.metadata = std::move(loaded.metadata);
}

Checkpoint peek_checkpoint(const std::string& path) {
  return head(detail::read_safetensors_metadata(path), path);
}

StateDict load_model_state(const std::string& path) { return model_state(load_safetensors(path)); }

}  // namespace norma::nn
