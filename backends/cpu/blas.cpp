#include "backends/cpu/blas.h"

#include <cblas.h>
#include <omp.h>

#include <mutex>

#include "backends/cpu/gemm/packed_product.h"
#include "core/check.h"

namespace norma {
namespace {

// A build of OpenBLAS without threads shares its work buffer between callers without a lock (OpenBLAS issues
// 1755, 2126): its calls must come one at a time, or products are wrong.
std::unique_lock<std::mutex> one_at_a_time() {
  static std::mutex mutex;
  static const bool needed = openblas_get_parallel() == 0;
  return needed ? std::unique_lock(mutex) : std::unique_lock<std::mutex>();
}

}  // namespace

void check_blas() {
  // 0: no threads, 1: a pthread pool, 2: OpenMP.
  NORMA_CHECK(
      openblas_get_parallel() != 1,
      "cpu backend: this OpenBLAS runs its own thread pool, which fights OpenMP for the cores; install the "
      "OpenMP build (Debian: libopenblas-openmp-dev) and link it instead");
}

SerialBlas::SerialBlas() : threads_(omp_in_parallel() ? 0 : omp_get_max_threads()) {
  if (threads_ > 1) omp_set_num_threads(1);  // what OpenBLAS asks; the setting belongs to this thread alone
}

SerialBlas::~SerialBlas() {
  if (threads_ > 1) omp_set_num_threads(threads_);
}

template <>
bool own_gemm<float>(const ProductExtents& extents) {
  return prefers_packing(extents);
}
template <>
bool own_gemm<double>(const ProductExtents&) {
  return false;
}

template <class T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, double alpha, Matrix<const T> a, Matrix<const T> b,
          double beta, Matrix<T> c) {
  NORMA_ASSERT(!c.transposed);
  if constexpr (sizeof(T) == 4) {
    if (own_gemm<T>({m, n, k})) {
      return packed_product(*gemm_kernels(),
                            {{m, n, k}, static_cast<T>(alpha), a, b, static_cast<T>(beta), c});
    }
  }
  const auto flag = [](bool transposed) { return transposed ? CblasTrans : CblasNoTrans; };
  const auto lock = one_at_a_time();
  const auto narrow = [](std::int64_t value) { return static_cast<blasint>(value); };
  if constexpr (sizeof(T) == 4) {
    cblas_sgemm(CblasRowMajor, flag(a.transposed), flag(b.transposed), narrow(m), narrow(n), narrow(k),
                static_cast<T>(alpha), a.data, narrow(a.leading), b.data, narrow(b.leading),
                static_cast<T>(beta), c.data, narrow(c.leading));
  } else {
    cblas_dgemm(CblasRowMajor, flag(a.transposed), flag(b.transposed), narrow(m), narrow(n), narrow(k), alpha,
                a.data, narrow(a.leading), b.data, narrow(b.leading), beta, c.data, narrow(c.leading));
  }
}

template void gemm(std::int64_t, std::int64_t, std::int64_t, double, Matrix<const float>, Matrix<const float>,
                   double, Matrix<float>);
template void gemm(std::int64_t, std::int64_t, std::int64_t, double, Matrix<const double>,
                   Matrix<const double>, double, Matrix<double>);

}  // namespace norma
