#include "autograd/tensor.h"

#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/ops/kernels.h"
#include "core/recycled.h"

namespace norma {
namespace {

TensorState& checked(const std::shared_ptr<TensorState>& state, const char* what) {
  NORMA_CHECK(state != nullptr, what, ": the tensor is undefined; expected one that holds values");
  return *state;
}

}  // namespace

Tensor::Tensor(Array array) {
  NORMA_CHECK(array.defined(), "Tensor: the array is undefined");
  state_ = make_recycled<TensorState>(std::move(array));
  state_->seen_version = state_->array.version();
}

Tensor Tensor::scalar(double value, DType dtype, Device device) {
  return Tensor(Array::full(Shape{}, value, dtype, device));
}

const Array& Tensor::array() const { return checked(state_, "Tensor").array; }

std::string Tensor::to_string() const {
  if (!defined()) return "tensor(undefined)";
  std::string note;
  if (dtype() != f32) note = detail::concat(", dtype=", dtype());
  if (state_->node != nullptr) {
    note += detail::concat(", made by ", state_->node->name);
  } else if (state_->requires_grad) {
    note += ", requires_grad";
  }
  return detail::concat(array().to_string(), note.empty() ? "" : "  (", note.empty() ? "" : note.substr(2),
                        note.empty() ? "" : ")");
}

bool Tensor::requires_grad() const { return defined() && (state_->requires_grad || state_->node != nullptr); }

Tensor& Tensor::set_requires_grad(bool requires_grad) {
  TensorState& state = checked(state_, "set_requires_grad");
  NORMA_CHECK(state.node == nullptr, "set_requires_grad: this tensor was made by ", op_name(),
              "; only leaves can be marked (detach() it first)");
  NORMA_CHECK(!requires_grad || is_floating(state.array.dtype()),
              "set_requires_grad: needs a floating dtype, got ", state.array.dtype());
  state.requires_grad = requires_grad;
  return *this;
}

bool Tensor::is_leaf() const { return checked(state_, "is_leaf").node == nullptr; }
const char* Tensor::op_name() const {
  const TensorState& state = checked(state_, "op_name");
  return state.node == nullptr ? "" : state.node->name;
}

Tensor Tensor::grad() const { return Tensor(checked(state_, "grad").grad); }

void Tensor::set_grad(const Tensor& gradient) const {
  TensorState& state = checked(state_, "set_grad");
  if (gradient.defined()) {
    NORMA_CHECK(gradient.shape() == shape() && gradient.dtype() == dtype() && gradient.device() == device(),
                "set_grad: expected ", dtype(), " ", shape(), " on ", device(), ", got ", gradient.dtype(),
                " ", gradient.shape(), " on ", gradient.device());
  }
  state.grad = gradient.state();
}

void Tensor::retain_grad() const {
  TensorState& state = checked(state_, "retain_grad");
  NORMA_CHECK(requires_grad(), "retain_grad: the tensor requires no gradient");
  if (state.node == nullptr) return;
  // The node must not own the tensor that owns it.
  state.node->hooks.push_back([weak = std::weak_ptr(state_)](const Tensor& gradient) {
    if (const auto kept = weak.lock()) kept->grad = gradient.state();
    return Tensor();
  });
}

void Tensor::register_hook(Hook hook) const {
  TensorState& state = checked(state_, "register_hook");
  NORMA_CHECK(requires_grad(),
              "register_hook: the tensor requires no gradient, so no backward pass reaches it");
  (state.node != nullptr ? state.node->hooks : state.hooks).push_back(std::move(hook));
}

Tensor Tensor::detach() const {
  auto state = make_recycled<TensorState>(array());
  state->seen_version = state_->seen_version;
  state->is_view = true;
  return Tensor(std::move(state));
}

Tensor Tensor::clone() const {
  check_defined("clone", "x", *this);
  return record("clone", array().clone(), {*this}, [](const Backward& b) -> Gradients { return {b.dy}; });
}

Tensor Tensor::contiguous() const { return array().is_contiguous() ? *this : clone(); }

Tensor Tensor::to(DType dtype) const {
  check_defined("to", "x", *this);
  if (dtype == this->dtype()) return *this;
  Array value = array().to(dtype);
  if (!is_floating(dtype)) return Tensor(std::move(value));
  return record("to", std::move(value), {*this},
                [from = this->dtype()](const Backward& b) -> Gradients { return {b.dy.to(from)}; });
}

Tensor Tensor::to(Device device) const {
  check_defined("to", "x", *this);
  if (device == this->device()) return *this;
  return record("to", array().to(device), {*this},
                [from = this->device()](const Backward& b) -> Gradients { return {b.dy.to(from)}; });
}

}  // namespace norma
