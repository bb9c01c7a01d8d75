// The device, its stream and its memory.
#include "backends/cuda/cuda_backend.h"

namespace norma {
namespace {

// Throws where there is no GPU, before anything else is asked of one.
cudaStream_t first_stream() {
  int devices = 0;
  const cudaError_t code = cudaGetDeviceCount(&devices);
  NORMA_CHECK(code == cudaSuccess && devices > 0, "device cuda: no GPU can be used here (",
              code == cudaSuccess ? "none is visible" : cudaGetErrorString(code), "); use device cpu");
  cudaStream_t stream = nullptr;
  NORMA_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

}  // namespace

CudaBackend::CudaBackend() : stream_(first_stream()), errors_(stream_) {
  NORMA_CUBLAS(cublasCreate(&blas_));
  NORMA_CUBLAS(cublasSetStream(blas_, stream_));
  NORMA_CUBLAS(cublasLtCreate(&blas_lt_));
}

CudaBackend::~CudaBackend() {
  static_cast<void>(cublasLtDestroy(blas_lt_));
  static_cast<void>(cublasDestroy(blas_));
  static_cast<void>(cudaStreamDestroy(stream_));
}

void CudaBackend::synchronize() {
  refuse_in_capture("waiting for the device");
  NORMA_CUDA(cudaStreamSynchronize(stream_));
  errors_.throw_noted();
}

// Only the caching allocator calls these two, seldom; both may wait for the device.
void* CudaBackend::allocate(std::int64_t bytes) {
  void* data = nullptr;
  const cudaError_t code = cudaMalloc(&data, static_cast<std::size_t>(bytes));
  if (code == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());  // the allocator tries again, or says so
    return nullptr;
  }
  if (code != cudaSuccess) detail::fail_cuda(code, "cudaMalloc");
  return data;
}

// Called from destructors too, also when the process ends and the device may be gone.
void CudaBackend::release(void* data, std::int64_t /*bytes*/) {
  if (cudaFree(data) != cudaSuccess) static_cast<void>(cudaGetLastError());
}

// The runtime copies pageable host memory aside before it returns, so `host` is free for others.
void CudaBackend::upload(void* device_data, const void* host, std::int64_t bytes) {
  if (bytes == 0) return;
  refuse_in_capture("a copy from the host");
  NORMA_CUDA(
      cudaMemcpyAsync(device_data, host, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream_));
}

void CudaBackend::download(void* host, const void* device_data, std::int64_t bytes) {
  if (bytes == 0) return;
  refuse_in_capture("a copy to the host");
  NORMA_CUDA(
      cudaMemcpyAsync(host, device_data, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream_));
  synchronize();
}

Backend* make_cuda_backend() { return new CudaBackend; }

}  // namespace norma
