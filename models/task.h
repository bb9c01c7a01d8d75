// What a GPT learns: where batches come from, how its progress is measured, what to show to people.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "models/data/text_dataset.h"
#include "models/settings.h"

namespace norma::models {

struct Evaluation {
  double loss = 0;                                // mean cross-entropy of the held-out part, in nats
  std::optional<double> accuracy = std::nullopt;  // part of the held-out problems answered exactly
};

/// How much of the held-out part to look at: a fixed sample while training, or all within reason at the end.
enum class Effort : std::uint8_t { quick, full };

class Task {
 public:
  virtual ~Task() = default;
  virtual std::string describe() const = 0;
  virtual std::int64_t vocabulary_size() const = 0;
  virtual std::int64_t context() const = 0;  // that the model needs
  virtual Batch next_batch(std::int64_t batch, Generator& generator) const = 0;
  /// The same for the same model, whatever was evaluated before. No evaluation when nothing is held out.
  virtual std::optional<Evaluation> evaluate(Gpt& model, std::int64_t batch, Effort effort) const = 0;
  /// What the model does with held-out problems, or writes by itself. Several lines.
  virtual std::string samples(Gpt& model) const = 0;
};

/// Problems of settings.digits digits, or the bytes of settings.data. Throws Error when the file cannot be
/// read or is too short for the context.
std::unique_ptr<Task> make_task(const Settings& settings);

}  // namespace norma::models
