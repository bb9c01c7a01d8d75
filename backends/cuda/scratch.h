// Temporary device memory of a launch, from the caching allocator. It may be given back as soon as the
// kernels that use it are launched: on the one stream, whoever gets it next comes after them.
#pragma once

#include <cstdint>

#include "core/allocator.h"

namespace norma {

/// Room for `count` values of T on the device, uninitialized.
template <class T>
class DeviceScratch {
 public:
  explicit DeviceScratch(std::int64_t count) : storage_(count * static_cast<std::int64_t>(sizeof(T)), cuda) {}
  T* data() const { return static_cast<T*>(storage_.data()); }

 private:
  Storage storage_;
};

}  // namespace norma
