#include "backends/cuda/check.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>

#if NORMA_CUDA_EMULATED
#  include "backends/cuda/emulator/emulator.h"
#endif

namespace norma::detail {
namespace {

std::string describe(cudaError_t code) {
  std::string text = cudaGetErrorString(code);
#if NORMA_CUDA_EMULATED
  if (const std::string more = emulator::last_error_detail(); !more.empty()) text += ": " + more;
#endif
  return text;
}

std::string kernel_name(const void* kernel) {
  const char* mangled = nullptr;
  if (cudaFuncGetName(&mangled, kernel) != cudaSuccess || mangled == nullptr) return "(unknown)";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free);
  return readable ? readable.get() : mangled;
}

std::string extents(dim3 d) { return concat("(", d.x, ", ", d.y, ", ", d.z, ")"); }

[[noreturn]] void fail_with(cudaError_t code, const std::string& message) {
  if (code == cudaErrorMemoryAllocation) throw OutOfMemory(message);
  throw CudaError(code, message);
}

}  // namespace

void fail_cuda(cudaError_t code, const char* call) {
  fail_with(code, concat("cuda: ", call, ": ", describe(code)));
}

void fail_cublas(cublasStatus_t status, const char* call) {
  fail_with(cudaErrorUnknown, concat("cuda: ", call, ": ", cublasGetStatusName(status), " (",
                                     cublasGetStatusString(status), ")"));
}

void check_launch(cudaError_t code, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes) {
  if (code == cudaSuccess) [[likely]]
    return;
  const std::string reason = describe(code);
  fail_with(code, concat("cuda: kernel ", kernel_name(kernel), ", grid ", extents(grid), ", block ",
                         extents(block), ", ", shared_bytes, " bytes of shared memory: ", reason));
}

}  // namespace norma::detail
