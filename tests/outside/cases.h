// The calls that are compared with PyTorch: name -> the same call with Norma. make_fixtures.py draws inputs
// and options under these names; to add an op, add a drawer there and a row here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "autograd/ops.h"
#include "nn/module.h"

namespace norma::tests::outside {

using Tensors = std::vector<Tensor>;

/// Options of one case, "name key=value key=value": numbers, words, or lists with commas. Reading an option
/// that is not there throws, unless a fallback is given.
class CaseOptions {
 public:
  explicit CaseOptions(std::string_view line);

  const std::string& name() const { return name_; }
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const std::string& text(std::string_view key) const;
  double number(std::string_view key) const;
  double number(std::string_view key, double fallback) const { return has(key) ? number(key) : fallback; }
  std::int64_t integer(std::string_view key) const;
  int axis(std::string_view key = "axis") const { return static_cast<int>(integer(key)); }
  bool flag(std::string_view key) const { return has(key) && integer(key) != 0; }
  std::vector<std::string> words(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;
  std::vector<std::int64_t> integers(std::string_view key) const;
  std::vector<int> axes(std::string_view key = "axes") const;
  Shape shape(std::string_view key = "shape") const { return Shape(integers(key)); }
  DType dtype(std::string_view key = "dtype") const;
  Reduction reduction() const;

 private:
  const std::string* find(std::string_view key) const;
  std::string name_;
  std::vector<std::pair<std::string, std::string>> values_;
};

struct Row {
  const char* name;
  /// Outputs. A layer puts its parameters in the place of the inputs that they were copied from.
  Tensors (*call)(Tensors& inputs, const CaseOptions& options);
};

/// All rows, in the order of the parts below.
const std::vector<Row>& rows();
std::vector<Row> elementwise_rows();
std::vector<Row> shape_rows();
std::vector<Row> sum_rows();
std::vector<Row> layer_rows();
std::vector<Row> channel_rows();
std::vector<Row> row_norm_rows();
std::vector<Row> training_rows();
std::vector<Row> convolution_rows();

/// The input at a position, undefined when there are fewer.
inline Tensor optional_input(const Tensors& inputs, std::size_t position) {
  return position < inputs.size() ? inputs[position] : Tensor();
}

/// Makes the module f64, loads the inputs that options name as parameters or buffers (the last ones) into it,
/// and puts the parameters into their places. All parameters must be named; buffers that are not stay.
void take_parameters(nn::Module& module, Tensors& inputs, const CaseOptions& options);

/// The module with the parameters of the case, called on the first input.
template <class Layer>
Tensors with_parameters(Layer layer, Tensors& in, const CaseOptions& o) {
  take_parameters(layer, in, o);
  return {layer(in[0])};
}

}  // namespace norma::tests::outside
