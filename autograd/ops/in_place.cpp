// In-place ops. One that is recorded runs out of place on a snapshot of the tensor (its array and history);
// then the result is written over the tensor's memory and its history replaces the tensor's. Sources that
// overlap the target are therefore read before anything is written. Others compute straight into the memory.
#include <algorithm>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/ops/kernels.h"

namespace norma {
namespace {

/// The tensor's array and history, apart from its handle.
Tensor snapshot(const Tensor& x) {
  if (x.is_leaf()) return x.detach();
  auto copy = std::make_shared<TensorState>(x.array());
  copy->node = x.state()->node;
  copy->seen_version = x.state()->seen_version;
  return Tensor(std::move(copy));
}

/// A snapshot x, in memory of its own when the op is going to save it for the gradient of the operand: the
/// write, over the target's memory, would spoil it.
Tensor snapshot_to_save(const Tensor& x, const Tensor& operand) {
  if (!grad_enabled() || !operand.requires_grad()) return x;
  auto copy = std::make_shared<TensorState>(x.array().clone());
  copy->node = x.state()->node;
  copy->seen_version = copy->array.version();
  return Tensor(std::move(copy));
}

void check_target(const char* op, const Tensor& x, bool source_requires_grad) {
  check_defined(op, "the target", x);
  NORMA_CHECK(!overlaps_itself(x.array()), op, ": the target of shape ", x.shape(), " and strides ",
              x.array().strides(), " has several elements at one place; clone it first");
  if (!grad_enabled()) return;
  NORMA_CHECK(!(x.is_leaf() && x.requires_grad()), op,
              ": the target is a leaf that requires a gradient; change it under NoGrad");
  NORMA_CHECK(!(x.state()->is_view && (x.requires_grad() || source_requires_grad)), op,
              ": the target is a view (or detached alias) of another tensor, which would not learn of this "
              "recorded change; "
              "build the result out of place (cat, where), or change it under NoGrad");
}

const Tensor& write(const char* op, const Tensor& x, const Tensor& result) {
  NORMA_CHECK(result.shape() == x.shape(), op, ": the operand broadcasts to ", result.shape(),
              ", which does not fit the target of shape ", x.shape());
  TensorState& state = *x.state();
  x.array().copy_from(result.array());
  if (grad_enabled() && (result.requires_grad() || state.node != nullptr)) {
    x.array().note_recorded_change();
    state.node = result.state()->node;
  }
  state.seen_version = x.array().version();
  return x;
}

/// Nothing to record, and nothing that recording would refuse.
bool is_plain(const Tensor& x) {
  return !grad_enabled() || (!x.requires_grad() && x.state()->seen_version >= x.array().recorded_version());
}

/// Whether the op can go straight to the memory. Anomaly mode looks at a result before it is written.
bool needs_no_history(const Tensor& x, const Tensor& other) {
  return is_plain(x) && is_plain(other) && !AnomalyMode::active();
}

bool broadcasts_to(const Shape& from, const Shape& to) {
  if (from.rank() > to.rank()) return false;
  for (int axis = -1; axis >= -from.rank(); --axis) {
    if (from[axis] != to[axis] && from[axis] != 1) return false;
  }
  return true;
}

/// Whether `other` fits the target and is not changed by what is written there before it is read: it lies
/// elsewhere, or each element is read where it is written.
bool can_be_read_while_writing(const Array& to, const Array& other) {
  if (other.dtype() != to.dtype() || other.device() != to.device()) return false;
  if (!broadcasts_to(other.shape(), to.shape())) return false;
  const bool same = other.shape() == to.shape() && to.view().data == other.view().data &&
                    std::ranges::equal(to.strides(), other.strides());
  return same || !may_overlap(to, other);
}

template <class Op>
const Tensor& in_place(const char* op, const Tensor& x, const Tensor& other, Op compute) {
  check_defined(op, "the operand", other);
  check_target(op, x, other.requires_grad());
  return write(op, x, compute(snapshot(x)));
}

template <class Op>
const Tensor& in_place(const char* op, Binary kind, const Tensor& x, const Tensor& other, Op compute) {
  check_defined(op, "the operand", other);
  check_target(op, x, other.requires_grad());
  if (!needs_no_history(x, other) || !can_be_read_while_writing(x.array(), other.array()))
    return write(op, x, compute(snapshot(x)));
  kernels::binary_in_place(kind, x.array(), other.array(), op);
  x.state()->seen_version = x.array().version();
  return x;
}

/// x = a x + b
const Tensor& affine_in_place(const char* op, const Tensor& x, double a, double b) {
  check_target(op, x, false);
  if (!needs_no_history(x, x)) return write(op, x, affine(snapshot(x), a, b));
  kernels::affine_in_place(x.array(), a, b, op);
  x.state()->seen_version = x.array().version();
  return x;
}

}  // namespace

const Tensor& Tensor::add_(const Tensor& other) const {
  return in_place("add_", Binary::add, *this, other, [&](const Tensor& x) { return x + other; });
}
const Tensor& Tensor::sub_(const Tensor& other) const {
  return in_place("sub_", Binary::sub, *this, other, [&](const Tensor& x) { return x - other; });
}
const Tensor& Tensor::mul_(const Tensor& other) const {
  return in_place("mul_", Binary::mul, *this, other,
                  [&](const Tensor& x) { return snapshot_to_save(x, other) * other; });
}
const Tensor& Tensor::div_(const Tensor& other) const {
  return in_place("div_", Binary::div, *this, other,
                  [&](const Tensor& x) { return snapshot_to_save(x, other) / other; });
}
const Tensor& Tensor::add_(double value) const { return affine_in_place("add_", *this, 1, value); }
const Tensor& Tensor::mul_(double value) const { return affine_in_place("mul_", *this, value, 0); }
const Tensor& Tensor::copy_(const Tensor& source) const {
  check_defined("copy_", "the operand", source);
  check_target("copy_", *this, source.requires_grad());
  if (needs_no_history(*this, source) && broadcasts_to(source.shape(), shape())) {
    array().copy_from(source.array());  // looks for overlaps itself
    state()->seen_version = array().version();
    return *this;
  }
  return in_place("copy_", *this, source, [&](const Tensor& x) {
    const Tensor y = source.to(x.dtype()).to(x.device()).expand(x.shape());
    // Where nothing was to be done, y is source itself, whose history must not end up as the target's.
    return y.is_same(source) ? y.reshape({x.shape().begin(), x.shape().end()}) : y;
  });
}
const Tensor& Tensor::fill_(double value) const {
  check_target("fill_", *this, false);
  if (needs_no_history(*this, *this)) {
    array().fill(value);
    state()->seen_version = array().version();
    return *this;
  }
  return in_place("fill_", *this, *this, [&](const Tensor& x) {
    return full(Shape{}, value, x.dtype(), x.device()).expand(x.shape());
  });
}

}  // namespace norma
