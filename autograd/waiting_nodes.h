// The nodes that a backward walk has yet to visit, each with the sum of the gradients that came to it so far.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

#include "autograd/gradient_sum.h"
#include "autograd/node.h"

namespace norma::detail {

/// The newest may lie apart from the others: in a chain there are no others, and the map stays empty.
class WaitingNodes {
 public:
  struct Entry {
    std::shared_ptr<Node> node;
    GradientSum gradient;
  };

  bool empty() const { return newest_.node == nullptr && others_.empty(); }

  /// The gradient of a node, undefined at first. Valid until the next call.
  GradientSum& of(const std::shared_ptr<Node>& node) {
    if (newest_.node == node) return newest_.gradient;
    if (!is_newer(*node)) return place_of(node).gradient;
    if (newest_.node != nullptr) {
      Entry& place = place_of(newest_.node);
      place.gradient = std::move(newest_.gradient);
    }
    newest_.node = node;
    return newest_.gradient;
  }

  Entry take_newest() {
    if (newest_.node != nullptr) return std::move(newest_);
    spare_ = others_.extract(std::prev(others_.end()));
    return std::move(spare_.mapped());
  }

 private:
  bool is_newer(const Node& node) const {
    if (newest_.node != nullptr) return node.sequence > newest_.node->sequence;
    return others_.empty() || node.sequence > others_.rbegin()->first;
  }

  /// Among the others.
  Entry& place_of(const std::shared_ptr<Node>& node) {
    auto place = others_.lower_bound(node->sequence);
    if (place != others_.end() && place->first == node->sequence) return place->second;
    if (spare_) {
      spare_.key() = node->sequence;
      place = others_.insert(place, std::move(spare_));
    } else {
      place = others_.emplace_hint(place, node->sequence, Entry());
    }
    place->second.node = node;
    return place->second;
  }

  Entry newest_;                                     // no node, or one newer than all others
  std::map<std::uint64_t, Entry> others_;            // by number
  std::map<std::uint64_t, Entry>::node_type spare_;  // an entry to be used again
};

}  // namespace norma::detail
