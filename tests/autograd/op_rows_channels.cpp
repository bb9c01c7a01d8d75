// Norms over channels.
#include "autograd/normalization.h"
#include "tests/autograd/op_table.h"

namespace norma::tests {
namespace {

OpRow norm(const char* name, std::vector<Sample> inputs, std::function<Tensor(Inputs)> op,
           bool any_size = true) {
  return {
      .name = name, .inputs = std::move(inputs), .op = std::move(op), .any_size = any_size, .row_mean = true};
}

/// One value a channel is an error, so rows are few only where another axis is there.
std::vector<OpRow> batch_norm_rows() {
  const Sample vector = optional(normal({columns}));
  const auto plain = [](Inputs in) { return batch_norm(in[0], in[1], in[2]); };
  const auto large_eps = [](Inputs in) { return batch_norm(in[0], in[1], in[2], 0.1); };
  const auto masked = [](Inputs in) { return batch_norm(in[0], in[1], in[2], 1e-5, in[3]); };
  return {
      norm("batch_norm", {normal({rows, columns, 4}), vector, vector}, plain),
      norm("batch_norm of rows", {normal({8, columns}), vector, vector}, plain, false),
      norm("batch_norm of images", {normal({2, columns, rows, 2}), vector, vector}, large_eps),
      norm("batch_norm of volumes", {normal({2, columns, 2, rows, 2}), vector, vector}, large_eps),
      norm("batch_norm of long sequences", {normal({2, columns, 37}), vector, vector}, plain),
      norm("batch_norm masked", {normal({rows, columns, 12}), vector, vector, mask({rows, 12})}, masked),
      norm("batch_norm masked rows", {normal({9, columns}), vector, vector, mask({9})}, masked, false),
      norm("batch_norm masked images", {normal({2, columns, 5, 8}), vector, vector, mask({2, 5, 8})}, masked),
      norm("batch_norm, statistics given", {normal({rows, columns, 4}), vector, vector},
           [](Inputs in) { return batch_norm(in[0], batch_statistics(in[0]), in[1], in[2], 0.1); }),
  };
}

std::vector<OpRow> inference_rows() {
  const Sample vector = optional(normal({columns}));
  const auto by_constants = [](const Tensor& x, const Tensor& weight, const Tensor& bias,
                               const Tensor& mask) {
    const Tensor steps = arange(0, static_cast<double>(x.size(1)), 1, f64, x.device());
    return batch_norm_inference(x, steps * 0.3 - 0.5, steps * 0.2 + 0.4, weight, bias, 1e-3, mask);
  };
  return {
      {"batch_norm_inference",
       {normal({rows, columns}), vector, vector},
       [=](Inputs in) { return by_constants(in[0], in[1], in[2], {}); }},
      {"batch_norm_inference of images",
       {normal({rows, columns, 5, 8}), vector, vector},
       [=](Inputs in) { return by_constants(in[0], in[1], in[2], {}); }},
      {"batch_norm_inference masked",
       {normal({rows, columns, 5}), vector, vector, mask({rows, 5})},
       [=](Inputs in) { return by_constants(in[0], in[1], in[2], in[3]); }},
  };
}

std::vector<OpRow> group_norm_rows() {
  const auto groups = [](std::int64_t count, double eps) {
    return [=](Inputs in) { return group_norm(in[0], count, in[1], in[2], eps); };
  };
  const auto instance = [](Inputs in) { return instance_norm(in[0], in[1], in[2]); };
  const Sample four = optional(normal({4})), six = optional(normal({6})),
               vector = optional(normal({columns}));
  return {
      norm("group_norm", {normal({rows, 4, columns}), four, four}, groups(2, 1e-5)),
      norm("group_norm of rows", {normal({rows, 6}), six, six}, groups(3, 0.1)),
      norm("group_norm, one group", {normal({rows, columns, 3}), vector, vector}, groups(1, 0.1)),
      norm("group_norm of images", {normal({rows, 4, 5, 8}), four, four}, groups(2, 1e-5)),
      norm("instance_norm", {normal({rows, columns, 6}), vector, vector}, instance),
      norm("instance_norm of images", {normal({2, columns, 5, 8}), vector, vector}, instance),
  };
}

}  // namespace

std::vector<OpRow> channel_rows() {
  std::vector<OpRow> all;
  for (auto part : {batch_norm_rows, inference_rows, group_norm_rows}) {
    for (OpRow& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace norma::tests
