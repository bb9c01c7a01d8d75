// A small convolutional net with a norm of choice after each convolution.
#pragma once

#include <string>
#include <vector>

#include "models/classifier.h"
#include "nn/activation.h"
#include "nn/any_layer.h"
#include "nn/linear.h"
#include "nn/pooling.h"

namespace norma::models {

struct ConvNetOptions {
  std::int64_t rows = 28, columns = 28;  // of an image, at least 4 each
  std::int64_t channels = 16;            // of the first convolution; the second has twice as many
  std::int64_t classes = 10;
  ClassifierNorm norm = {};
  std::string activation = "relu";  // a name of nn::Activation
};

/// Twice: convolution 3 x 3, norm, activation, maximum over 2 x 2; then a linear layer to the logits. layer
/// and rms normalize all channels and places of an image together, with a gain for each, as Ba et al. 2016
/// define it for a layer's units; the others work channel by channel. Weights start as in He et al. 2015.
/// Throws for options outside their ranges, and for images of another size.
class ConvNet : public Classifier {
 public:
  explicit ConvNet(const ConvNetOptions& options);
  Tensor operator()(const Tensor& images, Tensor* last_input = nullptr) override;
  std::int64_t last_width() const override { return 2 * options_.channels; }
  std::string describe() const override;

  std::vector<nn::AnyLayer> layers;
  std::vector<nn::AnyLayer> norms;
  nn::Activation activation;
  nn::MaxPool2d pool;
  nn::Linear head;
  NORMA_PARTS(layers, norms, activation, pool, head)

 private:
  ConvNetOptions options_;
};

}  // namespace norma::models
