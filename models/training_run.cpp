#include "models/training_run.h"

#include <algorithm>

#include "core/file.h"
#include "core/number.h"
#include "core/parallel.h"
#include "models/csv_log.h"
#include "models/progress.h"
#include "models/trainer.h"

namespace norma::models {
namespace {

const std::vector<std::string> columns{"step", "loss",          "validation_loss", "validation_accuracy",
                                       "lr",   "gradient_norm", "tokens_per_s",    "seconds"};

std::string percent(double part) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", 100 * part);
  return text;
}

std::string fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", value);
  return text;
}

std::string describe(const Evaluation& evaluation) {
  std::string text = "validation loss " + fixed(evaluation.loss);
  if (evaluation.accuracy)
    text += ", " + percent(*evaluation.accuracy) + " of the held-out problems exactly right";
  return text;
}

std::vector<std::string> record(std::int64_t step, const StepReport& report,
                                const std::optional<Evaluation>& held_out, double step_seconds,
                                double seconds) {
  return {std::to_string(step),
          to_text(report.loss),
          held_out ? to_text(held_out->loss) : "",
          held_out && held_out->accuracy ? to_text(*held_out->accuracy) : "",
          to_text(report.lr),
          to_text(report.gradient_norm),
          fixed(static_cast<double>(report.tokens) / step_seconds),
          fixed(seconds)};
}

// A run that could not save at its end had better not begin.
void check_writable(const std::string& path) {
  make_folder_of(path);
  const AtomicFile probe(path);
}

class Run {
 public:
  Run(const Settings& settings, const RunOptions& options, const Task& task, Gpt& model, Trainer& trainer)
      : settings_(settings),
        options_(options),
        task_(task),
        model_(model),
        trainer_(trainer),
        log_(settings.log, columns, options.resume.empty() ? -1 : trainer.step()),
        progress_(options.out, options.terminal, trainer.step(), last_step(), settings.seconds) {}

  RunResult operator()() {
    options_.on_start();
    announce();
    while (trainer_.step() < last_step() && !stopped_) one_step();
    const bool finished = trainer_.step() >= settings_.steps;
    if (saved_at_ != trainer_.step()) trainer_.save(settings_.checkpoint);
    if (finished) {
      if (!evaluation_) evaluate(Effort::full);  // resumed at its end
      conclude();
    } else {
      progress_.say("stopped after step " + std::to_string(trainer_.step()) + " of " +
                    std::to_string(settings_.steps) + "; go on with --resume " + settings_.checkpoint);
    }
    return {trainer_.step(), finished, evaluation_};
  }

 private:
  std::int64_t last_step() const {
    return settings_.stop_at > 0 ? std::min(settings_.stop_at, settings_.steps) : settings_.steps;
  }

  void announce() {
    progress_.say("task: " + task_.describe());
    progress_.say("model: " + std::to_string(model_.parameter_count()) + " parameters, context " +
                  std::to_string(task_.context()) + "; " + std::to_string(num_threads()) + " threads");
    if (trainer_.step() > 0) progress_.say("resumed after step " + std::to_string(trainer_.step()));
  }

  void one_step() {
    const double before = progress_.seconds();
    const StepReport report = trainer_.update();
    const double step_seconds = std::max(1e-9, progress_.seconds() - before);
    const std::int64_t step = trainer_.step();
    progress_.step(step, report.loss, report.tokens);
    const bool last = step == settings_.steps;
    evaluation_.reset();
    if (last || (settings_.eval_every > 0 && step % settings_.eval_every == 0)) {
      progress_.pause();
      evaluate(last ? Effort::full : Effort::quick);
      trainer_.save(settings_.checkpoint);
      saved_at_ = step;
      progress_.go_on();
    }
    log_.write(record(step, report, evaluation_, step_seconds, progress_.seconds()));
    stopped_ = options_.stop() || (settings_.seconds > 0 && progress_.seconds() >= settings_.seconds);
  }

  void evaluate(Effort effort) {
    model_.eval();
    evaluation_ = task_.evaluate(model_, settings_.batch, effort);
    if (evaluation_) progress_.say("step " + std::to_string(trainer_.step()) + ": " + describe(*evaluation_));
  }

  void conclude() {
    progress_.say("\nsamples:\n" + task_.samples(model_));
    if (evaluation_) progress_.say("result: " + describe(*evaluation_));
    progress_.say("trained for " + duration(progress_.seconds()) + "\ncheckpoint: " + settings_.checkpoint +
                  "\nlog: " + settings_.log);
  }

  const Settings& settings_;
  const RunOptions& options_;
  const Task& task_;
  Gpt& model_;
  Trainer& trainer_;
  CsvLog log_;
  Progress progress_;
  std::optional<Evaluation> evaluation_;  // of the last step
  std::int64_t saved_at_ = -1;
  bool stopped_ = false;
};

}  // namespace

RunResult run_training(Settings settings, const RunOptions& options) {
  check(settings);
  const std::unique_ptr<Task> task = make_task(settings);
  settings.context = task->context();
  if (settings.threads > 0) set_num_threads(static_cast<int>(settings.threads));
  manual_seed(settings.seed);
  Gpt model(gpt_options(settings, task->vocabulary_size(), settings.context));
  model.to(parse_device(settings.device));
  Trainer trainer(model, *task, settings);
  if (!options.resume.empty()) trainer.load(options.resume);
  check_writable(settings.checkpoint);
  return Run(settings, options, *task, model, trainer)();
}

}  // namespace norma::models
