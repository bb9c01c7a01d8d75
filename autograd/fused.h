// Fused ops: a definition one can read, and optional kernels that are faster twins of it.
//
//   struct Scale {                                        // y = a x
//     static constexpr const char* name = "scale";
//     double a;
//     Tensor definition(const Tensor& x) const { return x * a; }
//     // Optional, both or none. nullopt: no kernel on this device.
//     std::optional<Array> forward(Kept& kept, const Array& x) const;
//     // Gradients of the inputs, in a std::array or std::vector. dy is contiguous (any strides with `static
//     // constexpr bool any_dy = true`), inputs have any strides.
//     std::array<Array, 1> backward(const Kept& kept, const Wanted& wanted, const Array& dy, const Array& x)
//         const;
//     // Optional: sum += the gradient of input i, where another use of that input has brought a gradient
//     // (tied weights). It is not wanted of backward then. False: not done.
//     bool add_gradient(std::size_t i, const Array& sum, const Array& dy, const Array& x) const;
//   };
//   Tensor scale(const Tensor& x, double a) { return apply(Scale{a}, x); }
//
// An op with `static constexpr bool cheap = true` takes little time beside those that use its result: of
// these, one with `remakes_inputs = true` does not keep that result for its backward, but has it made again.
// The bits are the same, since kernel and inputs are.
//
// Without a kernel, or inside DefinitionsOnly, the definition runs and its gradient is right by construction.
// With one, a single node is recorded. On the way back the kernel's backward runs; under create_graph the
// gradient of the *definition* is taken instead, from the inputs alone, so that every order of derivative is
// right.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "autograd/node.h"
#include "core/profile.h"

namespace norma {

/// Arrays that forward keeps for backward (statistics, the output); they carry no history and are never used
/// when gradients of gradients are wanted.
class Kept {
 public:
  Kept() = default;
  Kept(std::initializer_list<Array> arrays) {
    items_.reserve(arrays.size());
    for (const Array& array : arrays) push_back(array);
  }
  void push_back(Array array) { items_.push_back({std::move(array), 0}); }
  /// False where no backward pass can follow, so that a kernel need not note what only that reads.
  bool is_needed() const { return needed_; }
  void set_needed(bool needed) { needed_ = needed; }
  const Array& operator[](std::size_t i) const { return items_[i].array; }

  /// The op's result is often among them, and may be changed in place later.
  void note_versions();
  /// Throws when one was changed since note_versions().
  void check_unchanged(const char* op) const;

 private:
  struct Item {
    Array array;
    std::int64_t version;
  };
  std::vector<Item> items_;
  bool needed_ = true;
};

/// wanted[i]: the gradient of input i is asked for.
using Wanted = std::span<const bool>;

namespace detail {

template <class Op>
concept Cheap = requires {
  Op::cheap;
};
template <class Op>
concept RemakesInputs = requires {
  Op::remakes_inputs;
};
template <class Op>
concept TakesAnyDy = requires {
  Op::any_dy;
};
template <class Op>
concept AddsGradients = requires {
  &Op::add_gradient;
};

/// x without gaps; `copy` holds it when x has some.
inline const Array& contiguous(const Array& x, Array& copy) {
  return x.is_contiguous() ? x : copy = x.clone();
}

/// What the nodes of all fused ops share. An input is kept, or, where it is the result of a cheap op, made
/// again by that op's node: then saved_inputs[i] is undefined, and the edge leads to the node.
struct FusedNode : Node {
  Gradients backward(const Backward& call) final {
    return call.create_graph ? definition_vjp(call) : kernel_vjp(call);
  }
  void release() final;

 protected:
  FusedNode(const char* name_, std::size_t inputs, bool is_cheap_, Kept&& kept_);
  /// Keeps input i for the backward pass.
  void save(std::size_t i, const Tensor& x, bool may_remake);
  /// The array of input i, undefined for an absent one; `again` holds it when it is made again.
  const Array& input(std::size_t i, Tensor& again) const { return array_or_none(saved(i, again)); }

  bool is_cheap;
  std::span<Saved> saved_inputs;  // they lie in the derived object
  Kept kept;

 private:
  virtual Tensor definition(std::span<const Tensor> inputs) const = 0;
  /// The value, computed once more.
  virtual std::optional<Array> forward() const = 0;
  virtual Gradients kernel_vjp(const Backward& call) const = 0;
  Gradients definition_vjp(const Backward& call) const;
  const Tensor& saved(std::size_t i, Tensor& again) const;
  /// The op's result, computed once more, with its history.
  Tensor result_again() const;
};

/// The node of one op, with the op and its inputs in the same piece of memory. I: 0, 1, .. for each input.
template <class Op, std::size_t... I>
struct FusedNodeOf final : FusedNode {
  static constexpr std::size_t count = sizeof...(I);

  template <class... Inputs>
  FusedNodeOf(Op&& op_, Kept&& kept_, const Inputs&... x)
      : FusedNode(Op::name, count, Cheap<Op>, std::move(kept_)), op(std::move(op_)) {
    adds_gradients = AddsGradients<Op>;
    saved_inputs = inputs;
    (save(I, x, RemakesInputs<Op>), ...);
  }

 private:
  Tensor definition(std::span<const Tensor> x) const override { return op.definition(x[I]...); }

  bool add_gradient(std::size_t i, const Array& sum, const Backward& call) override {
    if constexpr (AddsGradients<Op>) {
      std::array<Tensor, count> again;
      Array packed;
      const Array& dy = TakesAnyDy<Op> ? call.dy.array() : contiguous(call.dy.array(), packed);
      return op.add_gradient(i, sum, dy, input(I, again[I])...);
    }
    return false;
  }

  std::optional<Array> forward() const override {
    Kept unused;
    unused.set_needed(false);
    std::array<Tensor, count> again;
    return op.forward(unused, input(I, again[I])...);
  }

  Gradients kernel_vjp(const Backward& call) const override {
    kept.check_unchanged(name);
    std::array<Tensor, count> again;
    Array packed;
    const Array& dy = TakesAnyDy<Op> ? call.dy.array() : contiguous(call.dy.array(), packed);
    auto found = op.backward(kept, call.wanted, dy, input(I, again[I])...);
    NORMA_CHECK(found.size() == count, "backward of ", name, ": the kernel returned ", found.size(),
                " gradients for ", count, " inputs");
    Gradients gradients(count);
    for (std::size_t i = 0; i < count; ++i) {
      if (found[i].defined()) gradients[i] = Tensor(std::move(found[i]));
    }
    return gradients;
  }

  Op op;
  std::array<Saved, count> inputs;
};

template <class Op, std::size_t... I, class... Inputs>
std::shared_ptr<Node> make_fused_node(std::index_sequence<I...>, Op&& op, Kept&& kept,
                                      const Inputs&... inputs) {
  return make_recycled<FusedNodeOf<Op, I...>>(std::move(op), std::move(kept), inputs...);
}

template <class Op, class... Inputs>
Tensor record_fused(Op&& op, Array&& value, Kept&& kept, const Inputs&... inputs) {
  const std::array<Input, sizeof...(Inputs)> list{inputs...};
  if (!should_record(Op::name, list)) return without_history(Op::name, std::move(value), list, {});
  auto node =
      make_fused_node(std::index_sequence_for<Inputs...>(), std::move(op), std::move(kept), inputs...);
  return attach(std::move(value), std::move(node), list, {});
}

/// The value and what is kept, by the op's kernel; nothing where it has none.
template <class Op, class... Inputs>
std::optional<Array> run_forward(const Op& op, Kept& kept, const Inputs&... inputs) {
  ProfileSpan span(SpanKind::forward, Op::name);
  std::optional<Array> value = op.forward(kept, array_or_none(inputs)...);
  if (span.is_noted() && value) [[unlikely]]
    span.wrote(value->view().data);
  return value;
}

}  // namespace detail

/// Records a fused op that a larger kernel has computed on its way: `value` and `kept` are what
/// op.forward(kept, inputs...) would have given.
template <class Op, std::same_as<Tensor>... Inputs>
Tensor apply_computed(Op op, Array value, Kept kept, const Inputs&... inputs) {
  return detail::record_fused(std::move(op), std::move(value), std::move(kept), inputs...);
}

/// Runs a fused op. Undefined tensors among the inputs stand for absent optional arguments and reach the
/// kernel as undefined arrays.
template <class Op, std::same_as<Tensor>... Inputs>
Tensor apply(Op op, const Inputs&... inputs) {
  if constexpr (requires(Kept kept) { op.forward(kept, detail::array_or_none(inputs)...); }) {
    Kept kept;
    kept.set_needed(grad_enabled() && (inputs.requires_grad() || ...));
    if (!DefinitionsOnly::active()) {
      if (std::optional<Array> value = detail::run_forward(op, kept, inputs...))
        return detail::record_fused(std::move(op), std::move(*value), std::move(kept), inputs...);
    }
  }
  return op.definition(inputs...);
}

}  // namespace norma
