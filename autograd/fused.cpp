#include "autograd/fused.h"

#include "core/profile.h"

namespace norma::detail {
namespace {

/// Gradients of the definition, itself recorded. Each wanted input is replaced by an identity alias, which
/// marks where the inner walk stops; the history behind the alias makes the result differentiable again.
Gradients definition_vjp(const FusedOp& op, const std::vector<Saved>& saved, const Backward& call) {
  std::vector<Tensor> inputs;
  std::vector<Tensor> aliases;
  for (std::size_t i = 0; i < saved.size(); ++i) {
    const Tensor& x = saved[i].get();
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

Gradients kernel_vjp(const FusedOp& op, const std::vector<Saved>& saved, const KeptArrays& kept,
                     const Backward& call) {
  kept.check_unchanged(op.op_name());
  std::vector<Array> arrays;
  for (const Saved& x : saved) arrays.push_back(x.get().defined() ? x.get().array() : Array());
  std::vector<Array> found = op.backward(kept.arrays, call.wanted, call.dy.array(), arrays);
  NORMA_CHECK(found.size() == saved.size(), "backward of ", op.op_name(), ": the kernel returned ",
              found.size(), " gradients for ", saved.size(), " inputs");
  Gradients gradients(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i].defined()) gradients[i] = Tensor(std::move(found[i]));
  }
  return gradients;
}

std::optional<Array> run_forward(const FusedOp& op, Kept& kept, std::span<const Array> arrays) {
  ProfileSpan span(SpanKind::forward, op.op_name());
  std::optional<Array> value = op.forward(kept, arrays);
  if (span.is_noted() && value) [[unlikely]]
    span.wrote(value->view().data);
  return value;
}

}  // namespace

Tensor apply_fused(std::shared_ptr<const FusedOp> op, std::vector<Tensor> inputs) {
  if (!DefinitionsOnly::active()) {
    std::vector<Array> arrays;
    for (const Tensor& x : inputs) arrays.push_back(x.defined() ? x.array() : Array());
    Kept kept;
    if (std::optional<Array> value = run_forward(*op, kept, arrays))
      return record_fused(std::move(op), std::move(*value), std::move(kept), inputs);
  }
  return op->definition(inputs);
}

Tensor record_fused(std::shared_ptr<const FusedOp> op, Array value, Kept kept,
                    const std::vector<Tensor>& inputs) {
  std::vector<Saved> saved;
  for (const Tensor& x : inputs) saved.emplace_back(x);
  const char* const name = op->op_name();
  return record(name, std::move(value), inputs,
                [op = std::move(op), saved = std::move(saved),
                 kept = KeptArrays(std::move(kept))](const Backward& call) {
                  return call.create_graph ? definition_vjp(*op, saved, call)
                                           : kernel_vjp(*op, saved, kept, call);
                });
}

}  // namespace norma::detail
