#include "autograd/dot.h"

#include <algorithm>
#include <unordered_map>

#include "autograd/node.h"

namespace norma {
namespace {

/// All nodes behind `root`, oldest first: the order of their making, so the text does not depend on
/// addresses.
std::vector<const Node*> nodes_behind(const Node* root) {
  std::unordered_map<const Node*, bool> seen;
  std::vector<const Node*> nodes;
  std::vector<const Node*> waiting;
  if (root != nullptr) waiting.push_back(root);
  while (!waiting.empty()) {
    const Node* node = waiting.back();
    waiting.pop_back();
    if (!seen.try_emplace(node, true).second) continue;
    nodes.push_back(node);
    for (const Edge& edge : node->edges) {
      if (edge.node != nullptr) waiting.push_back(edge.node.get());
    }
  }
  std::sort(nodes.begin(), nodes.end(),
            [](const Node* a, const Node* b) { return a->sequence < b->sequence; });
  return nodes;
}

class Drawing {
 public:
  std::string draw(const Tensor& y) {
    text_ = "digraph {\n  rankdir = BT\n";
    const Node* root = y.state()->node.get();
    if (root == nullptr) leaf(y.state().get());
    for (const Node* node : nodes_behind(root)) {
      const std::string id = detail::concat("op", ops_.size());
      ops_.emplace(node, id);
      declare(id, "ellipse", detail::concat(node->name, "\\n", node->shape));
      for (const Edge& edge : node->edges) {
        if (edge.node != nullptr) arrow(ops_.at(edge.node.get()), id);
        if (edge.leaf != nullptr) arrow(leaf(edge.leaf.get()), id);
      }
    }
    return text_ + "}\n";
  }

 private:
  void declare(const std::string& id, const char* shape, const std::string& label) {
    text_ += detail::concat("  ", id, " [shape=", shape, ", label=\"", label, "\"]\n");
  }
  void arrow(const std::string& from, const std::string& to) { text_ += "  " + from + " -> " + to + "\n"; }

  std::string leaf(const TensorState* state) {
    const auto [place, fresh] = leaves_.try_emplace(state, detail::concat("leaf", leaves_.size()));
    if (fresh) declare(place->second, "box", detail::concat(state->array.shape()));
    return place->second;
  }

  std::string text_;
  std::unordered_map<const Node*, std::string> ops_;
  std::unordered_map<const TensorState*, std::string> leaves_;
};

}  // namespace

std::string to_dot(const Tensor& y) {
  check_defined("to_dot", "y", y);
  return Drawing().draw(y);
}

}  // namespace norma
