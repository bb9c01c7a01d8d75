// A whole training run of a GPT: progress, log, evaluations, checkpoints, samples at the end.
#pragma once

#include <optional>

#include "models/run_loop.h"
#include "models/task.h"

namespace norma::models {

struct RunResult {
  std::int64_t step = 0;                 // updates made in all
  bool finished = false;                 // or stopped before the last step
  std::optional<Evaluation> evaluation;  // at the end of a finished run
};

/// Trains until settings.steps, or until stopped, and saves then. The settings must be those of the
/// checkpoint where visit_settings says `keep`. A wrong setting, file or checkpoint throws Error before
/// anything is written; a loss that is not finite throws Error and leaves the last checkpoint as it is.
RunResult run_training(Settings settings, const RunOptions& options);

}  // namespace norma::models
