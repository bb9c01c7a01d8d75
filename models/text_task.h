// The bytes of a file as a task for a language model.
#pragma once

#include "models/task.h"

namespace norma::models {

class TextTask final : public Task {
 public:
  explicit TextTask(const Settings& settings);
  TextTask(TextDataset data, std::int64_t context);
  std::string describe() const override;
  std::int64_t vocabulary_size() const override { return data_.tokenizer().vocabulary_size(); }
  std::int64_t context() const override { return context_; }
  Batch next_batch(std::int64_t batch, Generator& generator) const override;
  std::optional<Evaluation> evaluate(Gpt& model, std::int64_t batch, Effort effort) const override;
  std::string samples(Gpt& model) const override;

 private:
  TextDataset data_;
  std::int64_t context_;
};

}  // namespace norma::models
