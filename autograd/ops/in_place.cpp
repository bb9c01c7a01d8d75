// In-place ops. They compute straight into the memory of the tensor; what the gradient of the operand will
// need of the old values is copied before. When recorded, the op takes a snapshot of the tensor (its array
// and history) for its input, and its own history replaces the tensor's. Where the operand overlaps the
// target, the op runs out of place, so that all is read before anything is written over the tensor's memory.
#include <algorithm>
#include <array>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/ops/internal.h"
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

/// Notes that x's memory holds the values of `result`, and gives x its history.
const Tensor& adopt(const Tensor& x, const Tensor& result) {
  TensorState& state = *x.state();
  if (grad_enabled() && (result.requires_grad() || state.node != nullptr)) {
    x.array().note_recorded_change();
    state.node = result.state()->node;
  }
  state.seen_version = x.array().version();
  return x;
}

const Tensor& write(const char* op, const Tensor& x, const Tensor& result) {
  NORMA_CHECK(result.shape() == x.shape(), op, ": the operand broadcasts to ", result.shape(),
              ", which does not fit the target of shape ", x.shape());
  x.array().copy_from(result.array());
  return adopt(x, result);
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

/// One of the four arithmetic ops.
struct Arithmetic {
  const char* name;
  Binary kind;
  Tensor (*compute)(const Tensor& a, const Tensor& b);
  Tensor (*record)(Array value, const Tensor& a, const Tensor& b);
  bool saves_first;  // for the gradient of b
};
constexpr Arithmetic addition{"add_", Binary::add, add, detail::record_add, false};
constexpr Arithmetic subtraction{"sub_", Binary::sub, sub, detail::record_sub, false};
constexpr Arithmetic multiplication{"mul_", Binary::mul, mul, detail::record_mul, true};
constexpr Arithmetic division{"div_", Binary::div, div, detail::record_div, true};

const Tensor& in_place(const Arithmetic& op, const Tensor& x, const Tensor& other) {
  check_defined(op.name, "the operand", other);
  check_target(op.name, x, other.requires_grad());
  const Array &to = x.array(), &from = other.array();
  const bool plain = needs_no_history(x, other);
  const Tensor before = plain ? Tensor() : snapshot(x);
  const auto target = [&] { return op.saves_first ? snapshot_to_save(before, other) : before; };
  // With a history the other operand may be saved, and is then not to share what is written.
  const bool fits =
      !AnomalyMode::active() && can_be_read_while_writing(to, from) && (plain || !to.shares_storage(from));
  if (!fits) return write(op.name, x, op.compute(plain ? snapshot(x) : target(), other));
  if (!plain) detail::should_record(op.name, std::array<detail::Input, 2>{x, other});  // throws on stale ones
  const Tensor first = plain ? Tensor() : target();
  kernels::binary_in_place(op.kind, to, from, op.name);
  if (!plain) return adopt(x, op.record(to, first, other));
  x.state()->seen_version = to.version();
  return x;
}

/// x = a x + b
const Tensor& affine_in_place(const char* op, const Tensor& x, double a, double b) {
  check_target(op, x, false);
  if (AnomalyMode::active()) return write(op, x, affine(snapshot(x), a, b));
  const bool recorded = detail::should_record(op, std::array<detail::Input, 1>{x});  // throws on a stale one
  const Tensor before = recorded ? snapshot(x) : Tensor();
  kernels::affine_in_place(x.array(), a, b, op);
  if (recorded) return adopt(x, detail::record_affine(x.array(), before, a));
  x.state()->seen_version = x.array().version();
  return x;
}

}  // namespace

const Tensor& Tensor::add_(const Tensor& other) const { return in_place(addition, *this, other); }
const Tensor& Tensor::sub_(const Tensor& other) const { return in_place(subtraction, *this, other); }
const Tensor& Tensor::mul_(const Tensor& other) const { return in_place(multiplication, *this, other); }
const Tensor& Tensor::div_(const Tensor& other) const { return in_place(division, *this, other); }
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
