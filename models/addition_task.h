// Addition of integers as a task for a language model.
#pragma once

#include "models/data/addition.h"
#include "models/task.h"

namespace norma::models {

class AdditionTask final : public Task {
 public:
  explicit AdditionTask(const Settings& settings);
  std::string describe() const override;
  std::int64_t vocabulary_size() const override { return data_.vocabulary().vocabulary_size(); }
  std::int64_t context() const override { return context_; }
  Batch next_batch(std::int64_t batch, Generator& generator) const override;
  std::optional<Evaluation> evaluate(Gpt& model, std::int64_t batch, Effort effort) const override;
  std::string samples(Gpt& model) const override;
  const AdditionDataset& data() const { return data_; }

 private:
  /// The likeliest answer tokens, [problems, answer_length()].
  Array answers(Gpt& model, std::span<const Problem> problems) const;

  AdditionDataset data_;
  std::int64_t context_;
  double held_out_;
};

}  // namespace norma::models
