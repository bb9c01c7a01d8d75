#include "models/invariances.h"

#include <cstdio>
#include <functional>
#include <limits>

#include "autograd/ops.h"
#include "core/number.h"
#include "core/random.h"
#include "nn/linear.h"
#include "nn/norm/ada_norm.h"
#include "nn/norm/batch_norm.h"
#include "nn/norm/batch_renorm.h"
#include "nn/norm/dynamic_tanh.h"
#include "nn/norm/group_norm.h"
#include "nn/norm/instance_norm.h"
#include "nn/norm/l2_norm.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/rms_norm.h"
#include "nn/norm/scale_norm.h"
#include "nn/norm/weight_norm.h"

namespace norma::models {
namespace {

constexpr std::int64_t samples = 6, inputs = 5, neurons = 8, positions = 4;
constexpr double scale = 2.5;  // delta
constexpr double rounding = 1e-12, visible = 1e-2;

/// y of weight [neurons, inputs] and x [samples, inputs, positions]: [samples, neurons, positions].
using Layer = std::function<Tensor(const Tensor& weight, const Tensor& x)>;

struct Method {
  std::string name;
  bool in_papers;
  std::array<bool, invariance_operations.size()> expected;
  Layer layer;
};

// A norm of the sums z of each position, over the neurons.
template <class Norm>
Layer over_neurons(Norm norm) {
  norm.to(f64);
  return [norm](const Tensor& weight, const Tensor& x) mutable {
    return norm(matmul(weight, x).transpose(1, 2)).transpose(1, 2);
  };
}

// A norm of the sums [samples, neurons, positions] of each neuron.
template <class Norm>
Layer over_channels(Norm norm) {
  norm.to(f64);
  return [norm](const Tensor& weight, const Tensor& x) mutable { return norm(matmul(weight, x)); };
}

// The given weight is the direction; the lengths are the parameters of the layer and stay.
Layer weight_normalized() {
  nn::WeightNorm layer(nn::Linear(inputs, neurons, false));
  layer.to(f64);
  return [layer](const Tensor& weight, const Tensor& x) mutable {
    layer.weight_v = weight;
    return layer(x.transpose(1, 2)).transpose(1, 2);
  };
}

constexpr bool yes = true, no = false;

std::vector<Method> methods() {
  using namespace nn;
  const Shape width{neurons};
  constexpr double infinity = std::numeric_limits<double>::infinity();
  // New running statistics and no limits: each batch is normalized by them, not by its own.
  const BatchRenormOptions open_renorm{.num_features = neurons, .eps = 0, .limits = [](std::int64_t) {
                                         return RenormLimits{infinity, infinity};
                                       }};
  return {
      {"BatchNorm",
       true,
       {yes, no, yes, yes, yes, no},
       over_channels(BatchNorm1d({.num_features = neurons, .eps = 0}))},
      {"WeightNorm", true, {yes, no, yes, no, no, no}, weight_normalized()},
      {"LayerNorm",
       true,
       {yes, yes, no, yes, no, yes},
       over_neurons(LayerNorm({.normalized_shape = width, .eps = 0}))},
      {"RMSNorm",
       true,
       {yes, no, no, yes, no, yes},
       over_neurons(RMSNorm({.normalized_shape = width, .eps = 0}))},
      {"pRMSNorm",
       true,
       {yes, no, no, yes, no, yes},
       over_neurons(RMSNorm({.normalized_shape = width, .eps = 0, .partial = 0.5}))},
      {"GroupNorm",
       false,
       {yes, no, no, yes, no, yes},
       over_channels(GroupNorm({.num_groups = 2, .num_channels = neurons, .eps = 0}))},
      {"InstanceNorm",
       false,
       {yes, no, yes, yes, yes, yes},
       over_channels(InstanceNorm1d({.num_features = neurons, .eps = 0}))},
      {"BatchRenorm", false, {no, no, no, no, no, no}, over_channels(BatchRenorm1d(open_renorm))},
      {"AdaNorm",
       false,
       {yes, yes, no, yes, no, yes},
       over_neurons(AdaNorm({.normalized_shape = width, .eps = 0}))},
      {"L2Norm", false, {yes, no, no, yes, no, yes}, over_neurons(L2Norm())},
      {"ScaleNorm", false, {yes, no, no, yes, no, yes}, over_neurons(ScaleNorm(neurons))},
      {"DynamicTanh", false, {no, no, no, no, no, no}, over_neurons(DynamicTanh(neurons))},
      {"none",
       false,
       {no, no, no, no, no, no},
       [](const Tensor& w, const Tensor& x) { return matmul(w, x); }},
  };
}

// Weights and data, neither of them centred.
struct Sample {
  Tensor weight, x;
  Generator generator;

  explicit Sample(std::uint64_t seed) : generator(seed) {
    weight = random({neurons, inputs}) + 0.2;
    x = random({samples, inputs, positions}) + 0.3;
  }
  Tensor random(const Shape& shape) { return randn(shape, f64, cpu, &generator); }
};

double relative_change(const Tensor& changed, const Tensor& y) {
  return (changed - y).abs().max().item() / y.abs().max().item();
}

// t with the entries at `position` of axis 0 times delta.
Tensor scaled_at(const Tensor& t, std::int64_t position) {
  const Tensor here = arange(0, static_cast<double>(t.size(0)), 1, f64) == static_cast<double>(position);
  std::vector<std::int64_t> extents(static_cast<std::size_t>(t.dim()), 1);
  extents[0] = t.size(0);
  return t * (here.to(f64) * (scale - 1) + 1).reshape(extents);
}

// Weight and data after operation number `operation`.
std::pair<Tensor, Tensor> operate(Sample& s, std::size_t operation) {
  switch (operation) {
    case 0:
      return {s.weight * scale, s.x};
    case 1:
      return {s.weight + s.random({1, inputs}), s.x};
    case 2:
      return {scaled_at(s.weight, 1), s.x};
    case 3:
      return {s.weight, s.x * scale};
    case 4:
      return {s.weight, s.x + s.random({1, inputs, 1})};
    default:
      return {s.weight, scaled_at(s.x, 2)};
  }
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0e", value);
  return text;
}

std::string padded(const std::string& text, std::size_t width) {
  return text + std::string(text.size() < width ? width - text.size() : 1, ' ');
}

const char* word(bool unchanged) { return unchanged ? "yes" : "no"; }
const char* word(Verdict verdict) {
  return verdict == Verdict::unclear ? "unclear" : word(verdict == Verdict::unchanged);
}

}  // namespace

Verdict Measured::verdict() const {
  if (change <= rounding) return Verdict::unchanged;
  return change >= visible ? Verdict::changed : Verdict::unclear;  // NaN: unclear
}

std::vector<InvarianceRow> measure_invariances(std::uint64_t seed) {
  const NoGrad guard;
  std::vector<InvarianceRow> rows;
  for (const Method& method : methods()) {
    InvarianceRow row{.method = method.name, .in_papers = method.in_papers, .cells = {}};
    Sample sample(seed);  // the same for all methods
    const Tensor y = method.layer(sample.weight, sample.x);
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const auto [weight, x] = operate(sample, i);
      row.cells[i] = {relative_change(method.layer(weight, x), y), method.expected[i]};
    }
    rows.push_back(row);
  }
  return rows;
}

std::vector<InvarianceStatement> measure_invariance_statements(std::uint64_t seed) {
  const NoGrad guard;
  Sample s(seed);
  nn::LayerNorm layer({.normalized_shape = {neurons}, .eps = 0});
  nn::RMSNorm rms({.normalized_shape = {neurons}, .eps = 0});
  layer.to(f64);
  rms.to(f64);
  const auto sums = [](const Tensor& weight, const Tensor& x) { return matmul(weight, x).transpose(1, 2); };
  const Tensor z = sums(s.weight, s.x), y = layer(z), y_rms = rms(z);
  const auto root_mean_square = [&](const Tensor& of) { return of / rms(of); };
  const Tensor per_neuron = s.random({neurons, 1});
  const Tensor centred = s.x - s.x.mean(1, keepdim);
  return {
      {"LayerNorm(a z) = LayerNorm(z) for a < 0", {relative_change(layer(z * -scale), y), no}},
      {"LayerNorm(a z) = -LayerNorm(z) for a < 0", {relative_change(layer(z * -scale), -y), yes}},
      {"RMSNorm(a z) = -RMSNorm(z) for a < 0", {relative_change(rms(z * -scale), -y_rms), yes}},
      {"RMS(a z) = a RMS(z) for a < 0",
       {relative_change(root_mean_square(z * -scale), root_mean_square(z) * -scale), no}},
      {"RMS(a z) = |a| RMS(z) for a < 0",
       {relative_change(root_mean_square(z * -scale), root_mean_square(z) * scale), yes}},
      {"LayerNorm, W + b 1^T: a constant for each neuron",
       {relative_change(layer(sums(s.weight + per_neuron, s.x)), y), no}},
      {"LayerNorm, W + b 1^T, when every input sums to zero",
       {relative_change(layer(sums(s.weight + per_neuron, centred)), layer(sums(s.weight, centred))), yes}},
      {"LayerNorm, W + b 1^T with all b equal", {relative_change(layer(sums(s.weight + 0.7, s.x)), y), yes}},
      {"LayerNorm(a z + b) = LayerNorm(z) for numbers a > 0 and b",
       {relative_change(layer(z * scale + 0.7), y), yes}},
      {"LayerNorm(z + b) = LayerNorm(z) for a vector b",
       {relative_change(layer(z + s.random({neurons})), y), no}},
      {"RMSNorm(z + b) = RMSNorm(z) for a number b", {relative_change(rms(z + 0.7), y_rms), no}},
  };
}

std::string show(const std::vector<InvarianceRow>& rows, const std::vector<InvarianceStatement>& statements) {
  constexpr std::size_t name_width = 16, cell_width = 20;
  std::string text =
      "y = norm(W x): unchanged? (what the papers say, or [derived])  largest relative change\n\n";
  text += padded("", name_width);
  for (const char* head :
       {"weight matrix", "weight matrix", "weight vector", "dataset", "dataset", "single case"})
    text += padded(head, cell_width);
  text += "\n" + padded("", name_width);
  for (const char* head :
       {"re-scaling", "re-centering", "re-scaling", "re-scaling", "re-centering", "re-scaling"})
    text += padded(head, cell_width);
  text += "\n";
  for (const InvarianceRow& row : rows) {
    text += padded(row.method, name_width);
    for (const Measured& cell : row.cells) {
      const std::string said = word(cell.expected);
      text += padded(padded(word(cell.verdict()), 4) + (row.in_papers ? "(" + said + ")" : "[" + said + "]") +
                         " " + short_number(cell.change),
                     cell_width);
    }
    text += "\n";
  }
  text += "\n";
  for (const InvarianceStatement& statement : statements) {
    text += padded(statement.text, 64) + padded(word(statement.measured.verdict()), 4) + "[" +
            word(statement.measured.expected) + "] " + short_number(statement.measured.change) + "\n";
  }
  return text;
}

std::vector<std::string> disagreements(const std::vector<InvarianceRow>& rows,
                                       const std::vector<InvarianceStatement>& statements) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& what, const Measured& measured) {
    if (measured.agrees()) return;
    lines.push_back(what + ": expected " + word(measured.expected) + ", measured a change of " +
                    to_text(measured.change));
  };
  for (const InvarianceRow& row : rows) {
    for (std::size_t i = 0; i < row.cells.size(); ++i)
      add(row.method + ", " + std::string(invariance_operations[i]), row.cells[i]);
  }
  for (const InvarianceStatement& statement : statements) add(statement.text, statement.measured);
  return lines;
}

}  // namespace norma::models
