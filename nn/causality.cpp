#include "nn/causality.h"

#include <cstring>
#include <optional>
#include <vector>

#include "autograd/ops.h"

namespace norma::nn {
namespace {

constexpr int length_axis = 1;

std::vector<double> values_of(const Tensor& x) { return x.detach().to(cpu).to(f64).to_vector<double>(); }

bool same_bits(const Tensor& a, const Tensor& b) {
  const std::vector<double> left = values_of(a), right = values_of(b);
  return left.size() == right.size() &&
         std::memcmp(left.data(), right.data(), left.size() * sizeof(double)) == 0;
}

// Calls the model as if for the first time: with the same random numbers and buffers.
class FreshCalls {
 public:
  FreshCalls(const std::function<Tensor(const Tensor&)>& model, Module* module)
      : model_(model), module_(module), random_(default_generator().state()) {
    if (module_ == nullptr) return;
    for (const auto& [name, buffer] : module_->named_buffers()) buffers_.push_back(buffer.detach().clone());
  }
  ~FreshCalls() { restore(); }
  FreshCalls(const FreshCalls&) = delete;
  FreshCalls& operator=(const FreshCalls&) = delete;

  Tensor operator()(const Tensor& x) {
    restore();
    Tensor y = model_(x);
    NORMA_CHECK(
        y.defined() && y.dim() >= 2 && y.size(0) == x.size(0) && y.size(length_axis) == x.size(length_axis),
        "is_causal: the output must begin with the input's batch and length, got ",
        y.defined() ? y.shape() : Shape{}, " for ", x.shape());
    return y;
  }

 private:
  void restore() const {
    default_generator().set_state(random_);
    if (module_ == nullptr) return;
    std::size_t i = 0;
    for (const auto& [name, buffer] : module_->named_buffers())
      buffer.array().copy_from(buffers_[i++].array());
  }

  const std::function<Tensor(const Tensor&)>& model_;
  Module* module_;
  RandomKey random_;
  std::vector<Tensor> buffers_;
};

// Other values everywhere: noise as large as the input, or other tokens.
Tensor changed(const Tensor& input, const CausalityOptions& options, Generator& generator) {
  if (input.dtype() != i64) {
    return input + randn(input.shape(), input.dtype(), input.device(), &generator) * (input.abs() + 1);
  }
  const auto largest = static_cast<std::int64_t>(input.max().item());
  const std::int64_t vocabulary = options.vocabulary > 0 ? options.vocabulary : largest + 1;
  NORMA_CHECK(vocabulary > 1 && largest < vocabulary, "is_causal: tokens up to ", largest,
              " need a vocabulary of their own, and of more than one, got ", vocabulary);
  std::vector<std::int64_t> tokens = input.to_vector<std::int64_t>();
  for (std::int64_t& token : tokens) token = (token + 1 + generator.below(vocabulary - 1)) % vocabulary;
  return tensor(tokens, input.shape(), input.device());
}

std::optional<CausalityReport> by_value(FreshCalls& call, const Tensor& input,
                                        const CausalityOptions& options) {
  const NoGrad guard;
  Generator generator(options.seed);
  const std::int64_t length = input.size(length_axis);
  const Tensor expected = call(input), other = changed(input, options, generator);
  for (std::int64_t t = 0; t + 1 < length; ++t) {
    const Tensor mixed = cat(
        {input.narrow(length_axis, 0, t + 1), other.narrow(length_axis, t + 1, length - t - 1)}, length_axis);
    const Tensor y = call(mixed);
    for (std::int64_t position = 0; position <= t; ++position) {
      if (same_bits(y.select(length_axis, position), expected.select(length_axis, position))) continue;
      return CausalityReport{
          false, position,
          norma::detail::concat("the output at ", position, " changes with the inputs after ", t)};
    }
  }
  return std::nullopt;
}

std::optional<CausalityReport> by_gradient(FreshCalls& call, const Tensor& input,
                                           const CausalityOptions& options) {
  if (!is_floating(input.dtype())) return std::nullopt;
  const EnableGrad guard;
  Generator generator(options.seed);
  const Tensor x = input.detach().clone().detach().set_requires_grad();
  const Tensor y = call(x);
  if (!y.requires_grad()) return std::nullopt;  // it depends on no input at all
  const std::int64_t length = input.size(length_axis);
  for (std::int64_t t = 0; t + 1 < length; ++t) {
    const Tensor output = y.select(length_axis, t);
    const Tensor upstream = randn(output.shape(), output.dtype(), output.device(), &generator);
    const Tensor dx = grad({output}, {x}, {upstream}, {.retain_graph = true, .allow_unused = true})[0];
    if (!dx.defined()) continue;
    for (std::int64_t later = t + 1; later < length; ++later) {
      const double largest = dx.select(length_axis, later).abs().max().item();
      if (largest == 0) continue;
      return CausalityReport{
          false, t,
          norma::detail::concat("the gradient of the output at ", t, " with respect to the input at ", later,
                                " is up to ", largest)};
    }
  }
  return std::nullopt;
}

}  // namespace

CausalityReport detail::check_causality(const std::function<Tensor(const Tensor&)>& model, Module* module,
                                        const Tensor& input, const CausalityOptions& options) {
  NORMA_CHECK(input.defined() && input.dim() >= 2 && input.numel() > 0,
              "is_causal: the input must be [batch, length, ..] with at least one element, got ",
              input.defined() ? input.shape() : Shape{});
  NORMA_CHECK(is_floating(input.dtype()) || input.dtype() == i64,
              "is_causal: the input must be of a floating dtype or i64 tokens, got ", input.dtype());
  FreshCalls call(model, module);
  if (const auto found = by_value(call, input, options)) return *found;
  if (const auto found = by_gradient(call, input, options)) return *found;
  return {};
}

}  // namespace norma::nn
