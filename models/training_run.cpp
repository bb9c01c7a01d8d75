#include "models/training_run.h"

#include "core/number.h"
#include "core/parallel.h"
#include "core/precision.h"
#include "models/trainer.h"

namespace norma::models {
namespace {

// A GPT's training, as the loop sees it.
class GptTraining final : public Training {
 public:
  GptTraining(const Settings& settings, const Task& task, Gpt& model, Trainer& trainer)
      : settings_(settings), task_(task), model_(model), trainer_(trainer) {}

  std::int64_t step() const override { return trainer_.step(); }
  StepReport update() override { return trainer_.update(); }
  void save(const std::string& path) override { trainer_.save(path); }
  const char* items() const override { return "tokens"; }
  std::string describe() override {
    return "task: " + task_.describe() + "\nmodel: " + std::to_string(model_.parameter_count()) +
           " parameters, context " + std::to_string(task_.context()) + "; " + std::to_string(num_threads()) +
           " threads";
  }

  std::vector<std::string> columns() const override { return {"validation_loss", "validation_accuracy"}; }
  std::optional<Findings> evaluate(bool last) override {
    model_.eval();
    evaluation_ = task_.evaluate(model_, settings_.batch, last ? Effort::full : Effort::quick);
    if (!evaluation_) return std::nullopt;
    Findings findings{{to_text(evaluation_->loss), ""}, "validation loss " + four_digits(evaluation_->loss)};
    if (evaluation_->accuracy) {
      findings.values[1] = to_text(*evaluation_->accuracy);
      findings.text += ", " + percent(*evaluation_->accuracy) + " of the held-out problems exactly right";
    }
    return findings;
  }
  std::string conclude() override { return "\nsamples:\n" + task_.samples(model_); }

  const std::optional<Evaluation>& evaluation() const { return evaluation_; }

 private:
  const Settings& settings_;
  const Task& task_;
  Gpt& model_;
  Trainer& trainer_;
  std::optional<Evaluation> evaluation_;  // the latest
};

}  // namespace

RunResult run_training(Settings settings, const RunOptions& options) {
  check(settings);
  const std::unique_ptr<Task> task = make_task(settings);
  settings.context = task->context();
  if (settings.threads > 0) set_num_threads(static_cast<int>(settings.threads));
  set_matmul_precision(settings.matmul_precision);
  manual_seed(settings.seed);
  Gpt model(gpt_options(settings, task->vocabulary_size(), settings.context));
  model.to(parse_device(settings.device));
  Trainer trainer(model, *task, settings);
  if (!options.resume.empty()) trainer.load(options.resume);
  GptTraining training(settings, *task, model, trainer);
  const bool finished = run_loop(training, loop_settings(settings), options);
  return {trainer.step(), finished, finished ? training.evaluation() : std::nullopt};
}

}  // namespace norma::models
