// The sum of exponentials along a row, in one pass: every thread keeps its largest value and the sum relative
// to it, and the threads' sums are brought to the largest of all.
#pragma once

#include <limits>

#include "backends/cuda/rows.cuh"

namespace norma {

/// ln(sum(exp(x))) = largest + ln(sum). A row of -inf alone, or with NaN or +inf, has a sum of NaN.
template <class T>
struct ExpSum {
  T largest;
  double sum;
};

/// stage: absent, or room for the row, which is copied there. The same bits in all threads of the team.
template <int Threads, int Width, class T>
__device__ ExpSum<T> exp_sum(std::int64_t d, const T* x, T* stage) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  T largest = -infinity;
  double sum = 0;
  along_row<Threads, Width>(d, [&](std::int64_t j) {
    const auto pack = load<Width>(x + j);
    if (stage != nullptr) store(stage + j, pack);
    T top = largest, partial = 0;
#pragma unroll
    for (int k = 0; k < Width; ++k) top = pack.values[k] > top ? pack.values[k] : top;
    if (top > largest) sum *= static_cast<double>(std::exp(largest - top)), largest = top;
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      partial += pack.values[k] == -infinity ? T(0) : std::exp(pack.values[k] - top);  // not e^(-inf + inf)
    }
    sum += static_cast<double>(partial);
  });
  const T of_all = Team<Threads>::max(largest);
  sum *= static_cast<double>(std::exp(largest - of_all));
  return {of_all, Team<Threads>::sum(sum)};
}

}  // namespace norma
