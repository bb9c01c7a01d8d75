#include "models/mnist_run.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "core/number.h"
#include "core/parallel.h"
#include "core/precision.h"
#include "core/profile.h"
#include "models/settings.h"
#include "nn/checkpoint.h"
#include "nn/optim/clip.h"

namespace norma::models {
namespace {

// Key of the order of images: far from the starting values, which use the seed itself.
constexpr std::uint64_t order_stream = 0xA24BAED4963EE407;
constexpr std::int64_t test_batch = 500;
constexpr std::array<double, 3> levels{0.15, 0.5, 0.85};

class MnistTraining final : public Training {
 public:
  MnistTraining(const MnistSettings& settings, const Digits& digits, Classifier& model,
                DigitsTrainer& trainer)
      : settings_(settings), digits_(digits), model_(model), trainer_(trainer) {}

  std::int64_t step() const override { return trainer_.step(); }
  StepReport update() override { return trainer_.update(); }
  void save(const std::string& path) override { trainer_.save(path); }
  const char* items() const override { return "images"; }
  std::string describe() override {
    return "data: " + std::to_string(digits_.train_size()) + " images to learn from, " +
           std::to_string(digits_.test_size()) + " to test\nmodel: " + settings_.model + ", norm " +
           settings_.norm + ", " + std::to_string(model_.parameter_count()) + " parameters; " +
           std::to_string(num_threads()) + " threads";
  }

  std::vector<std::string> columns() const override {
    return {"test_loss", "test_accuracy", "q15", "q50", "q85"};
  }
  std::optional<Findings> evaluate(bool /*last*/) override {
    evaluation_ = models::evaluate(model_, digits_, settings_.unit);
    Findings findings{{to_text(evaluation_->loss), to_text(evaluation_->accuracy)},
                      "test loss " + four_digits(evaluation_->loss) + ", " + percent(evaluation_->accuracy) +
                          " of the test images right"};
    for (const double value : evaluation_->quantiles) findings.values.push_back(to_text(value));
    return findings;
  }

  const std::optional<DigitsEvaluation>& evaluation() const { return evaluation_; }

 private:
  const MnistSettings& settings_;
  const Digits& digits_;
  Classifier& model_;
  DigitsTrainer& trainer_;
  std::optional<DigitsEvaluation> evaluation_;  // the latest
};

}  // namespace

double quantile(std::vector<double>& values, double p) {
  NORMA_CHECK(p >= 0 && p <= 1, "quantile: p must lie in [0, 1], got ", p);
  if (values.empty() || std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); }))
    return std::numeric_limits<double>::quiet_NaN();
  const double place = p * static_cast<double>(values.size() - 1);
  const auto below = values.begin() + static_cast<std::ptrdiff_t>(place);
  std::nth_element(values.begin(), below, values.end());
  const double part = place - std::floor(place);
  if (part == 0) return *below;
  return *below + part * (*std::min_element(below + 1, values.end()) - *below);
}

DigitsEvaluation evaluate(Classifier& model, const Digits& digits, std::int64_t unit) {
  NORMA_CHECK(unit >= 0 && unit < model.last_width(), "evaluate: unit ", unit, " is not in [0, ",
              model.last_width(), ")");
  const NoGrad guard;
  const bool was_training = model.is_training();
  model.eval();
  const Device device = model.parameters().front().device();
  DigitsEvaluation evaluation;
  std::vector<double> inputs;
  for (std::int64_t first = 0; first < digits.test_size(); first += test_batch) {
    const ImageBatch batch = digits.test_batch(first, test_batch);
    const Tensor targets = Tensor(batch.labels).to(device);
    Tensor last_input;
    const Tensor logits = model(Tensor(batch.images).to(device), &last_input);
    evaluation.loss += cross_entropy(logits, targets, {.reduction = Reduction::sum}).item();
    evaluation.accuracy += (logits.argmax() == targets).to(f64).sum().item();
    const std::vector<double> of_unit = last_input.select(1, unit).to(cpu).to(f64).to_vector<double>();
    inputs.insert(inputs.end(), of_unit.begin(), of_unit.end());
  }
  evaluation.loss /= static_cast<double>(digits.test_size());
  evaluation.accuracy /= static_cast<double>(digits.test_size());
  for (std::size_t i = 0; i < levels.size(); ++i) evaluation.quantiles[i] = quantile(inputs, levels[i]);
  model.train(was_training);
  return evaluation;
}

DigitsTrainer::DigitsTrainer(Classifier& model, const Digits& digits, const MnistSettings& settings)
    : model_(model),
      digits_(digits),
      settings_(settings),
      optimizer_(model.parameters(), {.lr = learning_rate(settings)}),
      order_(digits.train_size(), settings.seed ^ order_stream) {}

StepReport DigitsTrainer::update() {
  StepReport report{.lr = learning_rate(settings_), .items = settings_.batch};
  const Device device = model_.parameters().front().device();
  const ImageBatch batch = [&] {
    const ProfileSection section("next batch");
    return digits_.train_batch(order_.indices(step_ * settings_.batch, settings_.batch));
  }();
  model_.train();
  optimizer_.zero_grad();
  const Tensor loss = cross_entropy(model_(Tensor(batch.images).to(device)), Tensor(batch.labels).to(device));
  loss.backward();
  const Tensor norm = nn::clip_grad_norm_(model_.parameters(), std::numeric_limits<double>::infinity());
  report.read(loss.detach().to(f64), norm, step_, "try a lower --lr");
  optimizer_.step();
  ++step_;
  return report;
}

void DigitsTrainer::save(const std::string& path) {
  nn::save_checkpoint(
      path,
      {.model = &model_, .optimizer = &optimizer_, .step = step_, .metadata = write_settings(settings_)});
}

void DigitsTrainer::load(const std::string& path) {
  nn::Checkpoint checkpoint{.model = &model_, .optimizer = &optimizer_};
  nn::load_checkpoint(path, checkpoint);
  step_ = checkpoint.step;
  optimizer_.set_lr(learning_rate(settings_));
}

MnistResult run_mnist(const MnistSettings& settings, const RunOptions& options) {
  check(settings);
  Digits digits = Digits::load(settings.data, settings.train);
  if (settings.binary) digits.make_binary();
  if (settings.threads > 0) set_num_threads(static_cast<int>(settings.threads));
  set_matmul_precision(settings.matmul_precision);
  manual_seed(settings.seed);
  const auto model = make_classifier(settings, digits.rows(), digits.columns());
  model->to(parse_device(settings.device));
  DigitsTrainer trainer(*model, digits, settings);
  if (!options.resume.empty()) trainer.load(options.resume);
  MnistTraining training(settings, digits, *model, trainer);
  const bool finished = run_loop(training, loop_settings(settings), options);
  return {trainer.step(), finished, finished ? training.evaluation() : std::nullopt};
}

}  // namespace norma::models
