// NORMA_HOST_DEVICE before a function: kernels may call it too. Empty outside of CUDA.
#pragma once

#ifdef __CUDACC__
#  define NORMA_HOST_DEVICE __host__ __device__
#else
#  define NORMA_HOST_DEVICE
#endif
