// The loop of a training run, whatever is trained: progress, log, probe, evaluations, checkpoints.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "autograd/tensor.h"

namespace norma::models {

struct StepReport {
  double loss = 0;           // mean over the step's batches, before the update, in nats
  double gradient_norm = 0;  // before clipping
  double lr = 0;
  std::int64_t items = 0;  // tokens or images

  /// Fills in loss and gradient_norm (f64 [] each) by one copy from the device, the step's only wait for it.
  /// Throws Error with the advice when one is not finite.
  void read(const Tensor& mean_loss, const Tensor& norm, std::int64_t step, const char* advice);
};

/// What the loop trains.
class Training {
 public:
  virtual ~Training() = default;
  /// Updates made so far, and one more.
  virtual std::int64_t step() const = 0;
  virtual StepReport update() = 0;
  virtual void save(const std::string& path) = 0;
  /// For people, when the run begins. Several lines, without a break at the end.
  virtual std::string describe() = 0;
  /// What its reports count: "tokens".
  virtual const char* items() const = 0;

  /// What evaluations say: a value a column of the log, and a text for people.
  struct Findings {
    std::vector<std::string> values;
    std::string text;
  };
  virtual std::vector<std::string> columns() const = 0;
  /// Nothing when nothing is held out. `last`: at the end of a run, where it may take longer.
  virtual std::optional<Findings> evaluate(bool last) = 0;
  /// For people, at the end of a finished run; "" for nothing.
  virtual std::string conclude() { return ""; }
};

struct RunOptions {
  std::string resume;                                 // checkpoint to go on with; empty: start anew
  std::FILE* out = stdout;                            // for people
  bool terminal = false;                              // may lines be rewritten?
  std::function<void()> on_start = [] {};             // called once all is checked, before the first step
  std::function<bool()> stop = [] { return false; };  // asked after each step
};

struct LoopSettings {
  std::int64_t steps = 0;       // updates in all
  std::int64_t stop_at = 0;     // as if interrupted after this one; 0: not
  std::int64_t eval_every = 0;  // steps between evaluations and checkpoints; 0: at the end only
  std::int64_t probe = 0;       // steps between records of the probe, the first step besides; 0: none
  double seconds = 0;           // as if interrupted after this time; 0: not
  std::string log;              // CSV, one record a step
  std::string checkpoint;
};
/// Throws Error naming the flag of a value that is out of range.
void check(const LoopSettings& settings);

/// The probe's file: "log.csv" -> "log.probe.csv"; columns step, layer, mean, std, max, gradient_norm, dead
/// and saturated (see nn/probe.h), one record a layer.
std::string probe_log_of(const std::string& log);

/// Trains until settings.steps, or until stopped, and saves then; true when it came to the end. A log or
/// checkpoint that cannot be written throws Error before the first step.
bool run_loop(Training& training, const LoopSettings& settings, const RunOptions& options);

/// 0.9731 -> "97.31%"; 0.25 -> "0.2500"
std::string percent(double part);
std::string four_digits(double value);

}  // namespace norma::models
