// Activations as modules: one class each, and one chosen by name.
#pragma once

#include <string_view>

#include "autograd/ops.h"
#include "nn/module.h"

namespace norma::nn {

/// y = x
class Identity : public Module {
 public:
  Tensor operator()(const Tensor& x) const { return x; }
  NORMA_PARTS()
};

/// max(x, 0)
class ReLU : public Module {
 public:
  Tensor operator()(const Tensor& x) const { return relu(x); }
  NORMA_PARTS()
};

/// x * Phi(x), exact or in the tanh form (arXiv:1606.08415).
class GELU : public Module {
 public:
  explicit GELU(Gelu form = Gelu::erf) : form_(form) {}
  Tensor operator()(const Tensor& x) const { return gelu(x, form_); }
  std::string describe() const override { return form_ == Gelu::erf ? "erf" : "tanh"; }
  NORMA_PARTS()

 private:
  Gelu form_;
};

/// x * sigmoid(x)
class SiLU : public Module {
 public:
  Tensor operator()(const Tensor& x) const { return silu(x); }
  NORMA_PARTS()
};

class Tanh : public Module {
 public:
  Tensor operator()(const Tensor& x) const { return x.tanh(); }
  NORMA_PARTS()
};

class Sigmoid : public Module {
 public:
  Tensor operator()(const Tensor& x) const { return x.sigmoid(); }
  NORMA_PARTS()
};

/// log(1 + exp(x))
class Softplus : public Module {
 public:
  Tensor operator()(const Tensor& x) const { return softplus(x); }
  NORMA_PARTS()
};

/// The activation of this name: "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "softplus" or
/// "identity". Throws for any other, listing these.
class Activation : public Module {
 public:
  explicit Activation(std::string_view name);
  Tensor operator()(const Tensor& x) const { return function_(x); }
  std::string describe() const override { return name_; }
  NORMA_PARTS()

 private:
  std::string name_;
  Tensor (*function_)(const Tensor&);
};

}  // namespace norma::nn
