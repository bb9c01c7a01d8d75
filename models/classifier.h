// Classifiers of images: what the MNIST programs and tests see of the MLP and the convolutional net.
#pragma once

#include <cstdint>
#include <string>

#include "nn/module.h"
#include "nn/norm/batch_renorm.h"

namespace norma::models {

/// What a classifier normalizes with: the name, and what some methods want to know.
struct ClassifierNorm {
  /// none, batch, renorm (batch renormalization), instance, group, weight (of the layer's weights), layer or
  /// rms.
  std::string name = "none";
  std::int64_t groups = 4;         // group; divides the units or channels
  nn::RenormRamp renorm_limits{};  // renorm; the published schedule is for 50,000 batches and more
};

/// Throws Error listing the names that exist.
[[noreturn]] void unknown_norm(const char* model, const ClassifierNorm& norm);
/// True where the norm takes a bias of the layer before it away again (Ioffe & Szegedy 2015, section 3.2).
bool makes_bias_useless(const ClassifierNorm& norm);

/// images [batch, rows, columns] -> logits [batch, classes].
class Classifier : public nn::Module {
 public:
  /// `last_input`, when given, receives what enters the last hidden activation: [batch, last_width(),
  /// places..], after the norm.
  virtual Tensor operator()(const Tensor& images, Tensor* last_input = nullptr) = 0;
  /// Units (or channels) of the last hidden layer.
  virtual std::int64_t last_width() const = 0;
};

}  // namespace norma::models
