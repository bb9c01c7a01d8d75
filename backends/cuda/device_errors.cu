#include "backends/cuda/device_errors.h"

#include <new>

namespace norma {

DeviceErrors::DeviceErrors(cudaStream_t stream) : stream_(stream) {
  void* pinned = nullptr;
  NORMA_CUDA(cudaMallocHost(&pinned, sizeof(ErrorRecord)));
  record_ = new (pinned) ErrorRecord;
  NORMA_CUDA(cudaMalloc(&state_, sizeof(ErrorState)));
  NORMA_CUDA(cudaMemsetAsync(state_, 0xff, sizeof(ErrorState), stream_));
}

// The device may be gone already.
DeviceErrors::~DeviceErrors() {
  static_cast<void>(cudaFree(state_));
  static_cast<void>(cudaFreeHost(record_));
}

DeviceCheck DeviceErrors::at(std::string op, std::string what, std::int64_t extent) {
  const std::lock_guard lock(mutex_);
  std::size_t site = 0;
  while (site < sites_.size() && (sites_[site].op != op || sites_[site].what != what)) ++site;
  if (site == sites_.size()) sites_.push_back({std::move(op), std::move(what)});
  // 23 bits of launches: the order is lost only if so many pass without a synchronization.
  const std::int64_t launch = launches_++ & 0x7fffff;
  return {state_, record_, static_cast<std::int64_t>(site), launch, extent};
}

DeviceCheck DeviceErrors::indices(const char* op, std::int64_t extent, const char* what) {
  return at(op, what, extent);
}

DeviceCheck DeviceErrors::divisors() { return at("", "", 0); }

void DeviceErrors::throw_noted() {
  const std::lock_guard lock(mutex_);
  if (record_->site < 0) return;
  const ErrorRecord noted = *record_;
  record_->site = -1;
  NORMA_CUDA(cudaMemsetAsync(state_, 0xff, sizeof(ErrorState), stream_));
  const Site& site = sites_[static_cast<std::size_t>(noted.site)];
  const char* const late = " (reported at the next synchronization)";
  NORMA_CHECK(!site.op.empty(), "div: division by zero of an i64 tensor", late);
  throw Error(detail::concat(site.op, ": ", site.what, " ", noted.value, " at position ", noted.position,
                             " is outside [0, ", noted.extent, ")", late));
}

}  // namespace norma
