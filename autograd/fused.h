// Fused ops: a definition one can read, and optional kernels that are faster twins of it.
//
//   struct Scale {                                        // y = a x
//     static constexpr const char* name = "scale";
//     double a;
//     Tensor definition(const Tensor& x) const { return x * a; }
//     // Optional, both or none. nullopt: no kernel on this device.
//     std::optional<Array> forward(Kept& kept, const Array& x) const;
//     // dy is contiguous (any strides with `static constexpr bool any_dy = true`), inputs have any strides.
//     std::vector<Array> backward(const Kept& kept, const Wanted& wanted, const Array& dy, const Array& x)
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
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "autograd/node.h"

namespace norma {

/// Arrays that forward keeps for backward (statistics, the output); they carry no history and are never used
/// when gradients of gradients are wanted.
using Kept = std::vector<Array>;
/// wanted[i]: the gradient of input i is asked for.
using Wanted = std::span<const bool>;

namespace detail {

/// Type-erased view of a fused op with n inputs.
struct FusedOp {
  virtual ~FusedOp() = default;
  virtual const char* op_name() const = 0;
  virtual bool is_cheap() const = 0;
  virtual bool remakes_inputs() const = 0;
  virtual Tensor definition(std::span<const Tensor> inputs) const = 0;
  virtual std::optional<Array> forward(Kept& kept, std::span<const Tensor> inputs) const = 0;
  virtual std::vector<Array> backward(const Kept& kept, Wanted wanted, const Array& dy,
                                      std::span<const Tensor> inputs) const = 0;
  virtual bool adds_gradients() const = 0;
  virtual bool add_gradient(std::size_t i, const Array& sum, const Array& dy,
                            std::span<const Tensor> inputs) const = 0;
};

Tensor apply_fused(std::shared_ptr<const FusedOp> op, std::span<const Tensor> inputs);
/// Records op with what its forward kernel gave.
Tensor record_fused(std::shared_ptr<const FusedOp> op, Array value, Kept kept,
                    std::span<const Tensor> inputs);

/// Undefined for an undefined tensor.
inline const Array& array_or_none(const Tensor& x) {
  static const Array none;
  return x.defined() ? x.array() : none;
}

template <class Op, std::size_t... I>
struct FusedAdaptor final : FusedOp {
  static constexpr bool takes_any_dy = requires { Op::any_dy; };
  explicit FusedAdaptor(Op op_) : op(std::move(op_)) {}
  const char* op_name() const override { return Op::name; }
  bool is_cheap() const override {
    return requires { Op::cheap; };
  }
  bool remakes_inputs() const override {
    return requires { Op::remakes_inputs; };
  }
  Tensor definition(std::span<const Tensor> inputs) const override { return op.definition(inputs[I]...); }
  std::optional<Array> forward(Kept& kept, std::span<const Tensor> inputs) const override {
    if constexpr (requires { op.forward(kept, array_or_none(inputs[I])...); })
      return op.forward(kept, array_or_none(inputs[I])...);
    return std::nullopt;
  }
  std::vector<Array> backward(const Kept& kept, Wanted wanted, const Array& dy,
                              std::span<const Tensor> inputs) const override {
    if constexpr (requires { op.backward(kept, wanted, dy, array_or_none(inputs[I])...); })
      return op.backward(kept, wanted, takes_any_dy ? dy : dy.contiguous(), array_or_none(inputs[I])...);
    NORMA_ASSERT(false && "a fused op with a forward kernel needs a backward kernel");
    return {};
  }
  bool adds_gradients() const override {
    return requires { &Op::add_gradient; };
  }
  bool add_gradient(std::size_t i, const Array& sum, const Array& dy,
                    std::span<const Tensor> inputs) const override {
    if constexpr (requires { &Op::add_gradient; })
      return op.add_gradient(i, sum, takes_any_dy ? dy : dy.contiguous(), array_or_none(inputs[I])...);
    return false;
  }
  Op op;
};

template <class Op, std::size_t... I>
std::shared_ptr<const FusedOp> make_fused(Op op, std::index_sequence<I...>) {
  return std::make_shared<const FusedAdaptor<Op, I...>>(std::move(op));
}

}  // namespace detail

/// Runs a fused op. Undefined tensors among the inputs stand for absent optional arguments and reach the
/// kernel as undefined arrays.
template <class Op, std::same_as<Tensor>... Inputs>
Tensor apply(Op op, const Inputs&... inputs) {
  const std::array<Tensor, sizeof...(Inputs)> list{inputs...};
  return detail::apply_fused(detail::make_fused(std::move(op), std::index_sequence_for<Inputs...>{}), list);
}

/// Records a fused op that a larger kernel has computed on its way: `value` and `kept` are what
/// op.forward(kept, inputs...) would have given.
template <class Op, std::same_as<Tensor>... Inputs>
Tensor apply_computed(Op op, Array value, Kept kept, const Inputs&... inputs) {
  const std::array<Tensor, sizeof...(Inputs)> list{inputs...};
  return detail::record_fused(detail::make_fused(std::move(op), std::index_sequence_for<Inputs...>{}),
                              std::move(value), std::move(kept), list);
}

}  // namespace norma
