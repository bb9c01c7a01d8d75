// cuBLAS over the CPU's BLAS. A column-major product C = op(A) op(B) is the row-major C' = op(B)' op(A)'.
#include <cublas_v2.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "backends/cpu/blas.h"
#include "backends/cuda/emulator/memory.h"
#include "backends/cuda/emulator/state.h"
#include "core/parallel.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

namespace norma::emulator {
namespace {

template <class T>
struct Operand {
  T* data;
  cublasOperation_t operation;
  int rows, columns;  // as stored
  int leading;
  long long stride;  // from one of the batch to the next
};

// Bytes from the first element of the first matrix to the end of the last one.
template <class T>
std::size_t extent(const Operand<T>& x, int batch) {
  if (x.rows == 0 || x.columns == 0) return 0;
  const auto elements = (batch - 1) * x.stride + (x.columns - 1) * static_cast<long long>(x.leading) + x.rows;
  return static_cast<std::size_t>(elements) * sizeof(T);
}

template <class T>
void check_operand(const char* call, const char* name, const Operand<T>& x, int batch) {
  const std::size_t bytes = extent(x, batch);
  if (bytes == 0) return;
  if (std::string fault = device_range_fault(x.data, bytes); !fault.empty())
    throw KernelError(detail::concat(call, ": ", name, ": ", fault));
}

template <class T>
struct Product {
  const char* call;
  int m, n, k;
  T alpha, beta;
  Operand<const T> a, b;
  Operand<T> c;
  int batch;
};

// Columns [begin, begin + columns) of one product of the batch.
template <class T>
void multiply(const Product<T>& p, int index, int begin, int columns) {
  const auto matrix = [&](const Operand<const T>& x) {
    return Matrix<const T>{x.data + index * x.stride, x.leading, x.operation != CUBLAS_OP_N};
  };
  Matrix<const T> b = matrix(p.b);
  b.data += b.transposed ? begin : static_cast<std::int64_t>(begin) * p.b.leading;
  T* const c = p.c.data + index * p.c.stride + static_cast<std::int64_t>(begin) * p.c.leading;
  gemm<T>(columns, p.m, p.k, static_cast<double>(p.alpha), b, matrix(p.a), static_cast<double>(p.beta),
          Matrix<T>{c, p.c.leading});
}

template <class T>
cudaError_t run(Product<T> p) {
  check_operand(p.call, "A", p.a, p.batch);
  check_operand(p.call, "B", p.b, p.batch);
  check_operand(p.call, "C", p.c, p.batch);
  p.a.data = reachable(p.a.data);
  p.b.data = reachable(p.b.data);
  p.c.data = reachable(p.c.data);
  count([](Counters& c) { ++c.matrix_products; });
  constexpr int tile = 256;  // columns, by the shape alone
  const std::int64_t tiles = (p.n + tile - 1) / tile;
  const SerialBlas serial;
  parallel_for(tiles * p.batch, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const int begin = static_cast<int>(i % tiles) * tile;
      multiply(p, static_cast<int>(i / tiles), begin, std::min(tile, p.n - begin));
    }
  });
  return cudaSuccess;
}

template <class T>
cublasStatus_t product(const char* call, cublasHandle_t handle, cublasOperation_t transa,
                       cublasOperation_t transb, int m, int n, int k, const void* alpha, const T* a, int lda,
                       long long stride_a, const T* b, int ldb, long long stride_b, const void* beta, T* c,
                       int ldc, long long stride_c, int batch) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const int rows_a = transa == CUBLAS_OP_N ? m : k, rows_b = transb == CUBLAS_OP_N ? k : n;
  if (m < 0 || n < 0 || k < 0 || batch < 0 || lda < std::max(1, rows_a) || ldb < std::max(1, rows_b) ||
      ldc < std::max(1, m) || alpha == nullptr || beta == nullptr)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (!host_range_fault(alpha).empty() || !host_range_fault(beta).empty()) return CUBLAS_STATUS_INVALID_VALUE;
  if (m == 0 || n == 0 || batch == 0) return CUBLAS_STATUS_SUCCESS;
  const Product<T> p = {call,
                        m,
                        n,
                        k,
                        *static_cast<const T*>(alpha),
                        *static_cast<const T*>(beta),
                        {a, transa, rows_a, transa == CUBLAS_OP_N ? k : m, lda, stride_a},
                        {b, transb, rows_b, transb == CUBLAS_OP_N ? n : k, ldb, stride_b},
                        {c, CUBLAS_OP_N, m, n, ldc, stride_c},
                        batch};
  const cudaError_t error = enqueue(handle->stream, call, [p] { return run(p); });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace
}  // namespace norma::emulator

using norma::emulator::product;

const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "a status without a name";
}
const char* cublasGetStatusString(cublasStatus_t) { return "by the emulator's cuBLAS"; }

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetStream(cublasHandle_t handle, cudaStream_t* stream) {
  *stream = handle->stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t* mode) {
  *mode = handle->math;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetPointerMode(cublasHandle_t, cublasPointerMode_t mode) {
  return mode == CUBLAS_POINTER_MODE_HOST ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                           int n, int k, const float* alpha, const float* A, int lda, const float* B, int ldb,
                           const float* beta, float* C, int ldc) {
  return product(__func__, handle, transa, transb, m, n, k, alpha, A, lda, 0, B, ldb, 0, beta, C, ldc, 0, 1);
}
cublasStatus_t cublasDgemm(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                           int n, int k, const double* alpha, const double* A, int lda, const double* B,
                           int ldb, const double* beta, double* C, int ldc) {
  return product(__func__, handle, transa, transb, m, n, k, alpha, A, lda, 0, B, ldb, 0, beta, C, ldc, 0, 1);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa,
                                         cublasOperation_t transb, int m, int n, int k, const float* alpha,
                                         const float* A, int lda, long long strideA, const float* B, int ldb,
                                         long long strideB, const float* beta, float* C, int ldc,
                                         long long strideC, int batch) {
  return product(__func__, handle, transa, transb, m, n, k, alpha, A, lda, strideA, B, ldb, strideB, beta, C,
                 ldc, strideC, batch);
}
cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa,
                                         cublasOperation_t transb, int m, int n, int k, const double* alpha,
                                         const double* A, int lda, long long strideA, const double* B,
                                         int ldb, long long strideB, const double* beta, double* C, int ldc,
                                         long long strideC, int batch) {
  return product(__func__, handle, transa, transb, m, n, k, alpha, A, lda, strideA, B, ldb, strideB, beta, C,
                 ldc, strideC, batch);
}
cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa,
                                          cublasOperation_t transb, int m, int n, int k, const void* alpha,
                                          const void* A, cudaDataType_t typeA, int lda, long long strideA,
                                          const void* B, cudaDataType_t typeB, int ldb, long long strideB,
                                          const void* beta, void* C, cudaDataType_t typeC, int ldc,
                                          long long strideC, int batch, cublasComputeType_t compute,
                                          cublasGemmAlgo_t) {
  const bool wide = compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC;
  const cudaDataType_t type = wide ? CUDA_R_64F : CUDA_R_32F;
  if (typeA != type || typeB != type || typeC != type) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto with = [&]<class T>(T*) {
    return product("cublasGemmStridedBatchedEx", handle, transa, transb, m, n, k, alpha,
                   static_cast<const T*>(A), lda, strideA, static_cast<const T*>(B), ldb, strideB, beta,
                   static_cast<T*>(C), ldc, strideC, batch);
  };
  return wide ? with(static_cast<double*>(nullptr)) : with(static_cast<float*>(nullptr));
}
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                            int n, int k, const void* alpha, const void* A, cudaDataType_t typeA, int lda,
                            const void* B, cudaDataType_t typeB, int ldb, const void* beta, void* C,
                            cudaDataType_t typeC, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, A, typeA, lda, 0, B, typeB, ldb,
                                    0, beta, C, typeC, ldc, 0, 1, compute, algorithm);
}
