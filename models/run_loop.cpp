#include "models/run_loop.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "core/file.h"
#include "core/number.h"
#include "models/csv_log.h"
#include "models/progress.h"
#include "models/setting_texts.h"
#include "nn/probe.h"

namespace norma::models {
namespace {

// A run that could not save at its end had better not begin.
void check_writable(const std::string& path) {
  make_folder_of(path);
  const AtomicFile probe(path);
}

std::vector<std::string> log_columns(const Training& training) {
  std::vector<std::string> columns{"step", "loss"};
  for (const std::string& column : training.columns()) columns.push_back(column);
  for (const std::string& column : {std::string("lr"), std::string("gradient_norm"),
                                    training.items() + std::string("_per_s"), std::string("seconds")})
    columns.push_back(column);
  return columns;
}

class Run {
 public:
  Run(Training& training, const LoopSettings& settings, const RunOptions& options)
      : training_(training),
        settings_(settings),
        options_(options),
        log_(settings.log, log_columns(training), resumed_step()),
        progress_(options.out, options.terminal, training.step(), last_step(), settings.seconds,
                  training.items()) {
    if (settings.probe > 0) {
      probe_log_.emplace(probe_log_of(settings.log),
                         std::vector<std::string>{"step", "layer", "mean", "std", "max", "gradient_norm",
                                                  "dead", "saturated"},
                         resumed_step());
    }
  }

  bool operator()() {
    options_.on_start();
    progress_.say(training_.describe());
    if (training_.step() > 0) progress_.say("resumed after step " + std::to_string(training_.step()));
    while (training_.step() < last_step() && !stopped_) one_step();
    const bool finished = training_.step() >= settings_.steps;
    if (saved_at_ != training_.step()) training_.save(settings_.checkpoint);
    if (finished) {
      if (!findings_) evaluate(true);  // resumed at its end
      conclude();
    } else {
      progress_.say("stopped after step " + std::to_string(training_.step()) + " of " +
                    std::to_string(settings_.steps) + "; go on with --resume " + settings_.checkpoint);
    }
    return finished;
  }

 private:
  std::int64_t resumed_step() const { return options_.resume.empty() ? -1 : training_.step(); }
  std::int64_t last_step() const {
    return settings_.stop_at > 0 ? std::min(settings_.stop_at, settings_.steps) : settings_.steps;
  }

  void one_step() {
    const double before = progress_.seconds();
    const StepReport report = update();
    const double step_seconds = std::max(1e-9, progress_.seconds() - before);
    const std::int64_t step = training_.step();
    progress_.step(step, report.loss, report.items);
    const bool last = step == settings_.steps;
    findings_.reset();
    if (last || (settings_.eval_every > 0 && step % settings_.eval_every == 0)) {
      progress_.pause();
      evaluate(last);
      training_.save(settings_.checkpoint);
      saved_at_ = step;
      progress_.go_on();
    }
    write_record(report, step_seconds);
    stopped_ = options_.stop() || (settings_.seconds > 0 && progress_.seconds() >= settings_.seconds);
  }

  StepReport update() {
    const std::int64_t step = training_.step() + 1;
    if (!probe_log_ || (step != 1 && step % settings_.probe != 0)) return training_.update();
    const nn::probe::Recorder recorder;
    const StepReport report = training_.update();
    for (const nn::probe::Record& r : recorder.records()) {
      probe_log_->write({std::to_string(step), r.layer, to_text(r.mean), to_text(r.std), to_text(r.max),
                         to_text(r.gradient_norm), to_text(r.dead), to_text(r.saturated)});
    }
    return report;
  }

  void evaluate(bool last) {
    findings_ = training_.evaluate(last);
    if (findings_) progress_.say("step " + std::to_string(training_.step()) + ": " + findings_->text);
  }

  void write_record(const StepReport& report, double step_seconds) {
    std::vector<std::string> record{std::to_string(training_.step()), to_text(report.loss)};
    for (std::size_t i = 0; i < training_.columns().size(); ++i) {
      record.push_back(findings_ ? findings_->values.at(i) : "");
    }
    for (const std::string& value :
         {to_text(report.lr), to_text(report.gradient_norm),
          four_digits(static_cast<double>(report.items) / step_seconds), four_digits(progress_.seconds())})
      record.push_back(value);
    log_.write(record);
  }

  void conclude() {
    const std::string text = training_.conclude();
    if (!text.empty()) progress_.say(text);
    if (findings_) progress_.say("result: " + findings_->text);
    progress_.say("trained for " + duration(progress_.seconds()) + "\ncheckpoint: " + settings_.checkpoint +
                  "\nlog: " + settings_.log + (probe_log_ ? "\nprobe: " + probe_log_of(settings_.log) : ""));
  }

  Training& training_;
  const LoopSettings& settings_;
  const RunOptions& options_;
  CsvLog log_;
  std::optional<CsvLog> probe_log_;
  Progress progress_;
  std::optional<Training::Findings> findings_;  // of the last step
  std::int64_t saved_at_ = -1;
  bool stopped_ = false;
};

}  // namespace

void StepReport::read(const Tensor& mean_loss, const Tensor& norm, std::int64_t step, const char* advice) {
  const std::vector<double> numbers = stack({mean_loss.detach(), norm}).to_vector<double>();
  loss = numbers[0], gradient_norm = numbers[1];
  NORMA_CHECK(std::isfinite(loss) && std::isfinite(gradient_norm), "training: at step ", step,
              " the loss is ", loss, " and the gradient's norm ", gradient_norm, "; ", advice);
}

void check(const LoopSettings& s) {
  check_range("--steps", s.steps, s.steps >= 1, "at least 1");
  check_range("--eval-every", s.eval_every, s.eval_every >= 0, "at least 0");
  check_range("--probe", s.probe, s.probe >= 0, "at least 0");
  check_range("--seconds", s.seconds, s.seconds >= 0, "at least 0");
  check_range("--stop-at", s.stop_at, s.stop_at >= 0, "at least 0");
  NORMA_CHECK(!s.log.empty(), "--log needs a file name");
  NORMA_CHECK(!s.checkpoint.empty(), "--checkpoint needs a file name");
}

std::string probe_log_of(const std::string& log) {
  const std::string ending = ".csv";
  return (log.ends_with(ending) ? log.substr(0, log.size() - ending.size()) : log) + ".probe.csv";
}

bool run_loop(Training& training, const LoopSettings& settings, const RunOptions& options) {
  check_writable(settings.checkpoint);
  return Run(training, settings, options)();
}

std::string percent(double part) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", 100 * part);
  return text;
}

std::string four_digits(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.4f", value);
  return text;
}

}  // namespace norma::models
