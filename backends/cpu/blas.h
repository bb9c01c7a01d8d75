// The narrow door to OpenBLAS: one serial matrix product of row-major or column-major operands. Parallelism
// is ours (core/parallel.h), cut by the shape alone, so that products too are bitwise the same for any number
// of threads.
#pragma once

#include <cstdint>

#include "backends/matrices.h"

namespace norma {

/// Throws Error when OpenBLAS has its own thread pool, which fights OpenMP's threads for the cores.
void check_blas();

/// Makes OpenBLAS run on the calling thread while it lives.
class SerialBlas {
 public:
  SerialBlas();
  ~SerialBlas();
  SerialBlas(const SerialBlas&) = delete;
  SerialBlas& operator=(const SerialBlas&) = delete;

 private:
  int threads_;  // OpenMP's setting before; 0: nothing to restore
};

/// c [m, n] = alpha * a [m, k] b [k, n] + beta * c, c row-major; beta = 0 never reads c. On the calling
/// thread, which must hold a SerialBlas or be inside a parallel loop. All extents at most INT_MAX.
template <class T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, double alpha, Matrix<const T> a, Matrix<const T> b,
          double beta, Matrix<T> c);

extern template void gemm(std::int64_t, std::int64_t, std::int64_t, double, Matrix<const float>,
                          Matrix<const float>, double, Matrix<float>);
extern template void gemm(std::int64_t, std::int64_t, std::int64_t, double, Matrix<const double>,
                          Matrix<const double>, double, Matrix<double>);

}  // namespace norma
