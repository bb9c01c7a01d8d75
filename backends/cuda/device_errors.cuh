// The kernels' side of device_errors.h.
#pragma once

#include "backends/cuda/device_errors.h"
#include "backends/cuda/launch.h"

namespace norma {

__device__ inline void DeviceCheck::note(std::int64_t value, std::int64_t position) const {
  constexpr unsigned long long positions = 1ull << 40;
  const unsigned long long place = static_cast<unsigned long long>(position);
  const unsigned long long mine =
      static_cast<unsigned long long>(launch) * positions + (place < positions ? place : positions - 1);
  if (atomicMin(&state->first, mine) <= mine) return;
  for (bool done = false; !done;) {
    if (atomicCAS(&state->lock, ~0u, 0u) != ~0u) continue;
    if (atomicMin(&state->first, mine) == mine) {  // no earlier mistake has come meanwhile
      record->position = position, record->value = value, record->extent = extent;
      record->site = site;
    }
    __threadfence_system();
    atomicExch(&state->lock, ~0u);
    done = true;
  }
}

__device__ inline bool DeviceCheck::operator()(std::int64_t value, std::int64_t position) const {
  if (value >= 0 && value < extent) return true;
  note(value, position);
  return false;
}

}  // namespace norma
