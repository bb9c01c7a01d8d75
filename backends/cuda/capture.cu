// Capture of the backend's stream into a CUDA graph (core/captured_work.h).
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/device_value.cuh"

namespace norma {
namespace {

class CapturedGraph final : public Backend::Captured {
 public:
  /// key: where the kernels of the graph find the key of a replay; null when they draw nothing.
  CapturedGraph(cudaGraph_t graph, cudaStream_t stream, std::shared_ptr<DeviceValue<RandomKey>> key)
      : stream_(stream), key_(std::move(key)) {
    NORMA_CUDA(cudaGraphInstantiate(&executable_, graph, 0));
  }
  ~CapturedGraph() override { static_cast<void>(cudaGraphExecDestroy(executable_)); }
  void replay(RandomKey random) override {
    if (key_ != nullptr) key_->set(stream_, random);
    NORMA_CUDA(cudaGraphLaunch(executable_, stream_));
  }

 private:
  cudaStream_t stream_;
  std::shared_ptr<DeviceValue<RandomKey>> key_;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace

void CudaBackend::begin_capture(RandomKey random) {
  refuse_in_capture("another capture");
  if (!workspace_) {  // or cuBLAS would make memory of its own part of the graph
    constexpr std::int64_t enough = 32 << 20;
    workspace_.emplace(enough);
    NORMA_CUBLAS(cublasSetWorkspace(blas_, workspace_->data(), enough));
  }
  // Relaxed: the caching allocator may ask for memory meanwhile.
  NORMA_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed));
  capturing_ = true;
  capture_start_ = random;
}

std::unique_ptr<Backend::Captured> CudaBackend::end_capture() {
  capturing_ = false;
  std::shared_ptr<DeviceValue<RandomKey>> key = std::exchange(capture_key_, nullptr);
  cudaGraph_t graph = nullptr;
  NORMA_CUDA(cudaStreamEndCapture(stream_, &graph));
  const std::unique_ptr<CUgraph_st, cudaError_t (*)(cudaGraph_t)> owner(graph, cudaGraphDestroy);
  return std::make_unique<CapturedGraph>(graph, stream_, std::move(key));
}

void CudaBackend::refuse_in_capture(const char* what) const {
  NORMA_CHECK(!capturing_, "capture: ", what, " cannot be part of captured work");
}

MovingKey CudaBackend::moving(RandomKey key) {
  if (!capturing_ || key.seed != capture_start_.seed || key.offset < capture_start_.offset)
    return {key, nullptr};
  if (capture_key_ == nullptr) capture_key_ = std::make_shared<DeviceValue<RandomKey>>();
  return {{0, key.offset - capture_start_.offset}, capture_key_->data()};
}

}  // namespace norma
