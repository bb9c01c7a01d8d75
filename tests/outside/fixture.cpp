#include "tests/outside/fixture.h"

#include <cmath>
#include <limits>

#include "nn/safetensors.h"

namespace norma::tests::outside {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// "i0", "i1", ... of one case, as long as they go on.
Tensors numbered(const std::map<std::string, Tensor>& tensors, const std::string& prefix) {
  Tensors found;
  while (tensors.contains(prefix + std::to_string(found.size())))
    found.push_back(tensors.at(prefix + std::to_string(found.size())));
  return found;
}

std::map<std::size_t, Tensor> some(const std::map<std::string, Tensor>& tensors, const std::string& prefix,
                                   std::size_t count) {
  std::map<std::size_t, Tensor> found;
  for (std::size_t i = 0; i < count; ++i) {
    const auto place = tensors.find(prefix + std::to_string(i));
    if (place != tensors.end()) found[i] = place->second;
  }
  return found;
}

const Row& row_of(const std::string& name) {
  for (const Row& row : rows()) {
    if (row.name == name) return row;
  }
  detail::fail("outside: no row for ", name);
}

double difference(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  if (!std::isfinite(a) || !std::isfinite(b)) return infinity;
  return std::abs(a - b) / (1 + std::abs(b));
}

/// Gradients of sum(dy * y) over the outputs that PyTorch has a gradient for.
Tensors gradients(const FixtureCase& expected, const Tensors& outputs, const Tensors& inputs) {
  Tensors from, dy, wanted;
  for (const auto& [place, gradient] : expected.output_gradients) {
    if (!outputs.at(place).requires_grad()) continue;
    from.push_back(outputs[place]);
    dy.push_back(gradient);
  }
  for (const auto& [place, gradient] : expected.input_gradients) wanted.push_back(inputs.at(place));
  if (from.empty() || wanted.empty()) return Tensors(wanted.size());
  return grad(from, wanted, dy, {.allow_unused = true});
}

}  // namespace

std::vector<FixtureCase> load_cases(const std::string& path) {
  const nn::SafetensorsFile file = nn::load_safetensors(path);
  const std::map<std::string, Tensor> tensors(file.tensors.begin(), file.tensors.end());
  std::vector<FixtureCase> cases;
  std::size_t used = 0;
  for (const auto& [number, line] : file.metadata) {
    FixtureCase one{.line = line,
                    .inputs = numbered(tensors, number + ".i"),
                    .outputs = numbered(tensors, number + ".y"),
                    .output_gradients = {},
                    .input_gradients = {}};
    one.output_gradients = some(tensors, number + ".d", one.outputs.size());
    one.input_gradients = some(tensors, number + ".g", one.inputs.size());
    used += one.inputs.size() + one.outputs.size() + one.output_gradients.size() + one.input_gradients.size();
    NORMA_CHECK(!one.outputs.empty(), path, ": case ", number, " (", line, ") has no outputs");
    cases.push_back(std::move(one));
  }
  NORMA_CHECK(used == tensors.size(), path, ": ", tensors.size() - used, " tensors belong to no case");
  return cases;
}

double difference(const Tensor& a, const Tensor& b) {
  if (!a.defined()) return difference(zeros_like(b), b);
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return infinity;
  double worst = 0;
  if (b.dtype() == f64) {
    const std::vector<double> left = a.to_vector<double>(), right = b.to_vector<double>();
    for (std::size_t i = 0; i < left.size(); ++i) worst = std::max(worst, difference(left[i], right[i]));
  } else {
    const std::vector<std::int64_t> left = a.detach().to(i64).to_vector<std::int64_t>(),
                                    right = b.to(i64).to_vector<std::int64_t>();
    if (left != right) worst = infinity;
  }
  return worst;
}

Comparison compare(const FixtureCase& expected) {
  const CaseOptions options(expected.line);
  Tensors inputs;
  for (std::size_t i = 0; i < expected.inputs.size(); ++i) {
    inputs.push_back(expected.inputs[i].clone());
    if (expected.input_gradients.contains(i)) inputs.back().set_requires_grad();
  }
  const Tensors outputs = row_of(options.name()).call(inputs, options);
  Comparison result;
  const auto note = [&](const std::string& what, double value) { result.parts.push_back({what, value}); };
  if (outputs.size() != expected.outputs.size()) {
    note("number of outputs", infinity);
    return result;
  }
  for (std::size_t i = 0; i < outputs.size(); ++i)
    note("output " + std::to_string(i), difference(outputs[i], expected.outputs[i]));
  const Tensors found = gradients(expected, outputs, inputs);
  std::size_t i = 0;
  for (const auto& [place, gradient] : expected.input_gradients)
    note("gradient of input " + std::to_string(place), difference(found[i++], gradient));
  return result;
}

}  // namespace norma::tests::outside
