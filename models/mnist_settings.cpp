#include "models/mnist_settings.h"

#include <cmath>

#include "core/precision.h"
#include "models/convnet.h"
#include "models/mlp.h"
#include "models/settings.h"

namespace norma::models {
namespace {

constexpr std::int64_t usual_size = 28;  // pixels each way

void check_numbers(const MnistSettings& s) {
  check_range("--train", s.train, s.train >= 0, "at least 0");
  check_range("--layers", s.layers, s.layers >= 1 && s.layers <= 1000, "1 to 1000");
  check_range("--width", s.width, s.width >= 1 && s.width <= 65536, "1 to 65536");
  check_range("--channels", s.channels, s.channels >= 1 && s.channels <= 4096, "1 to 4096");
  check_range("--groups", s.groups, s.groups >= 1, "at least 1");
  check_range("--init-std", s.init_std, std::isfinite(s.init_std) && s.init_std > 0, "above 0");
  check_range("--batch", s.batch, s.batch >= 1, "at least 1");
  check_range("--lr", s.lr, std::isfinite(s.lr) && s.lr >= 0, "at least 0");
  check_range("--threads", s.threads, s.threads >= 0 && s.threads <= 1024, "0 to 1024");
  check_range("--unit", s.unit, s.unit >= 0, "at least 0");
}

}  // namespace

void check(const MnistSettings& settings) {
  NORMA_CHECK(!settings.data.empty(), "--data needs a folder with MNIST's files");
  check_numbers(settings);
  check(loop_settings(settings));
  static_cast<void>(parse_device(settings.device));
  static_cast<void>(parse_matmul_precision(settings.matmul_precision));
  const bool over_batch = settings.norm == "batch" || settings.norm == "renorm";
  NORMA_CHECK(!(over_batch && settings.model == "mlp" && settings.batch == 1),
              "--batch 1: batch statistics of one image say nothing; use at least 2");
  // Names and combinations are the model's to judge.
  const auto model = make_classifier(settings, usual_size, usual_size);
  NORMA_CHECK(settings.unit < model->last_width(), "--unit ", settings.unit, ": the last hidden layer has ",
              model->last_width(), " units");
}

LoopSettings loop_settings(const MnistSettings& s) {
  return {.steps = s.steps,
          .stop_at = s.stop_at,
          .eval_every = s.eval_every,
          .probe = s.probe,
          .seconds = s.seconds,
          .log = s.log,
          .checkpoint = s.checkpoint};
}

double learning_rate(const MnistSettings& s) {
  if (s.lr > 0) return s.lr;
  return s.model == "conv" ? 0.1 : 0.5;
}

std::unique_ptr<Classifier> make_classifier(const MnistSettings& s, std::int64_t rows, std::int64_t columns) {
  NORMA_CHECK(s.model == "mlp" || s.model == "conv", "--model must be mlp or conv, got ", s.model);
  const auto activation = [&](const char* usual) { return s.activation.empty() ? usual : s.activation; };
  // The published schedule, as if it were for 50,000 steps, on the scale of this run.
  const ClassifierNorm norm{
      .name = s.norm,
      .groups = s.groups,
      .renorm_limits = {.start = s.steps / 10, .r_end = s.steps * 8 / 10 + 1, .d_end = s.steps / 2 + 1}};
  if (s.model == "conv") {
    return std::make_unique<ConvNet>(ConvNetOptions{.rows = rows,
                                                    .columns = columns,
                                                    .channels = s.channels,
                                                    .classes = Digits::classes,
                                                    .norm = norm,
                                                    .activation = activation("relu")});
  }
  return std::make_unique<Mlp>(
      MlpOptions{.inputs = rows * columns,
                 .hidden = std::vector<std::int64_t>(static_cast<std::size_t>(s.layers), s.width),
                 .classes = Digits::classes,
                 .norm = norm,
                 .activation = activation("sigmoid"),
                 .init_std = s.init_std});
}

}  // namespace norma::models
