#include "nn/activation.h"

namespace norma::nn {
namespace {

struct Named {
  std::string_view name;
  Tensor (*function)(const Tensor&);
};

constexpr Named activations[] = {
    {"relu", [](const Tensor& x) { return relu(x); }},
    {"gelu", [](const Tensor& x) { return gelu(x); }},
    {"gelu_tanh", [](const Tensor& x) { return gelu(x, Gelu::tanh); }},
    {"silu", [](const Tensor& x) { return silu(x); }},
    {"tanh", [](const Tensor& x) { return x.tanh(); }},
    {"sigmoid", [](const Tensor& x) { return x.sigmoid(); }},
    {"softplus", [](const Tensor& x) { return softplus(x); }},
    {"identity", [](const Tensor& x) { return x; }},
};

}  // namespace

Activation::Activation(std::string_view name) : name_(name) {
  std::string known;
  for (const Named& activation : activations) {
    if (activation.name == name) {
      function_ = activation.function;
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(activation.name);
  }
  throw Error(norma::detail::concat("Activation: unknown name \"", name, "\"; known are ", known));
}

}  // namespace norma::nn
