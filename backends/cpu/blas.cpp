#include "backends/cpu/blas.h"

#include <cblas.h>
#include <omp.h>

#include <algorithm>
#include <mutex>

#include "backends/cpu/gemm/bf16_product.h"
#include "core/check.h"
#include "core/precision.h"

namespace norma {
namespace {

// A build of OpenBLAS without threads shares its work buffer between callers without a lock (OpenBLAS issues
// 1755, 2126): its calls must come one at a time, or products are wrong.
std::unique_lock<std::mutex> one_at_a_time() {
  static std::mutex mutex;
  static const bool needed = openblas_get_parallel() == 0;
  return needed ? std::unique_lock(mutex) : std::unique_lock<std::mutex>();
}

/// Parts of bf16 that the operands of a product become; 0: it is computed in f32.
int bf16_parts(const ProductExtents& e) {
  const MatmulPrecision precision = matmul_precision();
  if (precision == MatmulPrecision::highest) return 0;
  constexpr std::int64_t smallest = 16;   // of each extent: a tile of the unit
  constexpr double least_work = 1 << 18;  // multiply-adds: below, packing takes longer than the product
  const double work = static_cast<double>(e.m) * static_cast<double>(e.n) * static_cast<double>(e.k);
  if (std::min({e.m, e.n, e.k}) < smallest || work < least_work) return 0;
  if (precision == MatmulPrecision::medium) return has_amx() || has_avx512_bf16() ? 1 : 0;
  return !has_amx() ? 0 : precision == MatmulPrecision::high ? 2 : 3;
}

void own_product(const MatrixProduct<double>& product) { thin_product(product); }

void own_product(const F32Product& product) {
  if (is_thin<float>(product.extents)) return thin_product(product);
#if defined(__x86_64__) && defined(__linux__)
  if (const int parts = bf16_parts(product.extents); parts > 0)
    return bf16_product(has_amx() ? amx_bf16 : avx512_bf16, parts, product);
#endif
  packed_product(*gemm_kernels(), product);
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
  return is_thin<float>(extents) || bf16_parts(extents) > 0 || prefers_packing(extents);
}
template <>
bool own_gemm<double>(const ProductExtents& extents) {
  return is_thin<double>(extents);
}

const GemmKernels* f32_kernels(const ProductExtents& extents) {
  return bf16_parts(extents) > 0 ? nullptr : gemm_kernels();
}

void gemm_plus_row(const ProductExtents& extents, Matrix<const float> a, Matrix<const float> b,
                   const float* row, Matrix<float> c) {
  own_product(F32Product{extents, 1, a, b, 1, c, row});
}

template <class T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, double alpha, Matrix<const T> a, Matrix<const T> b,
          double beta, Matrix<T> c) {
  NORMA_ASSERT(!c.transposed);
  const ProductExtents extents{m, n, k};
  if (own_gemm<T>(extents))
    return own_product(MatrixProduct<T>{extents, static_cast<T>(alpha), a, b, static_cast<T>(beta), c});
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
