// A number of the host for the kernels of captured work, new for each replay.
#pragma once

#include "backends/cuda/launch.h"

namespace norma {

template <class T>
__global__ void set_value(T* to, T value) {
  *to = value;
}

/// One T in device memory of its own: memory of the caching allocator may have served earlier kernels of the
/// same captured work, which would overwrite what was set before a replay.
template <class T>
class DeviceValue {
 public:
  DeviceValue() { NORMA_CUDA(cudaMalloc(&data_, sizeof(T))); }
  ~DeviceValue() { static_cast<void>(cudaFree(data_)); }
  DeviceValue(const DeviceValue&) = delete;
  DeviceValue& operator=(const DeviceValue&) = delete;

  const T* data() const { return data_; }
  /// By the arguments of a launch: nobody waits, and nothing is copied from host memory.
  void set(cudaStream_t stream, const T& value) const {
    launch(set_value<T>, dim3(1), dim3(1), 0, stream, data_, value);
  }

 private:
  T* data_ = nullptr;
};

}  // namespace norma
