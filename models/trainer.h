// One update of a language model: batches in, gradients, clipping, schedule, optimizer.
#pragma once

#include "models/run_loop.h"
#include "models/task.h"
#include "nn/optim/optimizer.h"

namespace norma::models {

/// Owns what a run changes besides the model: the optimizer and the place in the data. A checkpoint of it
/// continues bit by bit. Dropout and starting values draw from the thread's default generator.
class Trainer {
 public:
  /// Holds on to all three, which must live as long.
  Trainer(Gpt& model, const Task& task, const Settings& settings);

  /// Makes update number step() and counts on. Throws Error when loss or gradient is not finite, before
  /// anything was updated.
  StepReport update();
  std::int64_t step() const { return step_; }

  void save(const std::string& path);
  /// Throws Error when the file does not fit; nothing has changed then. Rate and decay are the settings'.
  void load(const std::string& path);

 private:
  Gpt& model_;
  const Task& task_;
  const Settings& settings_;
  nn::Schedule schedule_;
  nn::AdamW optimizer_;
  Generator data_;
  std::int64_t step_ = 0;
};

}  // namespace norma::models
