// The gradients that a backward walk brings to leaves, in the order in which it comes to them.
#pragma once

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <vector>

#include "autograd/node.h"

namespace norma::detail {

/// A few are found by looking at each; a map is kept once there are more.
class LeafGradients {
 public:
  struct Entry {
    std::shared_ptr<TensorState> leaf;
    Tensor gradient;
  };

  /// Null where the walk has not been.
  Tensor* find(const TensorState* leaf) {
    if (!places_.empty()) {
      const auto place = places_.find(leaf);
      return place == places_.end() ? nullptr : &entries_[place->second].gradient;
    }
    const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                    [leaf](const Entry& e) { return e.leaf.get() == leaf; });
    return entry == entries_.end() ? nullptr : &entry->gradient;
  }

  /// Undefined at first. Valid until the next call.
  Tensor& of(const std::shared_ptr<TensorState>& leaf) {
    if (Tensor* const found = find(leaf.get())) return *found;
    if (entries_.empty()) entries_.reserve(few);
    entries_.push_back({leaf, Tensor()});
    if (entries_.size() > few) {
      for (std::size_t i = places_.size(); i < entries_.size(); ++i) {
        places_.emplace(entries_[i].leaf.get(), i);
      }
    }
    return entries_.back().gradient;
  }

  auto begin() { return entries_.begin(); }
  auto end() { return entries_.end(); }

 private:
  static constexpr std::size_t few = 8;

  std::vector<Entry> entries_;
  std::unordered_map<const TensorState*, std::size_t> places_;
};

}  // namespace norma::detail
