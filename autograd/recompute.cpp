#include "autograd/recompute.h"

#include <algorithm>
#include <unordered_set>

#include "autograd/node.h"
#include "core/random.h"

namespace norma {
namespace {

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

thread_local bool recomputing = false;

/// For one scope: the default generator as it was for the first run.
class SecondRun {
 public:
  explicit SecondRun(RandomKey random) : now_(default_generator().state()), outer_(recomputing) {
    default_generator().set_state(random);
    recomputing = true;
  }
  ~SecondRun() {
    default_generator().set_state(now_);
    recomputing = outer_;
  }
  SecondRun(const SecondRun&) = delete;
  SecondRun& operator=(const SecondRun&) = delete;

 private:
  RandomKey now_;
  bool outer_;
};

/// x at the edge of fn's own graph: a node that a walk can stop at.
Tensor at_edge(const Tensor& x) {
  return record("alias", x.array(), {x}, [](const Backward& b) -> Gradients { return {b.dy}; },
                {.is_view = true});
}

/// The leaves that the graph of y reaches without passing an edge, in the order of discovery.
std::vector<Tensor> leaves_of(const Tensor& y, const std::vector<Tensor>& edges, std::uint64_t first) {
  std::unordered_set<const void*> seen;
  for (const Tensor& x : edges) {
    if (x.defined()) seen.insert(x.state()->node.get());
  }
  std::vector<Tensor> leaves;
  std::vector<const Node*> open;
  const auto enter = [&](const Node* node) {
    if (!seen.insert(node).second) return;
    NORMA_CHECK(node->sequence >= first, "checkpoint: fn uses a tensor of shape ", node->shape,
                " that was recorded (by ", node->name,
                ") before; pass it in inputs and use the argument, or detach it");
    open.push_back(node);
  };
  if (y.state()->node != nullptr) enter(y.state()->node.get());
  while (!open.empty()) {
    const Node& node = *open.back();
    open.pop_back();
    for (const Edge& edge : node.edges) {
      if (edge.node != nullptr) enter(edge.node.get());
      if (edge.leaf != nullptr && seen.insert(edge.leaf.get()).second) leaves.emplace_back(edge.leaf);
    }
  }
  return leaves;
}

/// The rule of a checkpoint: inputs are those of fn, then the leaves.
struct Recompute {
  Function fn;
  std::vector<Saved> inputs, leaves;
  RandomKey random;

  Gradients operator()(const Backward& b) const {
    const SecondRun second(random);
    std::vector<Tensor> again, wanted;
    std::vector<std::size_t> places;
    const auto want = [&](std::size_t place, const Tensor& x) {
      wanted.push_back(x);
      places.push_back(place);
    };
    const GradModeGuard recording(true);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Tensor& x = inputs[i].get();
      // Under create_graph what is not wanted keeps its history too, behind an edge that stops the walk.
      const bool edge = b.needs(i) || (b.create_graph && x.defined() && x.requires_grad());
      again.push_back(!x.defined() ? x : edge ? at_edge(x) : x.detach());
      if (edge) want(i, again.back());
    }
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      const Tensor& leaf = leaves[i].get();
      if (b.needs(inputs.size() + i)) want(inputs.size() + i, leaf);
    }
    const Tensor y = fn(again);
    NORMA_CHECK(y.defined() && y.shape() == b.node.shape && y.dtype() == b.node.dtype, "checkpoint: fn gave ",
                b.node.dtype, " ", b.node.shape, " at first and something else now");
    const auto found = detail::partial_gradients(y, wanted, b.dy, b.create_graph);
    Gradients gradients(inputs.size() + leaves.size());
    for (std::size_t i = 0; i < found.size(); ++i) gradients[places[i]] = found[i];
    return gradients;
  }
};

/// Its number is that of the next node.
struct Marker final : Node {
  Marker() : Node("checkpoint", 0) {}
  Gradients backward(const Backward&) override { return {}; }
  void release() override {}
};

}  // namespace

bool Recomputation::active() { return recomputing; }

Tensor checkpoint(const Function& fn, const std::vector<Tensor>& inputs) {
  NORMA_CHECK(fn != nullptr, "checkpoint: fn is empty, expected a function of the inputs");
  if (!grad_enabled()) return fn(inputs);
  Recompute rule{fn, {}, {}, default_generator().state()};
  const std::uint64_t first = Marker().sequence;
  std::vector<Tensor> edges;
  for (const Tensor& x : inputs) edges.push_back(x.defined() && x.requires_grad() ? at_edge(x) : x);
  Tensor y = fn(edges);
  check_defined("checkpoint", "the result of fn", y);
  if (y.is_leaf()) return y;  // nothing was recorded
  const std::vector<Tensor> leaves = leaves_of(y, edges, first);
  for (const Tensor& x : inputs) rule.inputs.emplace_back(x);
  for (const Tensor& leaf : leaves) rule.leaves.emplace_back(leaf);
  std::vector<Tensor> all = inputs;
  all.insert(all.end(), leaves.begin(), leaves.end());
  const Array value = y.array();
  y = Tensor();  // and what it saved
  return record("checkpoint", value, all, std::move(rule));
}

}  // namespace norma
