#include "nn/any_layer.h"
#include "nn/convolution.h"
#include "nn/pooling.h"
#include "tests/nn/layer_row.h"

namespace norma::tests {
namespace {

using namespace nn;

/// Values that are all different, for pools that take the largest.
Tensor apart(const Shape& shape) {
  Generator generator(3);
  return (randperm(shape.numel(), cpu, &generator).to(f64) * 0.37 - 2).reshape({shape.begin(), shape.end()});
}

void add_convolutions(std::vector<LayerRow>& rows) {
  const std::vector<std::string> keys{"weight", "bias"};
  const Inputs line{normal({2, 4, 5})}, plane{normal({2, 2, 4, 3})};
  const std::vector<WrongInput> wrong_line{
      {{normal({2, 3, 5})}, "conv1d: x [2, 3, 5] has 3 channels"},
      {{normal({2, 4, 1})}, "conv1d: the window spans 4 (kernel 2, dilation 3)"},
      {{normal({4})}, "conv1d: x must be [n, channels, length] or [channels, length], got shape [4]"},
      {{Tensor()}, "undefined"}};
  rows.push_back(row(
      "Conv1d", [] { return Conv1d(4, 3, 2); }, line, keys));
  rows.push_back(row(
      "Conv1d with options",
      [] { return Conv1d(4, 2, 2, {.stride = 2, .padding = 1, .dilation = 3, .groups = 2}, false); }, line,
      {"weight"}, 1, wrong_line));
  rows.push_back(
      row("Conv2d",
          [] {
            return Conv2d(2, 3, {2, 3});
          },
          plane, keys, 0,
          {{{normal({2, 3, 4, 3})}, "conv2d: x [2, 3, 4, 3] has 3 channels in 1 groups, weight [3, 2, 2, 3]"},
           {{normal({2, 2, 4, 2})}, "must fit into axis -1 of x [2, 2, 4, 2]"}}));
  rows.push_back(row(
      "Conv2d with options",
      [] {
        return Conv2d(2, 4, 3, {.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}, .groups = 2}, false);
      },
      plane, {"weight"}, 1));
  rows.push_back(row("Sequential convolution",
                     [] { return Sequential(Conv2d(2, 3, 2), AvgPool2d(2), Flatten()); }, plane,
                     {"0.weight", "0.bias"}));
}

void add_pools(std::vector<LayerRow>& rows) {
  const Inputs line{apart({2, 2, 5})}, plane{apart({2, 2, 4, 5})};
  rows.push_back(row("MaxPool1d", [] { return MaxPool1d(2); }, line, {}, 0,
                     {{{normal({2, 2, 1})}, "max_pool1d: the window spans 2"}}));
  rows.push_back(row("MaxPool2d",
                     [] {
                       return MaxPool2d({3, 2}, {.stride = 2, .padding = {1, 0}, .ceil_mode = true});
                     },
                     plane, {}, 0, {{{normal({2, 5})}, "max_pool2d: x must be"}}));
  rows.push_back(row(
      "AvgPool1d", [] { return AvgPool1d(3, {.padding = 1, .count_include_pad = false}); }, line));
  rows.push_back(row(
      "AvgPool2d", [] { return AvgPool2d(2, {.stride = 1}); }, plane));
  rows.push_back(row(
      "AdaptiveAvgPool1d", [] { return AdaptiveAvgPool1d(2); }, line));
  rows.push_back(
      row("AdaptiveAvgPool2d",
          [] {
            return AdaptiveAvgPool2d({1, 3});
          },
          plane, {}, 0,
          {{{normal({2, 2, 0, 3})}, "adaptive_avg_pool2d: axis -2 of x is empty, got shape [2, 2, 0, 3]"}}));
  rows.push_back(row(
      "AdaptiveMaxPool1d", [] { return AdaptiveMaxPool1d(3); }, line));
  rows.push_back(row(
      "AdaptiveMaxPool2d", [] { return AdaptiveMaxPool2d(2); }, plane));
  rows.push_back(row(
      "Flatten", [] { return Flatten(); }, plane));
  rows.push_back(row(
      "Flatten of some axes", [] { return Flatten(0, 2); }, plane));
}

}  // namespace

std::vector<LayerRow> convolution_layer_rows() {
  std::vector<LayerRow> rows;
  add_convolutions(rows);
  add_pools(rows);
  return rows;
}

}  // namespace norma::tests
