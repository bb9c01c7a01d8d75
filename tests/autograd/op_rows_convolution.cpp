#include "autograd/convolution.h"
#include "tests/autograd/op_table.h"

namespace norma::tests {
namespace {

OpRow conv2d_row(const char* name, std::vector<std::int64_t> x, std::vector<std::int64_t> weight,
                 const Conv2dOptions& options) {
  const std::int64_t out = weight[0];
  return {name,
          {normal(std::move(x)), normal(std::move(weight)), optional(normal({out}))},
          [options](Inputs in) { return conv2d(in[0], in[1], in[2], options); }};
}

std::vector<OpRow> convolutions() {
  return {
      {"unfold",
       {normal({rows, 2, 3, columns})},
       [](Inputs in) {
         return unfold(in[0], {.kernel = {2, 3}, .stride = {1, 2}, .padding = {0, 1}});
       }},
      {"unfold dilated",
       {normal({2, 1, 5, 4})},
       [](Inputs in) {
         return unfold(in[0], {.kernel = {2, 2}, .stride = {2, 1}, .padding = {1, 0}, .dilation = {3, 2}});
       }},
      {"fold",
       {normal({rows, 8, 6})},
       [](Inputs in) {
         return fold(in[0], {3, 4}, {.kernel = {2, 2}});
       }},
      {"conv1d",
       {normal({rows, 2, columns}), normal({3, 2, 3}), optional(normal({3}))},
       [](Inputs in) { return conv1d(in[0], in[1], in[2], {.padding = 1}); }},
      {"conv1d strided, dilated, in groups",
       {normal({2, 4, 9}), normal({2, 2, 3}), optional(normal({2}))},
       [](Inputs in) {
         return conv1d(in[0], in[1], in[2], {.stride = 2, .padding = 1, .dilation = 2, .groups = 2});
       }},
      {"conv1d of one sequence",
       {normal({2, 5}), normal({3, 2, 2})},
       [](Inputs in) { return conv1d(in[0], in[1]); }},
      conv2d_row("conv2d", {rows, 2, 4, columns}, {3, 2, 3, 3}, {.padding = 1}),
      conv2d_row("conv2d strided and dilated", {2, 1, 7, 6}, {2, 1, 2, 3},
                 {.stride = {2, 1}, .padding = {1, 2}, .dilation = {3, 2}}),
      conv2d_row("conv2d in groups", {2, 4, 3, 4}, {6, 2, 2, 2}, {.groups = 2}),
      conv2d_row("conv2d depthwise", {2, 3, 4, 3}, {3, 1, 3, 2}, {.padding = {1, 0}, .groups = 3}),
      conv2d_row("conv2d pointwise", {2, 3, 2, 3}, {4, 3, 1, 1}, {}),
      conv2d_row("conv2d of one image", {2, 3, 4}, {3, 2, 2, 2}, {}),
  };
}

std::vector<OpRow> pools() {
  const Sample line = apart({rows, 2, columns}), plane = apart({2, 2, 5, 7});
  return {
      {"max_pool1d", {line}, [](Inputs in) { return max_pool1d(in[0], 3, {.stride = 2, .padding = 1}); }},
      {"max_pool2d", {plane}, [](Inputs in) { return max_pool2d(in[0], 2); }},
      {"max_pool2d padded, dilated, ceil_mode",
       {plane},
       [](Inputs in) {
         return max_pool2d(in[0], {3, 2},
                           {.stride = {1, 3}, .padding = 1, .dilation = {1, 2}, .ceil_mode = true});
       }},
      {"avg_pool1d",
       {normal({rows, 2, columns})},
       [](Inputs in) { return avg_pool1d(in[0], 3, {.stride = 2, .padding = 1}); }},
      {"avg_pool2d",
       {normal({2, 2, 4, 6})},
       [](Inputs in) {
         return avg_pool2d(in[0], {2, 3});
       }},
      {"avg_pool2d padding not counted, ceil_mode",
       {normal({2, 1, 5, 4})},
       [](Inputs in) {
         return avg_pool2d(in[0], 3,
                           {.stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false});
       }},
      {"adaptive_avg_pool1d",
       {normal({rows, 2, columns})},
       [](Inputs in) { return adaptive_avg_pool1d(in[0], 3); }},
      {"adaptive_avg_pool2d",
       {normal({2, 2, 4, 5})},
       [](Inputs in) {
         return adaptive_avg_pool2d(in[0], {2, 3});
       }},
      {"adaptive_max_pool1d", {line}, [](Inputs in) { return adaptive_max_pool1d(in[0], 2); }},
      {"adaptive_max_pool2d",
       {plane},
       [](Inputs in) {
         return adaptive_max_pool2d(in[0], {3, 1});
       }},
  };
}

}  // namespace

std::vector<OpRow> convolution_rows() {
  std::vector<OpRow> table = convolutions();
  for (OpRow& row : pools()) table.push_back(std::move(row));
  return table;
}

}  // namespace norma::tests
