#include "tests/autograd/op_checks.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/node.h"

namespace norma::tests {

const std::vector<OpRow>& op_table() {
  static const std::vector<OpRow> table = [] {
    std::vector<OpRow> all;
    for (auto part : {elementwise_rows, shape_rows, reduction_rows, product_rows, layer_rows, channel_rows,
                      convolution_rows, weight_rows, row_norm_rows}) {
      for (OpRow& row : part()) all.push_back(std::move(row));
    }
    return all;
  }();
  return table;
}

namespace {

std::int64_t extent(std::int64_t symbol, const Setting& setting) {
  return symbol == rows ? setting.rows : symbol == columns ? setting.columns : symbol;
}

/// Values that f32 holds exactly, so that an f32 run can be compared with an f64 one.
double rounded(double value) { return static_cast<float>(value); }

std::vector<double> draw(const Sample& sample, std::int64_t n, std::size_t place, Generator& generator) {
  std::vector<double> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double u = generator.uniform(), v = generator.uniform();
    switch (sample.values) {
      case Sample::Values::normal:
        values[i] = std::sqrt(-2 * std::log1p(-u)) * std::cos(6.283185307179586 * v);
        break;
      case Sample::Values::positive:
        values[i] = 0.5 + u;
        break;
      default:
        values[i] = 0.1 + 0.37 * static_cast<double>(static_cast<std::int64_t>(i) - n / 2) +
                    0.05 * static_cast<double>(place);
    }
    values[i] = rounded(values[i]);
  }
  if (sample.values == Sample::Values::apart) {
    for (std::size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1],
                values[static_cast<std::size_t>(generator.below(static_cast<std::int64_t>(i)))]);
  }
  return values;
}

Tensor draw_input(const Sample& sample, const Setting& setting, std::size_t place, bool shifted,
                  Generator& generator) {
  std::vector<std::int64_t> extents;
  for (const std::int64_t symbol : sample.extents) extents.push_back(extent(symbol, setting));
  const Shape shape{std::span<const std::int64_t>(extents)};
  if (sample.values == Sample::Values::index)
    return randint(0, extent(sample.bound, setting), shape, cpu, &generator).to(setting.device);
  if (sample.values == Sample::Values::mask)
    return (rand(shape, f64, cpu, &generator) > 1.0 / 3).to(setting.device);
  std::vector<double> values = draw(sample, shape.numel(), place, generator);
  if (shifted) {
    for (double& value : values) value = rounded(value + setting.mean);
  }
  return Tensor(Array::from(values, shape).to(setting.dtype).to(setting.device)).set_requires_grad();
}

}  // namespace

std::vector<Tensor> draw_inputs(const OpRow& row, const Setting& setting) {
  Generator generator(static_cast<std::uint64_t>(setting.rows * 100 + setting.columns));
  std::vector<Tensor> inputs;
  bool shifted = setting.mean != 0;
  for (std::size_t i = 0; i < row.inputs.size(); ++i) {
    const Tensor x = draw_input(row.inputs[i], setting, i, shifted, generator);
    shifted = shifted && !row.inputs[i].differentiable();
    inputs.push_back(setting.absent >> i & 1 ? Tensor() : x);
  }
  return inputs;
}

Tensor draw_upstream(const Tensor& y, std::uint64_t seed) {
  Generator generator(seed);
  std::vector<double> values(static_cast<std::size_t>(y.numel()));
  for (double& value : values) value = rounded(4 * generator.uniform() - 2);
  return Tensor(Array::from(values, y.shape()).to(y.dtype()).to(y.device()));
}

namespace {
std::vector<Tensor> differentiable(const std::vector<Tensor>& inputs) {
  std::vector<Tensor> wanted;
  for (const Tensor& x : inputs) {
    if (x.requires_grad()) wanted.push_back(x);
  }
  return wanted;
}
}  // namespace

Outcome run(const OpRow& row, const std::vector<Tensor>& inputs, const Tensor& dy) {
  Outcome outcome{row.op(inputs), std::vector<Tensor>(inputs.size())};
  if (!outcome.y.requires_grad()) return outcome;
  const auto found = grad({outcome.y}, differentiable(inputs), {dy.defined() ? dy : draw_upstream(outcome.y)},
                          {.allow_unused = true});
  for (std::size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (inputs[i].requires_grad()) outcome.gradients[i] = found[next++];
  }
  outcome.y = outcome.y.detach();
  return outcome;
}

Outcome run(const OpRow& row, const std::vector<Tensor>& inputs) { return run(row, inputs, Tensor()); }

Outcome run_definition(const OpRow& row, const std::vector<Tensor>& inputs) {
  const DefinitionsOnly definitions;
  return run(row, inputs);
}

std::vector<Tensor> derivative(const OpRow& row, const std::vector<Tensor>& inputs, int order) {
  const std::vector<Tensor> wanted = differentiable(inputs);
  const Tensor y = row.op(inputs);
  Tensor total = (y * draw_upstream(y)).sum();
  for (int level = 1; level < order && total.requires_grad(); ++level) {
    const auto found = grad({total}, wanted, {}, {.create_graph = true, .allow_unused = true});
    total = Tensor::scalar(0, y.dtype(), y.device());
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i].defined())
        total =
            total + (found[i] * draw_upstream(found[i], 100 * static_cast<std::uint64_t>(level) + i)).sum();
    }
  }
  if (!total.requires_grad()) return std::vector<Tensor>(wanted.size());
  return grad({total}, wanted, {}, {.allow_unused = true});
}

double distance(const Tensor& a, const Tensor& b) {
  constexpr double far = std::numeric_limits<double>::infinity();
  if (!a.defined() && !b.defined()) return 0;
  if (!a.defined()) return distance(zeros_like(b), b);
  if (!b.defined()) return distance(a, zeros_like(a));
  if (a.shape() != b.shape()) return far;
  const auto left = a.array().to(cpu).to(f64).to_vector<double>();
  const auto right = b.array().to(cpu).to(f64).to_vector<double>();
  double scale = 1, largest = 0;
  for (const double value : right) {
    if (std::isfinite(value)) scale = std::max(scale, std::abs(value));
  }
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i] == right[i] || (std::isnan(left[i]) && std::isnan(right[i]))) continue;
    const double difference = std::abs(left[i] - right[i]) / scale;
    largest = difference < far ? std::max(largest, difference) : far;
  }
  return largest;
}

double distance(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, distance(a[i], b[i]));
  return largest;
}

double distance(const Outcome& a, const Outcome& b) {
  return std::max(distance(a.y, b.y), distance(a.gradients, b.gradients));
}

std::vector<std::uint64_t> absences(const OpRow& row) {
  std::vector<std::uint64_t> found;
  for (std::uint64_t choice = 0; choice < std::uint64_t{1} << row.inputs.size(); ++choice) {
    bool allowed = true;
    for (std::size_t i = 0; i < row.inputs.size(); ++i)
      allowed = allowed && (row.inputs[i].optional || (choice >> i & 1) == 0);
    if (allowed) found.push_back(choice);
  }
  return found;
}

std::vector<Setting> sizes(const OpRow& row, DType dtype, Device device) {
  std::vector<Setting> found{{.dtype = dtype, .device = device}};
  if (!row.any_size) return found;
  found.push_back({.dtype = dtype, .device = device, .rows = 1});
  found.push_back({.dtype = dtype, .device = device, .columns = 1});
  found.push_back({.dtype = dtype, .device = device, .rows = 0});
  return found;
}

namespace {
/// The same values (expanded: the first slice along axis 0, repeated) with other strides.
Array laid_out(const Array& x, Layout layout) {
  if (x.rank() == 0) return x;
  if (layout == Layout::transposed) {
    return x.rank() < 2 ? x : x.transpose(0, -1).clone().transpose(0, -1);
  }
  if (layout == Layout::expanded) return x.slice(0, {0, 1}).expand(x.shape());
  const Array wide =
      Array::full(x.shape().with(-1, 2 * x.shape()[-1]), x.dtype() == i64 ? 0 : 99, x.dtype(), x.device());
  const Array every_second = wide.slice(-1, {.step = 2});
  every_second.copy_from(x);
  return every_second;
}
}  // namespace

Tensor with_layout(const Tensor& x, Layout layout, bool contiguous) {
  if (!x.defined()) return x;
  const Array array = laid_out(x.array(), layout);
  return Tensor(contiguous ? array.clone() : array).set_requires_grad(x.requires_grad());
}

void collect_node_names(const Tensor& y, std::set<std::string>& names) {
  std::set<const Node*> seen;
  std::vector<const Node*> waiting{y.state()->node.get()};
  while (!waiting.empty()) {
    const Node* node = waiting.back();
    waiting.pop_back();
    if (node == nullptr || !seen.insert(node).second) continue;
    names.insert(node->name);
    for (const Edge& edge : node->edges) waiting.push_back(edge.node.get());
  }
}

}  // namespace norma::tests
