// Checks of the CUDA runtime and of cuBLAS. The .cu files of the backend are read by two compilers: nvcc
// (make CUDA=1) and the host compiler with the emulator's headers (make CUDA=emulate, NORMA_CUDA_EMULATED).
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <string>

#include "core/check.h"

namespace norma {

/// A call of the CUDA runtime or of cuBLAS failed, or a kernel could not be launched. what() names the call
/// or the kernel and says why.
class CudaError : public Error {
 public:
  CudaError(cudaError_t code, const std::string& message) : Error(message), code_(code) {}
  /// The runtime's code; cudaErrorUnknown for failures of cuBLAS.
  cudaError_t code() const { return code_; }

 private:
  cudaError_t code_;
};

namespace detail {

/// Throws CudaError, or OutOfMemory where the device had no memory left.
[[noreturn]] void fail_cuda(cudaError_t code, const char* call);
[[noreturn]] void fail_cublas(cublasStatus_t status, const char* call);
/// Throws unless code is cudaSuccess. `kernel` is the address of its host function.
void check_launch(cudaError_t code, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes);

}  // namespace detail
}  // namespace norma

/// Throws norma::CudaError, which names the call, unless it returns cudaSuccess.
#define NORMA_CUDA(call)                                                  \
  do {                                                                    \
    if (const cudaError_t norma_code = (call); norma_code != cudaSuccess) \
      ::norma::detail::fail_cuda(norma_code, #call);                      \
  } while (false)

/// The same for calls of cuBLAS.
#define NORMA_CUBLAS(call)                                                                 \
  do {                                                                                     \
    if (const cublasStatus_t norma_status = (call); norma_status != CUBLAS_STATUS_SUCCESS) \
      ::norma::detail::fail_cublas(norma_status, #call);                                   \
  } while (false)
