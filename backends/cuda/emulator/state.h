// What the files of the emulated runtime share: the error of the calling thread, the counters, and how work
// enters a stream.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <mutex>
#include <string>

#include "backends/cuda/emulator/emulator.h"

namespace norma::emulator {

/// Remembers the error for cudaGetLastError, and the words for last_error_detail; returns the error.
cudaError_t fail(cudaError_t error, std::string detail);

struct GuardedCounters {
  std::mutex mutex;
  Counters counters;
};
GuardedCounters& guarded_counters();

/// Changes the counters under their lock.
template <class Change>
void count(Change change) {
  GuardedCounters& guarded = guarded_counters();
  const std::lock_guard lock(guarded.mutex);
  change(guarded.counters);
}

using Work = std::function<cudaError_t()>;

/// Runs the work at once, or records it if the stream is being captured. `call` names it in errors.
cudaError_t enqueue(cudaStream_t stream, const char* call, Work work);

/// An error if a capture is going on, which the call then ends: it waits for the device, or changes its
/// memory.
cudaError_t refuse_in_capture(const char* call);

/// Largest dynamic shared memory that the kernel may ask for.
std::size_t shared_memory_limit(const void* kernel);

}  // namespace norma::emulator
