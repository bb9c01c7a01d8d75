#include "autograd/fused.h"

namespace norma {

void Kept::note_versions() {
  for (Item& item : items_) item.version = item.array.defined() ? item.array.version() : 0;
}

void Kept::check_unchanged(const char* op) const {
  for (const auto& [array, version] : items_) {
    NORMA_CHECK(!array.defined() || array.version() == version, "backward: a value kept by ", op, ", shape ",
                array.shape(), ", was changed in place after it was made: kept at version ", version,
                ", now at version ", array.version(),
                "; clone it first, or move the change after backward()");
  }
}

namespace detail {

FusedNode::FusedNode(const char* name_, std::size_t inputs, bool is_cheap_, Kept&& kept_)
    : Node(name_, inputs), is_cheap(is_cheap_), kept(std::move(kept_)) {
  kept.note_versions();
}

void FusedNode::save(std::size_t i, const Tensor& x, bool may_remake) {
  if (may_remake && x.defined()) {
    const auto* const maker = dynamic_cast<const FusedNode*>(x.state()->node.get());
    if (maker != nullptr && maker->is_cheap) return;
  }
  saved_inputs[i] = Saved(x);
}

const Tensor& FusedNode::saved(std::size_t i, Tensor& again) const {
  const Node* const maker = edges[i].node.get();
  if (saved_inputs[i].defined() || maker == nullptr) return saved_inputs[i].get();
  return again = static_cast<const FusedNode*>(maker)->result_again();
}

void FusedNode::release() {
  for (Saved& x : saved_inputs) x = Saved();
  kept = Kept();
  released = true;
}

/// Gradients of the definition, itself recorded. Each wanted input is replaced by an identity alias, which
/// marks where the inner walk stops; the history behind the alias makes the result differentiable again.
Gradients FusedNode::definition_vjp(const Backward& call) const {
  std::vector<Tensor> inputs(edges.size());
  std::vector<Tensor> aliases;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Tensor again;
    const Tensor& x = saved(i, again);
    inputs[i] = x;
    if (!call.needs(i)) continue;
    inputs[i] = record("alias", x.array(), {x}, [](const Backward& b) -> Gradients { return {b.dy}; });
    aliases.push_back(inputs[i]);
  }
  const Tensor y = definition(inputs);
  const auto found = grad({y}, aliases, {call.dy}, {.create_graph = true, .allow_unused = true});
  Gradients gradients(inputs.size());
  for (std::size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (call.needs(i)) gradients[i] = found[next++];
  }
  return gradients;
}

Tensor FusedNode::result_again() const {
  NORMA_CHECK(!released, "backward: the saved values of ", name,
              " have been freed by an earlier backward; pass retain_graph = true to that one");
  std::optional<Array> value = forward();
  NORMA_ASSERT(value);
  auto state = make_recycled<TensorState>(std::move(*value));
  state->seen_version = state->array.version();
  state->node = std::const_pointer_cast<Node>(shared_from_this());
  return Tensor(std::move(state));
}

}  // namespace detail
}  // namespace norma
