// How far apart the cores of two threads are. A virtual machine may have its cores moved between caches under
// way: then all that one core reads of what the other has written takes several times as long.
#pragma once

#include <omp.h>

#include <atomic>
#include <chrono>

namespace norma::bench {

/// Nanoseconds that a value takes from one thread to another; 0 where there is but one core.
inline double core_distance() {
  if (omp_get_num_procs() < 2) return 0;
  constexpr int rounds = 1000;
  alignas(128) std::atomic<int> turn{0};
  double seconds = 0;
  int threads = 1;
#pragma omp parallel num_threads(2)
  {
    const int self = omp_get_thread_num(), count = omp_get_num_threads();
    const auto start = std::chrono::steady_clock::now();
    for (int round = 0; count == 2 && round < rounds; ++round) {
      while (turn.load(std::memory_order_acquire) != self) {
      }
      turn.store(1 - self, std::memory_order_release);
    }
    if (self == 0) {
      threads = count;
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
  }
  return threads == 2 ? 1e9 * seconds / (2 * rounds) : 0;
}

}  // namespace norma::bench
