// Settings of a training run on MNIST; named once, in visit_settings (see models/setting_texts.h).
#pragma once

#include <memory>
#include <string>

#include "core/device.h"
#include "models/classifier.h"
#include "models/data/digits.h"
#include "models/run_loop.h"
#include "models/setting_texts.h"

namespace norma::models {

struct MnistSettings {
  std::string data;        // a folder with MNIST's files
  std::int64_t train = 0;  // images; 0: see Digits::load
  bool binary = false;

  std::string model = "mlp", norm = "none", activation;  // "": sigmoid in the mlp, relu in the conv net
  std::int64_t layers = 3, width = 100, channels = 16, groups = 4;
  double init_std = 0.1;

  std::int64_t batch = 60, steps = 5000;
  double lr = 0;  // 0: see learning_rate
  std::uint64_t seed = 1;

  std::int64_t threads = 0;  // 0: as many as there are cores
  std::string device = "cpu";
  std::string matmul_precision = "highest";
  std::int64_t eval_every = 100, unit = 0, probe = 0;
  std::string log = "build/mnist/log.csv";
  std::string checkpoint = "build/mnist/model.safetensors";
  double seconds = 0;        // 0: no limit
  std::int64_t stop_at = 0;  // 0: at the end
};

template <SettingsLike<MnistSettings> S, class Visit>
void visit_settings(S& s, Visit&& visit) {
  using enum OnResume;
  visit("data", s.data, keep, "folder with MNIST's IDX files, plain or .gz");
  visit("train", s.train, keep,
        "images to learn from, the others test; 0: the train file with t10k to test, or nine in ten");
  visit("binary", s.binary, keep, "black and white images, as in the batch-norm paper");
  visit("model", s.model, keep, "mlp (fully connected) or conv (two convolutions)");
  visit("norm", s.norm, keep,
        "before each activation: none, batch, renorm, instance (conv only), group, weight, layer or rms");
  visit("activation", s.activation, keep,
        "sigmoid, relu, tanh, gelu, ...; without it: mlp sigmoid, conv relu");
  visit("layers", s.layers, keep, "mlp: hidden layers");
  visit("width", s.width, keep, "mlp: units of a hidden layer");
  visit("channels", s.channels, keep,
        "conv: channels of the first convolution; the second has twice as many");
  visit("groups", s.groups, keep, "of the group norm; divides the width or the channels");
  visit("init-std", s.init_std, keep, "mlp: deviation of the weights at the start");
  visit("batch", s.batch, keep, "images in one step");
  visit("steps", s.steps, change, "updates in all");
  visit("lr", s.lr, change, "rate of plain gradient descent; 0: 0.5 in the mlp, 0.1 in the conv net");
  visit("seed", s.seed, keep, "of starting values and the order of the images");
  visit("threads", s.threads, change, "0: all cores");
  visit("device", s.device, change, "cpu, cuda (a GPU), or reference (plain loops, slow)");
  visit("matmul-precision", s.matmul_precision, change,
        "highest (f32), highest_bf16x6, high or medium: what multiplies matrices where there is AMX, bf16 or "
        "TF32");
  visit("eval-every", s.eval_every, change, "steps between evaluations and checkpoints; 0: at the end only");
  visit("unit", s.unit, change,
        "unit of the last hidden layer whose inputs' 15, 50 and 85% quantiles over the test set are logged");
  visit("probe", s.probe, change,
        "steps between records of every layer's statistics, in the log's name + .probe.csv; 0: none");
  visit("log", s.log, change, "CSV file, one record a step");
  visit("checkpoint", s.checkpoint, change, "file for the model and the state of the run");
  visit("seconds", s.seconds, change, "stop after this time, as if interrupted; 0: no limit");
  visit("stop-at", s.stop_at, change, "stop after this step, as if interrupted; 0: no limit");
}

/// Throws Error naming the flag for a value that is out of range, the checks of the models included.
void check(const MnistSettings& settings);
LoopSettings loop_settings(const MnistSettings& settings);
/// The rate of the settings, or the one that suits the model.
double learning_rate(const MnistSettings& settings);
/// A new model for images of this size, its starting values from the thread's default generator.
std::unique_ptr<Classifier> make_classifier(const MnistSettings& settings, std::int64_t rows,
                                            std::int64_t columns);

}  // namespace norma::models
