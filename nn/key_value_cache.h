// Keys and values of the positions seen so far, for generation token by token.
#pragma once

#include <utility>

#include "autograd/tensor.h"

namespace norma::nn {

/// Room for `capacity` positions of one attention layer; memory is taken at the first append. Holds no
/// history: append inside NoGrad.
class KeyValueCache {
 public:
  /// Throws unless capacity > 0.
  explicit KeyValueCache(std::int64_t capacity);

  /// Adds keys and values [.., kv_heads, new, d] and returns all so far, [.., kv_heads, length, d]; these
  /// share the cache's memory. Throws when more than capacity positions would be held, when the shapes other
  /// than `new` differ from those of earlier calls, and when the keys or values are being recorded. On
  /// failure nothing has changed.
  std::pair<Tensor, Tensor> append(const Tensor& keys, const Tensor& values);

  std::int64_t length() const { return length_; }
  std::int64_t capacity() const { return capacity_; }
  /// Forgets all positions, or those from `length` on.
  void clear(std::int64_t length = 0);

 private:
  Array keys_, values_;  // [.., kv_heads, capacity, d]
  std::int64_t capacity_;
  std::int64_t length_ = 0;
};

}  // namespace norma::nn
