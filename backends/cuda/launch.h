// The one way to launch a kernel, and the one way to name its dynamic shared memory, for both compilers that
// read the .cu files (backends/cuda/check.h).
#pragma once

#include <cstddef>
#include <utility>

#include "backends/cuda/check.h"
#if NORMA_CUDA_EMULATED
#  include "backends/cuda/emulator/launch.h"
#endif

/// In a kernel: `T* name`, the dynamic shared memory of the block, aligned to 16 bytes.
#if NORMA_CUDA_EMULATED
#  define NORMA_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::norma::emulator::dynamic_shared())
#else
#  define NORMA_DYNAMIC_SHARED(T, name)                                   \
    extern __shared__ __align__(16) unsigned char norma_dynamic_shared[]; \
    T* const name = reinterpret_cast<T*>(norma_dynamic_shared)
#endif

namespace norma {

/// kernel<<<grid, block, shared_bytes, stream>>>(arguments...). Throws CudaError, which names the kernel,
/// when the launch is refused. Arguments are passed by value and must be initialized throughout, unused parts
/// of structs too: the emulator looks for pointers in them.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            cudaStream_t stream, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "launch: one argument for each parameter");
#if NORMA_CUDA_EMULATED
  const cudaError_t code =
      emulator::launch(kernel, grid, block, shared_bytes, stream, std::forward<Arguments>(arguments)...);
#else
  // clang-format off
  kernel<<<grid, block, shared_bytes, stream>>>(std::forward<Arguments>(arguments)...);
  // clang-format on
  const cudaError_t code = cudaGetLastError();
#endif
  detail::check_launch(code, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes);
}

}  // namespace norma
