// The gradients that a backward walk brings to leaves, in the order in which it comes to them.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "autograd/gradient_sum.h"
#include "autograd/node.h"

namespace norma::detail {

/// A few lie in the object itself and are found by looking at each; a map is kept once there are more.
class LeafGradients {
 public:
  struct Entry {
    std::shared_ptr<TensorState> leaf;
    GradientSum gradient;
  };

  /// Null where the walk has not been.
  GradientSum* find(const TensorState* leaf) {
    if (many_ != nullptr) {
      const auto place = many_->places.find(leaf);
      return place == many_->places.end() ? nullptr : &many_->entries[place->second].gradient;
    }
    const auto entry = std::find_if(begin(), end(), [leaf](const Entry& e) { return e.leaf.get() == leaf; });
    return entry == end() ? nullptr : &entry->gradient;
  }

  /// Undefined at first. Valid until the next call.
  GradientSum& of(const std::shared_ptr<TensorState>& leaf) {
    if (GradientSum* const found = find(leaf.get())) return *found;
    if (size_ == few_.size()) {
      many_ = std::make_unique<Many>();
      for (Entry& entry : few_) many_->add(std::move(entry));
    }
    ++size_;
    if (many_ != nullptr) return many_->add({leaf, {}});
    few_[size_ - 1].leaf = leaf;
    return few_[size_ - 1].gradient;
  }

  Entry* begin() { return many_ != nullptr ? many_->entries.data() : few_.data(); }
  Entry* end() { return begin() + size_; }

 private:
  struct Many {
    GradientSum& add(Entry entry) {
      places.emplace(entry.leaf.get(), entries.size());
      return entries.emplace_back(std::move(entry)).gradient;
    }
    std::vector<Entry> entries;
    std::unordered_map<const TensorState*, std::size_t> places;
  };

  std::size_t size_ = 0;
  std::array<Entry, 8> few_;
  std::unique_ptr<Many> many_;  // holds all of them, once there are more
};

}  // namespace norma::detail
