// Device memory for tests, and what they skip where there is no device (a build by nvcc on a machine without
// a GPU). Under the emulator there always is one.
#pragma once

#include <doctest/doctest.h>

#include <vector>

#include "backends/cuda/check.h"

namespace norma::tests {

inline bool no_device() {
  int count = 0;
  return cudaGetDeviceCount(&count) != cudaSuccess || count == 0;
}

/// n elements on the device; fresh memory, or a copy of values.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t n) : n_(n) { NORMA_CUDA(cudaMalloc(&data_, n * sizeof(T))); }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    NORMA_CUDA(cudaMemcpy(data_, values.data(), n_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::size_t size() const { return n_; }
  std::vector<T> values() const {
    std::vector<T> host(n_);
    NORMA_CUDA(cudaMemcpy(host.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  T* data_ = nullptr;
  std::size_t n_;
};

}  // namespace norma::tests
