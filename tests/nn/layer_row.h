// How the files of the layer table write a row.
#pragma once

#include <concepts>

#include "autograd/ops.h"
#include "tests/nn/layer_table.h"

namespace norma::tests {

/// A row of a layer called as layer(inputs[0]) or, for two inputs, layer(inputs[0], inputs[1]), where a pair
/// of results is joined into one tensor.
template <class Make>
LayerRow row(std::string name, Make make, Inputs inputs, std::vector<std::string> keys = {}, int absent = 0,
             std::vector<WrongInput> wrong = {}, bool second = true) {
  using Layer = decltype(make());
  LayerRow result;
  result.name = std::move(name);
  result.make = [make] { return std::make_unique<Layer>(make()); };
  result.copy = [](nn::Module& layer) { return std::make_unique<Layer>(dynamic_cast<Layer&>(layer)); };
  result.call = [](nn::Module& layer, const Inputs& in) -> Tensor {
    auto& typed = dynamic_cast<Layer&>(layer);
    if constexpr (std::invocable<Layer&, const Tensor&>) {
      return typed(in.at(0));
    } else if constexpr (std::same_as<decltype(typed(in[0], in[1])), Tensor>) {
      return typed(in.at(0), in.at(1));
    } else {
      const auto [first, second] = typed(in.at(0), in.at(1));
      return cat({first.flatten(), second.flatten()});
    }
  };
  result.inputs = std::move(inputs);
  result.keys = std::move(keys);
  result.absent = absent;
  result.wrong = std::move(wrong);
  result.second = second;
  return result;
}

}  // namespace norma::tests
