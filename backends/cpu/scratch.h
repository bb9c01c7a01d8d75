// Temporary memory of a kernel, from the caching allocator: a steady training step asks the system for none.
#pragma once

#include <cstdint>

#include "core/allocator.h"

namespace norma {

/// Room for `count` values of T, uninitialized, aligned to 64 bytes.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t count) : storage_(count * static_cast<std::int64_t>(sizeof(T)), cpu) {}
  T* data() { return static_cast<T*>(storage_.data()); }

 private:
  Storage storage_;
};

}  // namespace norma
