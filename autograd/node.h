// One step of the recorded graph, and `record`, the function with which every primitive op, the library's or
// a user's, enters it:
//
//   Tensor cube(const Tensor& x) {
//     const Array value = (x.detach() * x.detach() * x.detach()).array();
//     return record("cube", value, {x}, [x = Saved(x)](const Backward& b) -> Gradients {
//       return {b.dy * 3 * x.get() * x.get()};        // written in ops: so any order of derivative works
//     });
//   }
#pragma once

#include <array>
#include <atomic>
#include <concepts>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "autograd/tensor.h"
#include "core/recycled.h"

namespace norma {

/// Gradients with respect to the inputs, in order; undefined = zero. Up to three lie in the object itself.
class Gradients {
 public:
  Gradients() = default;
  /// All undefined.
  explicit Gradients(std::size_t count) : size_(count) {
    if (count > few_.size()) many_.resize(count);
  }
  Gradients(Tensor a) : few_{std::move(a)}, size_(1) {}
  Gradients(Tensor a, Tensor b) : few_{std::move(a), std::move(b)}, size_(2) {}
  Gradients(Tensor a, Tensor b, Tensor c) : few_{std::move(a), std::move(b), std::move(c)}, size_(3) {}
  template <std::convertible_to<Tensor>... More>
  Gradients(Tensor a, Tensor b, Tensor c, Tensor d, More&&... more)
      : many_{std::move(a), std::move(b), std::move(c), std::move(d), std::forward<More>(more)...},
        size_(many_.size()) {}

  std::size_t size() const { return size_; }
  Tensor* begin() { return many_.empty() ? few_.data() : many_.data(); }
  Tensor* end() { return begin() + size_; }
  Tensor& operator[](std::size_t i) { return begin()[i]; }

 private:
  std::array<Tensor, 3> few_;
  std::vector<Tensor> many_;
  std::size_t size_ = 0;
};

/// What a Tensor handle points to.
struct TensorState {
  explicit TensorState(const Array& array_) : array(array_) {}
  explicit TensorState(Array&& array_) : array(std::move(array_)) {}
  ~TensorState();
  TensorState(const TensorState&) = delete;
  TensorState& operator=(const TensorState&) = delete;

  Array array;
  std::shared_ptr<Node> node;         // how it was made; null for leaves
  std::shared_ptr<TensorState> grad;  // accumulated gradient of a leaf
  std::vector<Hook> hooks;            // of a leaf; interior hooks live in the node
  std::int64_t seen_version = 0;      // storage version that `node` describes
  bool requires_grad = false;         // leaf that wants a gradient
  bool is_view = false;               // made by a view op: shares memory with another tensor
};

/// Where the gradient of one input goes: to the node that made it, or to a leaf, or (neither) nowhere.
struct Edge {
  std::shared_ptr<Node> node;
  std::shared_ptr<TensorState> leaf;
  bool defined() const { return node != nullptr || leaf != nullptr; }
  /// Of the input; the edge is defined.
  const Shape& shape() const;
};

/// A value kept for the backward pass. get() throws when it was changed in place since.
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& x) : tensor_(x), version_(x.defined() ? x.array().version() : 0) {}
  const Tensor& get() const;
  bool defined() const { return tensor_.defined(); }

 private:
  Tensor tensor_;
  std::int64_t version_ = 0;
};

/// What a backward rule sees.
struct Backward {
  const Tensor& dy;  // gradient with respect to the output; never undefined
  const Node& node;
  std::span<const bool> wanted;
  bool create_graph;
  /// False where the gradient of input i is not wanted: the rule may leave it undefined.
  bool needs(std::size_t i) const { return wanted[i]; }
  /// x, the gradient of input i as broadcasting stretched it, summed to the shape of the input; undefined
  /// when it is not wanted.
  Tensor summed(std::size_t i, const Tensor& x) const;
  /// The op's own result, with its history; only for ops recorded with keep_output.
  Tensor output() const;
};

/// A range of one axis, cut to its extent: 0 <= start <= stop.
struct Part {
  int axis;
  Slice range;
};

struct Node : std::enable_shared_from_this<Node> {
  Node(const char* name_, std::size_t inputs);
  virtual ~Node();
  virtual Gradients backward(const Backward& call) = 0;
  /// Asked only of nodes with adds_gradients: sum += the gradient of input i, in sum's memory. False where
  /// the node cannot; backward() gives that gradient then.
  virtual bool add_gradient(std::size_t /*i*/, const Array& /*sum*/, const Backward&) { return false; }
  /// Asked only of nodes with is_part: their only input has gradient dy in this part, and none elsewhere.
  /// backward() gives the same. Null once released.
  virtual const Part* part() const { return nullptr; }
  /// Drops saved values; a later backward through this node throws.
  virtual void release() = 0;

  const char* name;
  std::uint64_t sequence;  // creation order, which is a topological order
  std::span<Edge> edges;   // one for each input
  Shape shape;             // of the output
  DType dtype = DType::f32;
  Device device = Device::cpu;
  bool released = false;
  bool adds_gradients = false;
  bool is_part = false;
  Array kept_output;  // with keep_output
  std::int64_t kept_version = 0;
  std::vector<Hook> hooks;

 private:
  std::array<Edge, 3> few_;  // where the edges lie: most nodes need no memory of their own for them
  std::vector<Edge> many_;
};

inline const Shape& Edge::shape() const { return node != nullptr ? node->shape : leaf->array.shape(); }

struct RecordOptions {
  bool keep_output = false;  // the rule calls Backward::output()
  bool is_view = false;      // the value shares memory with input 0
};

namespace detail {

template <class Rule>
concept IsPartRule = requires(const Rule& rule) {
  { (rule.part) } -> std::same_as<const Part&>;
};

template <class Rule>
struct RuleNode final : Node {
  RuleNode(const char* name_, std::size_t inputs, Rule rule_) : Node(name_, inputs), rule(std::move(rule_)) {
    is_part = IsPartRule<Rule>;
  }
  Gradients backward(const Backward& call) override { return (*rule)(call); }
  const Part* part() const override {
    if constexpr (IsPartRule<Rule>) return rule ? &rule->part : nullptr;
    return nullptr;
  }
  void release() override {
    rule.reset();
    kept_output = Array();
    released = true;
  }
  std::optional<Rule> rule;
};

/// Undefined for an undefined tensor.
inline const Array& array_or_none(const Tensor& x) {
  static const Array none;
  return x.defined() ? x.state()->array : none;
}

/// An input of an op, in a list of them: no copy of the handle.
class Input {
 public:
  Input(const Tensor& x) : x_(&x) {}
  const Tensor& operator*() const { return *x_; }

 private:
  const Tensor* x_;
};
using Inputs = std::span<const Input>;

/// True when recording is on and some input requires a gradient. Throws when an input is stale (see record).
bool should_record(const char* name, Inputs inputs);
Tensor attach(Array&& value, std::shared_ptr<Node> node, Inputs inputs, RecordOptions options);
Tensor without_history(const char* name, Array&& value, Inputs inputs, RecordOptions options);

template <class Rule>
Tensor record(const char* name, Array&& value, Inputs inputs, Rule&& rule, RecordOptions options) {
  if (!should_record(name, inputs)) return without_history(name, std::move(value), inputs, options);
  auto node = make_recycled<RuleNode<Rule>>(name, inputs.size(), std::move(rule));
  return attach(std::move(value), std::move(node), inputs, options);
}

}  // namespace detail

/// The tensor that holds `value`, computed from `inputs` by the op `name`. When recording, `rule` (a function
/// from Backward to Gradients) becomes part of the graph. `name` must outlive the program (a string literal).
/// Throws when an input's memory was rewritten by a recorded in-place op of another tensor.
template <class Rule>
Tensor record(const char* name, Array value, std::span<const Tensor> inputs, Rule rule,
              RecordOptions options = {}) {
  const std::vector<detail::Input> list(inputs.begin(), inputs.end());
  return detail::record(name, std::move(value), list, std::move(rule), options);
}
template <class Rule>
Tensor record(const char* name, Array value, std::initializer_list<detail::Input> inputs, Rule rule,
              RecordOptions options = {}) {
  return detail::record(name, std::move(value), {inputs.begin(), inputs.size()}, std::move(rule), options);
}

/// x summed over the axes that broadcasting stretched from `shape`: the adjoint of expand.
Tensor sum_to(const Tensor& x, const Shape& shape);

/// Throws "op: argument is an undefined tensor".
void check_defined(const char* op, const char* argument, const Tensor& x);

}  // namespace norma
