// Mistakes in the data that only a kernel can see: indices out of range, i64 division by zero. Waiting for
// the device to find them would cost a synchronization at each launch. Instead the kernel leaves the element
// out and notes the mistake; the next synchronization or download throws it.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "backends/cuda/check.h"

namespace norma {

/// In pinned host memory: what kernels write and the host reads after a synchronization.
struct ErrorRecord {
  std::int64_t site = -1;  // none: no mistake
  std::int64_t position, value, extent;
};

/// In device memory. `first` orders the mistakes: by launch, then by position; all ones: none yet.
struct ErrorState {
  unsigned long long first;
  unsigned lock;  // all ones: free
  unsigned padding;
};

/// A kernel's door to the record: `if (!check(index, position)) ...`, see device_errors.cuh.
struct DeviceCheck {
  ErrorState* state;
  ErrorRecord* record;
  std::int64_t site;
  std::int64_t launch;
  std::int64_t extent;

  /// True when value lies in [0, extent); else notes it as "`op`: `what` value at position ..".
  __device__ bool operator()(std::int64_t value, std::int64_t position) const;
  __device__ void note(std::int64_t value, std::int64_t position) const;
};

class DeviceErrors {
 public:
  explicit DeviceErrors(cudaStream_t stream);
  ~DeviceErrors();
  DeviceErrors(const DeviceErrors&) = delete;
  DeviceErrors& operator=(const DeviceErrors&) = delete;

  /// For one launch. Of several mistakes the first launch's counts, and of these the lowest position's.
  DeviceCheck indices(const char* op, std::int64_t extent, const char* what = "index");
  DeviceCheck divisors();
  /// After a synchronization: throws Error for the mistake that was noted, if any, and forgets it.
  void throw_noted();

 private:
  DeviceCheck at(std::string op, std::string what, std::int64_t extent);

  struct Site {
    std::string op, what;  // no op: division by zero
  };
  cudaStream_t stream_;
  ErrorState* state_ = nullptr;
  ErrorRecord* record_ = nullptr;
  std::mutex mutex_;
  std::vector<Site> sites_;
  std::int64_t launches_ = 0;
};

}  // namespace norma
