// cublasLt over the emulated cuBLAS: the product, then the bias.
#include <cublasLt.h>

#include <cstring>

#include "backends/cuda/emulator/memory.h"
#include "backends/cuda/emulator/state.h"

struct cublasLtContext {
  cublasHandle_t blas;
};
struct cublasLtMatmulDescription {
  cublasComputeType_t compute;
  std::int32_t transposed_a = CUBLAS_OP_N, transposed_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
struct cublasLtMatrixDescription {
  cudaDataType_t type;
  std::uint64_t rows, columns;
  std::int64_t leading;
};
struct cublasLtPreference {};

namespace norma::emulator {
namespace {

template <class T>
cublasStatus_t assign(T& to, const void* value, std::size_t bytes) {
  if (value == nullptr || bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

void add_bias(const cublasLtMatrixDescription& d, float* y, const float* bias) {
  const std::size_t bytes = d.rows * sizeof(float);
  if (std::string fault = device_range_fault(bias, bytes); !fault.empty())
    throw KernelError("cublasLtMatmul: bias: " + fault);
  y = reachable(y), bias = reachable(bias);
  for (std::uint64_t column = 0; column < d.columns; ++column) {
    float* const to = y + static_cast<std::int64_t>(column) * d.leading;
    for (std::uint64_t row = 0; row < d.rows; ++row) to[row] += bias[row];
  }
}

}  // namespace
}  // namespace norma::emulator

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return cublasCreate(&(*handle)->blas);
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  const cublasStatus_t status = cublasDestroy(handle->blas);
  delete handle;
  return status;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t compute,
                                        cudaDataType_t) {
  *description = new cublasLtMatmulDescription{.compute = compute};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  delete description;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              std::size_t bytes) {
  using norma::emulator::assign;
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return assign(description->transposed_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return assign(description->transposed_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return assign(description->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return assign(description->bias, value, bytes);
  }
  return CUBLAS_STATUS_NOT_SUPPORTED;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          std::uint64_t rows, std::uint64_t columns, std::int64_t leading) {
  *layout = new cublasLtMatrixDescription{type, rows, columns, leading};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtPreference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t, const void*,
                                                    std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t A, cublasLtMatrixLayout_t B,
                                              cublasLtMatrixLayout_t C, cublasLtMatrixLayout_t D,
                                              cublasLtMatmulPreference_t, int requested,
                                              cublasLtMatmulHeuristicResult_t* results, int* returned) {
  bool single = requested > 0 && description->compute != CUBLAS_COMPUTE_64F;
  for (const cublasLtMatrixLayout_t layout : {A, B, C, D}) single = single && layout->type == CUDA_R_32F;
  *returned = single;
  if (!single) return CUBLAS_STATUS_NOT_SUPPORTED;
  results[0] = {{}, 0, CUBLAS_STATUS_SUCCESS, 1, {}};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* A, cublasLtMatrixLayout_t a, const void* B,
                              cublasLtMatrixLayout_t b, const void* beta, const void* C,
                              cublasLtMatrixLayout_t c, void* D, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t*, void*, std::size_t, cudaStream_t stream) {
  if (C != D || c->leading != d->leading) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool transposed_a = description->transposed_a != CUBLAS_OP_N;
  const bool transposed_b = description->transposed_b != CUBLAS_OP_N;
  const std::uint64_t m = transposed_a ? a->columns : a->rows, k = transposed_a ? a->rows : a->columns;
  const std::uint64_t n = transposed_b ? b->rows : b->columns, k_of_b = transposed_b ? b->columns : b->rows;
  if (m != d->rows || n != d->columns || k != k_of_b) return CUBLAS_STATUS_INVALID_VALUE;
  const auto narrow = [](auto value) { return static_cast<int>(value); };
  if (const cublasStatus_t status = cublasSetStream(handle->blas, stream); status != CUBLAS_STATUS_SUCCESS)
    return status;
  const cublasStatus_t status =
      cublasGemmEx(handle->blas, static_cast<cublasOperation_t>(description->transposed_a),
                   static_cast<cublasOperation_t>(description->transposed_b), narrow(m), narrow(n), narrow(k),
                   alpha, A, a->type, narrow(a->leading), B, b->type, narrow(b->leading), beta, D, d->type,
                   narrow(d->leading), description->compute, CUBLAS_GEMM_DEFAULT);
  if (status != CUBLAS_STATUS_SUCCESS || description->epilogue == CUBLASLT_EPILOGUE_DEFAULT) return status;
  if (d->type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto work = [shape = *d, y = static_cast<float*>(D),
                     bias = static_cast<const float*>(description->bias)] {
    norma::emulator::add_bias(shape, y, bias);
    return cudaSuccess;
  };
  return norma::emulator::enqueue(stream, "cublasLtMatmul", work) == cudaSuccess
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_EXECUTION_FAILED;
}
