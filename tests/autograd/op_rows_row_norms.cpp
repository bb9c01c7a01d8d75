// Norms over the last axis.
#include "autograd/normalization.h"
#include "tests/autograd/op_table.h"

namespace norma::tests {
namespace {

OpRow norm(const char* name, std::vector<Sample> inputs, std::function<Tensor(Inputs)> op) {
  return {.name = name, .inputs = std::move(inputs), .op = std::move(op), .row_mean = true};
}

/// A sum of f32 numbers near 1e4 is itself rounded, so the mean of these is left alone.
OpRow sum_norm(const char* name, std::vector<Sample> inputs, std::function<Tensor(Inputs)> op) {
  return {.name = name, .inputs = std::move(inputs), .op = std::move(op)};
}

/// Statistics that count as constants: no finite difference sees that.
OpRow detached(const char* name, Detached constants) {
  const Sample weight = optional(normal({columns}));
  OpRow row = norm(name, {normal({rows, columns}), weight, weight},
                   [constants](Inputs in) { return layer_norm(in[0], in[1], in[2], 1e-5, constants); });
  row.numeric = false;
  return row;
}

Tensor joined(const std::pair<Tensor, Tensor>& both) { return cat({both.first, both.second}, -1); }

}  // namespace

std::vector<OpRow> row_norm_rows() {
  const Sample x = normal({rows, columns}), weight = optional(normal({columns}));
  const Sample wide = normal({2, rows, columns}), gain = optional(normal({1}));
  const auto half = [](const Tensor& in) { return (in.size(-1) + 1) / 2; };
  return {
      norm("layer_norm", {x, weight, weight},
           [](Inputs in) { return layer_norm(in[0], in[1], in[2], 1e-5); }),
      norm("layer_norm of three axes, large eps", {wide, weight, weight},
           [](Inputs in) { return layer_norm(in[0], in[1], in[2], 0.1); }),
      detached("layer_norm, mean detached", {.mean = true}),
      detached("layer_norm, deviation detached", {.std = true}),
      detached("layer_norm, both detached", {.mean = true, .std = true}),
      norm("rms_norm", {x, weight}, [](Inputs in) { return rms_norm(in[0], in[1]); }),
      norm("rms_norm outside, large eps", {wide, weight},
           [](Inputs in) { return rms_norm(in[0], in[1], 0.1); }),
      norm("rms_norm inside", {x, weight},
           [](Inputs in) { return rms_norm(in[0], in[1], 0.1, RmsEps::inside); }),
      norm("rms_norm outside, partial", {x, weight},
           [half](Inputs in) { return rms_norm(in[0], in[1], 0.1, RmsEps::outside, half(in[0])); }),
      norm("rms_norm inside, partial", {wide, weight},
           [half](Inputs in) { return rms_norm(in[0], in[1], 1e-3, RmsEps::inside, half(in[0])); }),
      norm("l2_norm", {x, gain}, [](Inputs in) { return l2_norm(in[0], in[1]); }),
      norm("l2_norm of three axes, weight of rank 0", {wide, normal({})},
           [](Inputs in) { return l2_norm(in[0], in[1], 0.1); }),
      norm("l2_norm below its floor", {x, gain}, [](Inputs in) { return l2_norm(in[0], in[1], 1e6); }),
      sum_norm("add_layer_norm", {x, x, weight, weight},
               [](Inputs in) { return joined(add_layer_norm(in[0], in[1], in[2], in[3], 0.1)); }),
      sum_norm("add_layer_norm, the norm alone", {wide, wide, weight, weight},
               [](Inputs in) { return add_layer_norm(in[0], in[1], in[2], in[3], 0.1).second; }),
      sum_norm("add_layer_norm, the sum alone", {x, x},
               [](Inputs in) { return add_layer_norm(in[0], in[1]).first; }),
      sum_norm("add_layer_norm, a tensor with itself", {x},
               [](Inputs in) { return joined(add_layer_norm(in[0], in[0], {}, {}, 0.1)); }),
      sum_norm("add_rms_norm", {x, x, weight},
               [](Inputs in) { return joined(add_rms_norm(in[0], in[1], in[2], 0.1)); }),
      sum_norm("add_rms_norm inside, the norm alone", {wide, wide, weight},
               [](Inputs in) { return add_rms_norm(in[0], in[1], in[2], 1e-5, RmsEps::inside).second; }),
  };
}

}  // namespace norma::tests
