// The backward walk. Nodes are numbered as they are made, and that order is topological: the gradient of the
// newest node that waits is complete. There is no recursion, and all state of a walk is local
// to it, so a rule or a hook may itself call grad(). Gradients of leaves are handed over at the end: a walk
// that throws has changed none.
#include <algorithm>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "autograd/leaf_gradients.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/ops/kernels.h"
#include "autograd/recompute.h"
#include "autograd/waiting_nodes.h"
#include "core/profile.h"

namespace norma {
namespace {

using detail::is_ours_alone;

/// The rule of a node, timed for the profile.
Gradients run_rule(Node& node, const Backward& call) {
  detail::ProfileSpan span(detail::SpanKind::backward, node.name);
  Gradients gradients = node.backward(call);
  if (span.is_noted()) [[unlikely]] {
    std::int64_t moved = 0;
    const auto count = [&moved](const Tensor& x) {
      if (x.defined()) moved += x.numel() * size_of(x.dtype());
    };
    count(call.dy);
    for (const Tensor& gradient : gradients) count(gradient);
    span.moved(moved);
    if (!is_host(node.device)) backend(node.device).synchronize();
  }
  return gradients;
}

bool is_nan_free(const Tensor& x) { return x.isnan().any().item() == 0; }

Tensor run_hooks(const std::vector<Hook>& hooks, Tensor gradient) {
  for (const Hook& hook : hooks) {
    Tensor replacement = hook(gradient);
    if (!replacement.defined()) continue;
    NORMA_CHECK(replacement.shape() == gradient.shape() && replacement.dtype() == gradient.dtype(),
                "hook: a replacement gradient must be ", gradient.dtype(), " ", gradient.shape(), ", got ",
                replacement.dtype(), " ", replacement.shape());
    gradient = std::move(replacement);
  }
  return gradient;
}

/// Of a walk to wanted tensors.
struct Limits {
  bool stop_at_wanted = false;
  std::unordered_map<const Node*, bool> useful;
  std::unordered_set<const Node*> explored;
  std::unordered_map<const Node*, Tensor> captured;
  std::unordered_set<const TensorState*> wanted_leaves;
  std::unordered_set<const TensorState*> reachable_leaves;
  std::unordered_set<const Node*> visited_wanted;
  std::unordered_set<const TensorState*> reached;
};

class Walk {
 public:
  explicit Walk(BackwardOptions options) : options_(options) {}

  /// Limits the walk to nodes that lead to one of the wanted tensors; with `stop_there` it does not go on
  /// beyond them.
  void restrict_to(const std::vector<Tensor>& outputs, const std::vector<Tensor>& wanted,
                   bool stop_there = false) {
    limits_.emplace().stop_at_wanted = stop_there;
    std::uint64_t oldest = UINT64_MAX;  // older nodes cannot lead to a wanted one
    for (const Tensor& x : wanted) {
      const TensorState& state = *x.state();
      if (state.node != nullptr) {
        limits_->useful.emplace(state.node.get(), true);
        limits_->captured.emplace(state.node.get(), Tensor());
        oldest = std::min(oldest, state.node->sequence);
      } else {
        limits_->wanted_leaves.insert(&state);
        oldest = 0;
      }
    }
    for (const Tensor& y : outputs) mark_useful(y.state()->node.get(), oldest);
  }

  bool leads_somewhere(const TensorState& state) const {
    if (!limits_) return true;
    if (state.node == nullptr) return limits_->wanted_leaves.contains(&state);
    return is_useful(state.node.get());
  }

  void seed(const Tensor& output, const Tensor& gradient) {
    const auto& state = output.state();
    if (!leads_somewhere(*state)) return;
    if (state->node != nullptr) {
      waiting_.of(state->node).add(gradient);
    } else {
      leaf_gradients_.of(state).add(gradient);
    }
  }

  void run() {
    const GradModeGuard mode(options_.create_graph);
    while (!waiting_.empty()) {
      auto [node, gradient] = waiting_.take_newest();
      visit(node, std::move(gradient.total()));
    }
    for (auto& [leaf, sum] : leaf_gradients_) {
      Tensor& gradient = sum.total();
      if (!leaf->hooks.empty()) gradient = run_hooks(leaf->hooks, gradient);
    }
  }

  /// Adds the gradients of leaves to their grad(). Several threads may do so to the same leaves at once.
  void commit() {
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    const GradModeGuard mode(options_.create_graph);
    for (auto& [leaf, sum] : leaf_gradients_) {
      Tensor& walked = sum.total();
      Tensor total(std::move(leaf->grad));
      if (total.defined()) {
        accumulate_leaf(total, walked);
      } else {
        total = for_leaf(std::move(walked));
      }
      leaf->grad = std::move(total).state();
    }
  }

  /// The gradient of a wanted tensor: zeros when the walk came by without one, undefined when it never could.
  Tensor result(const Tensor& input) {
    const TensorState& state = *input.state();
    Tensor found;
    if (state.node != nullptr) {
      found = limits_->captured[state.node.get()];
    } else if (detail::GradientSum* const gradient = leaf_gradients_.find(&state)) {
      found = gradient->total();
    }
    if (!found.defined() && limits_->reached.contains(&state)) return zeros_like(input);
    return found;
  }
  void note_reached(const TensorState& state, bool reached) {
    if (reached) limits_->reached.insert(&state);
  }
  bool is_useful(const Node* node) const {
    const auto found = limits_->useful.find(node);
    return found != limits_->useful.end() && found->second;
  }
  bool leaf_is_reachable(const TensorState* leaf) const { return limits_->reachable_leaves.contains(leaf); }
  bool node_is_reachable(const Node* node) const { return limits_->visited_wanted.contains(node); }

 private:
  /// Depth-first with an explicit stack: limits_->useful[node] = some path leads from it to a wanted tensor.
  void mark_useful(Node* root, std::uint64_t oldest) {
    if (root == nullptr) return;
    struct Frame {
      Node* node;
      std::size_t next;
      bool useful;
    };
    std::vector<Frame> stack;
    const auto enter = [&](Node* node) {
      limits_->useful.try_emplace(node, false);
      const bool wanted = limits_->captured.contains(node);
      if (wanted) limits_->visited_wanted.insert(node);
      if (wanted && limits_->stop_at_wanted) {
        limits_->useful[node] = true;
        return false;
      }
      if (limits_->explored.insert(node).second && node->sequence >= oldest) {
        stack.push_back({node, 0, wanted});
        return true;
      }
      return false;
    };
    enter(root);
    while (!stack.empty()) {
      Frame& frame = stack.back();
      if (frame.next == frame.node->edges.size()) {
        const Frame done = frame;
        stack.pop_back();
        limits_->useful[done.node] = done.useful;
        if (!stack.empty()) stack.back().useful |= done.useful;
        continue;
      }
      const Edge& edge = frame.node->edges[frame.next++];
      if (edge.leaf != nullptr && limits_->wanted_leaves.contains(edge.leaf.get())) {
        limits_->reachable_leaves.insert(edge.leaf.get());
        frame.useful = true;
      }
      if (edge.node != nullptr && !enter(edge.node.get())) frame.useful |= limits_->useful[edge.node.get()];
    }
  }

  bool wants(const Edge& edge) const {
    if (!limits_ || !edge.defined()) return edge.defined();
    return edge.leaf != nullptr ? limits_->wanted_leaves.contains(edge.leaf.get())
                                : is_useful(edge.node.get());
  }

  /// The first gradient of a leaf, in memory that is the leaf's alone.
  Tensor for_leaf(Tensor gradient) const {
    if (options_.create_graph) return gradient.contiguous();
    return is_ours_alone(gradient) ? std::move(gradient) : Tensor(gradient.array().clone());
  }

  static void accumulate_leaf(Tensor& total, const Tensor& gradient) {
    if (!grad_enabled() && total.array().is_contiguous() && !total.requires_grad()) {
      kernels::binary_in_place(Binary::add, total.array(), gradient.array(), "add_");
    } else {
      total = add(total, gradient);
    }
  }

  void visit(const std::shared_ptr<Node>& node, Tensor dy) {
    if (!node->hooks.empty()) dy = run_hooks(node->hooks, std::move(dy));
    bool goes_on = true;
    if (limits_) {
      if (const auto place = limits_->captured.find(node.get()); place != limits_->captured.end()) {
        place->second = dy;
        goes_on = !limits_->stop_at_wanted && std::any_of(node->edges.begin(), node->edges.end(),
                                                          [&](const Edge& edge) { return wants(edge); });
      }
    }
    if (!goes_on) return;
    NORMA_CHECK(!node->released, "backward: the saved values of ", node->name,
                " have been freed by an earlier backward; pass retain_graph = true to that one");
    propagate(*node, dy);
    if (!options_.retain_graph && !options_.create_graph) node->release();
  }

  /// Has the node add to gradients of leaves that are there already: each such input is no longer wanted.
  /// False when none is left that is.
  bool add_to_sums(Node& node, const Backward& call, bool* wanted) {
    bool any_left = false;
    for (std::size_t i = 0; i < node.edges.size(); ++i) {
      if (!wanted[i]) continue;
      const Edge& edge = node.edges[i];
      detail::GradientSum* const found =
          edge.leaf != nullptr ? leaf_gradients_.find(edge.leaf.get()) : nullptr;
      const Tensor* const sum = found != nullptr ? &found->total() : nullptr;
      if (sum != nullptr && is_ours_alone(*sum) && sum->array().is_contiguous()) {
        const detail::ProfileSpan span(detail::SpanKind::backward, node.name);
        wanted[i] = !node.add_gradient(i, sum->array(), call);
      }
      any_left |= wanted[i];
    }
    return any_left;
  }

  detail::GradientSum& sum_at(const Edge& edge) {
    return edge.node != nullptr ? waiting_.of(edge.node) : leaf_gradients_.of(edge.leaf);
  }

  void add_part(const Node& node, const Backward& call) {
    const Part* const part = node.part();
    NORMA_ASSERT(part != nullptr);
    if (!call.needs(0)) return;
    detail::ProfileSpan span(detail::SpanKind::backward, node.name);
    const Array& dy = call.dy.array();
    sum_at(node.edges[0]).add_part(dy, node.edges[0].shape(), *part);
    if (span.is_noted()) [[unlikely]] {
      span.moved(2 * dy.numel() * size_of(dy.dtype()));
      if (!is_host(node.device)) backend(node.device).synchronize();
    }
  }

  void propagate(Node& node, Tensor& dy) {
    const std::size_t count = node.edges.size();
    bool few[16] = {};
    const std::unique_ptr<bool[]> many(count > 16 ? new bool[count] : nullptr);
    bool* wanted = many ? many.get() : few;
    for (std::size_t i = 0; i < count; ++i) wanted[i] = wants(node.edges[i]);
    const bool watched = AnomalyMode::active() && is_nan_free(dy);
    const AnomalyMode pause(false);  // the node is to be named, not an op of its rule
    const Backward call{dy, node, std::span<const bool>(wanted, count), options_.create_graph};
    if (node.adds_gradients && !options_.create_graph && !watched && !add_to_sums(node, call, wanted)) return;
    if (node.is_part && !options_.create_graph && !watched) return add_part(node, call);
    Gradients gradients = run_rule(node, call);
    NORMA_CHECK(gradients.size() == count, "backward of ", node.name, ": returned ", gradients.size(),
                " gradients for ", count, " inputs");
    if (!watched) dy = Tensor();  // its memory may be reused from here on
    for (std::size_t i = 0; i < count; ++i) {
      Tensor gradient = std::move(gradients[i]);
      if (!wanted[i] || !gradient.defined()) continue;
      const Edge& edge = node.edges[i];
      NORMA_CHECK(gradient.shape() == edge.shape(), "backward of ", node.name, ": the gradient of input ", i,
                  " has shape ", gradient.shape(), ", the input ", edge.shape());
      NORMA_CHECK(!watched || is_nan_free(gradient), "anomaly: the backward pass of ", node.name,
                  " made the first NaN (gradient of input ", i, ", shape ", gradient.shape(), ")");
      sum_at(edge).add(std::move(gradient));
    }
  }

  BackwardOptions options_;
  detail::WaitingNodes waiting_;
  detail::LeafGradients leaf_gradients_;

  std::optional<Limits> limits_;
};

void check_seed(const char* op, const Tensor& output, const Tensor& gradient) {
  NORMA_CHECK(gradient.shape() == output.shape() && gradient.dtype() == output.dtype() &&
                  gradient.device() == output.device(),
              op, ": the gradient given must be ", output.dtype(), " ", output.shape(), " on ",
              output.device(), ", got ", gradient.dtype(), " ", gradient.shape(), " on ", gradient.device());
}

Tensor default_seed(const char* op, const Tensor& output) {
  NORMA_CHECK(output.numel() == 1, op,
              ": a gradient must be given for an output that is not one element, got shape ", output.shape());
  return ones_like(output);
}

}  // namespace

void Tensor::backward(const Tensor& gradient, BackwardOptions options) const {
  check_defined("backward", "y", *this);
  NORMA_CHECK(
      requires_grad(),
      "backward: y needs no gradient; nothing that made it requires one (did you run it under no_grad?)");
  if (gradient.defined()) check_seed("backward", *this, gradient);
  Walk walk(options);
  walk.seed(*this, gradient.defined() ? gradient : default_seed("backward", *this));
  walk.run();
  walk.commit();
}

std::vector<Tensor> detail::partial_gradients(const Tensor& y, const std::vector<Tensor>& inputs,
                                              const Tensor& dy, bool create_graph) {
  Walk walk({.retain_graph = create_graph, .create_graph = create_graph});
  walk.restrict_to({y}, inputs, true);
  if (y.requires_grad()) walk.seed(y, dy);
  walk.run();
  std::vector<Tensor> results;
  results.reserve(inputs.size());
  for (const Tensor& x : inputs) results.push_back(walk.result(x));
  return results;
}

std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const std::vector<Tensor>& grad_outputs, GradOptions options) {
  NORMA_CHECK(!outputs.empty() && !inputs.empty(), "grad: needs at least one output and one input, got ",
              outputs.size(), " and ", inputs.size());
  NORMA_CHECK(grad_outputs.empty() || grad_outputs.size() == outputs.size(), "grad: ", grad_outputs.size(),
              " grad_outputs for ", outputs.size(), " outputs");
  for (const Tensor& x : inputs) {
    check_defined("grad", "an input", x);
    NORMA_CHECK(x.requires_grad(), "grad: an input of shape ", x.shape(), " requires no gradient");
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    check_defined("grad", "an output", outputs[i]);
    if (!grad_outputs.empty() && grad_outputs[i].defined()) check_seed("grad", outputs[i], grad_outputs[i]);
  }
  Walk walk(
      {.retain_graph = options.retain_graph || options.create_graph, .create_graph = options.create_graph});
  walk.restrict_to(outputs, inputs);
  for (const Tensor& x : inputs) {
    const TensorState& state = *x.state();
    bool reached =
        state.node != nullptr ? walk.node_is_reachable(state.node.get()) : walk.leaf_is_reachable(&state);
    for (const Tensor& y : outputs) reached = reached || y.is_same(x);
    NORMA_CHECK(
        reached || options.allow_unused, "grad: an input of shape ", x.shape(),
        " was not used to compute the outputs; pass allow_unused = true to get an undefined gradient for it");
    walk.note_reached(state, reached);
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].requires_grad()) continue;
    if (grad_outputs.empty()) {
      walk.seed(outputs[i], default_seed("grad", outputs[i]));
    } else if (grad_outputs[i].defined()) {
      walk.seed(outputs[i], grad_outputs[i]);
    }
  }
  walk.run();
  std::vector<Tensor> results;
  results.reserve(inputs.size());
  for (const Tensor& x : inputs) results.push_back(walk.result(x));
  return results;
}

}  // namespace norma
