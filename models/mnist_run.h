// Training a classifier of digits, and what its log says about one unit of it.
#pragma once

#include <array>
#include <optional>

#include "models/classifier.h"
#include "models/data/digits.h"
#include "models/mnist_settings.h"
#include "nn/optim/optimizer.h"

namespace norma::models {

/// Over the whole test part.
struct DigitsEvaluation {
  double loss = 0;                       // mean cross-entropy, in nats
  double accuracy = 0;                   // share of the images whose likeliest class is right
  std::array<double, 3> quantiles = {};  // 15, 50 and 85% of what enters the activation of one unit
};

/// Quantile p in [0, 1] of the values, which are reordered; between two of them, a straight line (NumPy's
/// default). NaN when there are none or one is NaN.
double quantile(std::vector<double>& values, double p);

/// The model, in eval mode, on the test part; its mode is restored.
DigitsEvaluation evaluate(Classifier& model, const Digits& digits, std::int64_t unit);

/// Plain gradient descent on shuffled epochs. A checkpoint of it continues bit by bit.
class DigitsTrainer {
 public:
  /// Holds on to all three, which must live as long.
  DigitsTrainer(Classifier& model, const Digits& digits, const MnistSettings& settings);
  /// Throws Error when loss or gradient is not finite, before anything was updated.
  StepReport update();
  std::int64_t step() const { return step_; }
  void save(const std::string& path);
  /// Throws Error when the file does not fit; nothing has changed then.
  void load(const std::string& path);

 private:
  Classifier& model_;
  const Digits& digits_;
  const MnistSettings& settings_;
  nn::SGD optimizer_;
  ShuffledEpochs order_;
  std::int64_t step_ = 0;
};

struct MnistResult {
  std::int64_t step = 0;                       // updates made in all
  bool finished = false;                       // or stopped before the last step
  std::optional<DigitsEvaluation> evaluation;  // at the end of a finished run
};

/// A whole run, as run_training is for a GPT. Columns of the log: step, loss, test_loss, test_accuracy, q15,
/// q50, q85, lr, gradient_norm, images_per_s, seconds.
MnistResult run_mnist(const MnistSettings& settings, const RunOptions& options);

}  // namespace norma::models
