#include "autograd/fused.h"

#include "core/profile.h"

namespace norma::detail {
namespace {

/// Gradients of the definition, itself recorded. Each wanted input is replaced by an identity alias, which
/// marks where the inner walk stops; the history behind the alias makes the result differentiable again.
Gradients definition_vjp(const FusedOp& op, const std::vector<Tensor>& saved, const Backward& call) {
  std::vector<Tensor> inputs;
  std::vector<Tensor> aliases;
  for (std::size_t i = 0; i < saved.size(); ++i) {
    const Tensor& x = saved[i];
    if (!call.needs(i)) {
      inputs.push_back(x);
      continue;
    }
    inputs.push_back(record("alias", x.array(), {x}, [](const Backward& b) -> Gradients { return {b.dy}; }));
    aliases.push_back(inputs.back());
  }
  const Tensor y = op.definition(inputs);
  const auto found = grad({y}, aliases, {call.dy}, {.create_graph = true, .allow_unused = true});
  Gradients gradients(saved.size());
  for (std::size_t i = 0, next = 0; i < saved.size(); ++i) {
    if (call.needs(i)) gradients[i] = found[next++];
  }
  return gradients;
}

/// Arrays kept by a forward kernel: the op's result is often among them, and may be changed in place.
struct KeptArrays {
  explicit KeptArrays(Kept arrays_) : arrays(std::move(arrays_)) {
    versions.reserve(arrays.size());
    for (const Array& array : arrays) versions.push_back(array.defined() ? array.version() : 0);
  }
  void check_unchanged(const char* op) const {
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      NORMA_CHECK(!arrays[i].defined() || arrays[i].version() == versions[i], "backward: a value kept by ",
                  op, ", shape ", arrays[i].shape(),
                  ", was changed in place after it was made: kept at version ", versions[i],
                  ", now at version ", arrays[i].version(),
                  "; clone it first, or move the change after backward()");
    }
  }
  Kept arrays;
  std::vector<std::int64_t> versions;
};

struct FusedNode;

/// An input kept for the backward pass: itself, or the node of the cheap op that makes it again.
class KeptInput {
 public:
  KeptInput(const Tensor& x, bool may_remake);
  Tensor get() const;

 private:
  Saved saved_;
  std::shared_ptr<const FusedNode> maker_;
};

struct FusedNode final : Node {
  FusedNode(std::shared_ptr<const FusedOp> op_, Kept kept_, std::span<const Tensor> inputs_)
      : Node(op_->op_name(), inputs_.size()), op(std::move(op_)), kept(std::move(kept_)) {
    adds_gradients = op->adds_gradients();
    inputs.reserve(inputs_.size());
    for (const Tensor& x : inputs_) inputs.emplace_back(x, op->remakes_inputs());
  }
  Gradients backward(const Backward& call) override {
    return call.create_graph ? definition_vjp(*op, saved(), call) : kernel_vjp(call);
  }
  bool add_gradient(std::size_t i, const Array& sum, const Backward& call) override {
    return op->add_gradient(i, sum, call.dy.array(), saved());
  }
  void release() override {
    inputs.clear();
    kept = KeptArrays({});
    released = true;
  }

  Gradients kernel_vjp(const Backward& call) const;
  /// The op's result, computed once more, with its history.
  Tensor result_again() const;
  std::vector<Tensor> saved() const {
    std::vector<Tensor> tensors;
    tensors.reserve(inputs.size());
    for (const KeptInput& x : inputs) tensors.push_back(x.get());
    return tensors;
  }

  std::shared_ptr<const FusedOp> op;
  std::vector<KeptInput> inputs;
  KeptArrays kept;
};

Gradients FusedNode::kernel_vjp(const Backward& call) const {
  kept.check_unchanged(name);
  std::vector<Array> found = op->backward(kept.arrays, call.wanted, call.dy.array(), saved());
  NORMA_CHECK(found.size() == inputs.size(), "backward of ", name, ": the kernel returned ", found.size(),
              " gradients for ", inputs.size(), " inputs");
  Gradients gradients(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i].defined()) gradients[i] = Tensor(std::move(found[i]));
  }
  return gradients;
}

Tensor FusedNode::result_again() const {
  NORMA_CHECK(!released, "backward: the saved values of ", name,
              " have been freed by an earlier backward; pass retain_graph = true to that one");
  Kept unused;
  std::optional<Array> value = op->forward(unused, saved());
  NORMA_ASSERT(value);
  auto state = std::make_shared<TensorState>(std::move(*value));
  state->seen_version = state->array.version();
  state->node = std::const_pointer_cast<Node>(shared_from_this());
  return Tensor(std::move(state));
}

KeptInput::KeptInput(const Tensor& x, bool may_remake) {
  if (may_remake && x.defined()) maker_ = std::dynamic_pointer_cast<const FusedNode>(x.state()->node);
  if (maker_ != nullptr && !maker_->op->is_cheap()) maker_ = nullptr;
  if (maker_ == nullptr) saved_ = Saved(x);
}

Tensor KeptInput::get() const { return maker_ != nullptr ? maker_->result_again() : saved_.get(); }

std::optional<Array> run_forward(const FusedOp& op, Kept& kept, std::span<const Tensor> inputs) {
  ProfileSpan span(SpanKind::forward, op.op_name());
  std::optional<Array> value = op.forward(kept, inputs);
  if (span.is_noted() && value) [[unlikely]]
    span.wrote(value->view().data);
  return value;
}

}  // namespace

Tensor apply_fused(std::shared_ptr<const FusedOp> op, std::span<const Tensor> inputs) {
  if (!DefinitionsOnly::active()) {
    Kept kept;
    if (std::optional<Array> value = run_forward(*op, kept, inputs))
      return record_fused(std::move(op), std::move(*value), std::move(kept), inputs);
  }
  return op->definition(inputs);
}

Tensor record_fused(std::shared_ptr<const FusedOp> op, Array value, Kept kept,
                    std::span<const Tensor> inputs) {
  const char* const name = op->op_name();
  if (!should_record(name, inputs)) return without_history(name, std::move(value), inputs, {});
  auto node = std::make_shared<FusedNode>(std::move(op), std::move(kept), inputs);
  return attach(std::move(value), std::move(node), inputs, {});
}

}  // namespace norma::detail
