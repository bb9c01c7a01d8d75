// The layer table: one row for each layer (and for each variant worth one). tests/nn/layer_table_test.cpp
// runs every check on every row; a layer class without a row fails the tests.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/module.h"

namespace norma::tests {

using Inputs = std::vector<Tensor>;

struct WrongInput {
  Inputs inputs;
  std::string message;  // a part of it
};

struct LayerRow {
  std::string name;                                   // the class, then what is special about this row
  std::function<std::unique_ptr<nn::Module>()> make;  // f32, on the cpu
  std::function<std::unique_ptr<nn::Module>(nn::Module&)> copy;
  std::function<Tensor(nn::Module&, const Inputs&)> call;
  Inputs inputs;                  // f64 (or i64 and boolean); away from kinks
  std::vector<std::string> keys;  // of the state dictionary, in order
  int absent = 0;                 // parameters that the class has and this variant leaves undefined
  std::vector<WrongInput> wrong = {};
  bool second = true;   // check second derivatives too (small layers)
  bool numeric = true;  // the gradient is the value's: false where parts are constants for the gradient
};

std::vector<LayerRow> layer_table();
/// Parts of it.
std::vector<LayerRow> channel_layer_rows();
std::vector<LayerRow> convolution_layer_rows();
std::vector<LayerRow> weight_layer_rows();
std::vector<LayerRow> row_norm_layer_rows();

/// Every parameter drawn from N(0, 0.5^2), so that no weight is 1 and no bias 0.
void randomize(nn::Module& layer, std::uint64_t seed);

/// N(0, 1), f64.
Tensor normal(const Shape& shape, std::uint64_t seed = 1);

/// Floating tensors converted, all moved.
Inputs converted(const Inputs& inputs, DType dtype, Device device = cpu);

/// Every row's layer on the device, in f64 and in f32, against the same layer in f64 on the oracle: outputs
/// and gradients.
void check_layers(Device device, Device oracle);

}  // namespace norma::tests
