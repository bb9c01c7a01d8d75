// The narrow door to matrix products of row-major or column-major operands: by kernels of our own (gemm/)
// where they are faster or the precision asks for them, by OpenBLAS elsewhere. Parallelism is ours
// (core/parallel.h), cut by the shape alone, so that products too are bitwise the same for any number of
// threads.
#pragma once

#include <cstdint>

#include "backends/cpu/gemm/kernels.h"
#include "backends/matrices.h"

namespace norma {

/// Throws Error when OpenBLAS has its own thread pool, which fights OpenMP's threads for the cores.
void check_blas();

/// True where gemm uses our own kernels for a product of these extents.
template <class T>
bool own_gemm(const ProductExtents& extents);

/// Our kernels, where they multiply f32 matrices of these extents in f32; nullptr where the precision that
/// was asked for or the processor has others do it.
const GemmKernels* f32_kernels(const ProductExtents& extents);

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

/// c [m, n] = alpha * a [m, k] b [k, n] + beta * c, c row-major; beta = 0 never reads c. All extents at least
/// 1 and at most INT_MAX. The calling thread must hold a SerialBlas or be inside a parallel loop. By OpenBLAS
/// it works alone; where own_gemm<T> says so, a product outside of parallel loops runs in parallel.
template <class T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, double alpha, Matrix<const T> a, Matrix<const T> b,
          double beta, Matrix<T> c);

/// c [m, n] = a b + row, the n values of `row` added to each row of c. Only where own_gemm<float> is true.
void gemm_plus_row(const ProductExtents& extents, Matrix<const float> a, Matrix<const float> b,
                   const float* row, Matrix<float> c);

extern template void gemm(std::int64_t, std::int64_t, std::int64_t, double, Matrix<const float>,
                          Matrix<const float>, double, Matrix<float>);
extern template void gemm(std::int64_t, std::int64_t, std::int64_t, double, Matrix<const double>,
                          Matrix<const double>, double, Matrix<double>);

}  // namespace norma
