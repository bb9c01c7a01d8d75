// Multi-layer perceptron with a norm of choice before each activation: the net of the batch-norm paper's
// MNIST experiment (Ioffe & Szegedy 2015, arXiv:1502.03167, section 4.1) by default.
#pragma once

#include <string>
#include <vector>

#include "models/classifier.h"
#include "nn/activation.h"
#include "nn/any_layer.h"
#include "nn/linear.h"

namespace norma::models {

struct MlpOptions {
  std::int64_t inputs = 784;  // pixels of an image
  std::vector<std::int64_t> hidden = {100, 100, 100};
  std::int64_t classes = 10;
  ClassifierNorm norm = {};            // all but instance, which would see one value at a time
  std::string activation = "sigmoid";  // a name of nn::Activation
  double init_std = 0.1;               // of the weights at the start; biases are 0
};

/// y = activation(norm(weight x + bias)) for each hidden layer, without the bias where the norm takes it away
/// again; then a linear layer to the logits. Throws for options outside their ranges, and for images of
/// another number of pixels.
class Mlp : public Classifier {
 public:
  explicit Mlp(const MlpOptions& options);
  Tensor operator()(const Tensor& images, Tensor* last_input = nullptr) override;
  std::int64_t last_width() const override { return options_.hidden.back(); }
  std::string describe() const override;

  std::vector<nn::AnyLayer> layers;
  std::vector<nn::AnyLayer> norms;
  nn::Activation activation;
  nn::Linear head;
  NORMA_PARTS(layers, norms, activation, head)

 private:
  MlpOptions options_;
};

}  // namespace norma::models
