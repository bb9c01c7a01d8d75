// Causality: does an output at some position depend on a later input?
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>

#include "nn/module.h"

namespace norma::nn {

struct CausalityReport {
  bool causal = true;
  std::int64_t position = -1;  // of the first output found that depends on a later input; -1: none
  std::string how;             // what was seen, in words; "" when causal
  explicit operator bool() const { return causal; }
};

struct CausalityOptions {
  std::int64_t vocabulary = 0;  // of a model of tokens; 0: one more than the largest in the input
  std::uint64_t seed = 0;       // of the changes made to the input
};

namespace detail {
CausalityReport check_causality(const std::function<Tensor(const Tensor&)>& model, Module* module,
                                const Tensor& input, const CausalityOptions& options);
}  // namespace detail

/// Asks a model, any callable from a tensor [batch, length, ..] to one with the same batch and length, or
/// from tokens (i64) [batch, length], in the mode that it is in. By value: inputs after position t are
/// replaced, for every t, and outputs up to t must keep every bit. By gradient, for a floating input: that of
/// output t with respect to the inputs after t must be exactly zero. The answer holds for this input; it
/// takes about 2 `length` calls. Random numbers are the same in each call, and neither the generator nor the
/// buffers of a Module are changed in the end (a module inside of a lambda is out of reach). Throws for an
/// input without positions, tokens of a vocabulary of one, and an output of another length.
template <class Model>
requires std::invocable<Model&, const Tensor&> CausalityReport
is_causal(Model&& model, const Tensor& input, const CausalityOptions& options = {}) {
  Module* module = nullptr;
  if constexpr (std::derived_from<std::remove_reference_t<Model>, Module>) module = &model;
  return detail::check_causality([&](const Tensor& x) { return Tensor(model(x)); }, module, input, options);
}

}  // namespace norma::nn
