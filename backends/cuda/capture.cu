// Capture of the backend's stream into a CUDA graph (core/captured_work.h).
#include "backends/cuda/cuda_backend.h"

namespace norma {
namespace {

class CapturedGraph final : public Backend::Captured {
 public:
  CapturedGraph(cudaGraph_t graph, cudaStream_t stream) : stream_(stream) {
    NORMA_CUDA(cudaGraphInstantiate(&executable_, graph, 0));
  }
  ~CapturedGraph() override { static_cast<void>(cudaGraphExecDestroy(executable_)); }
  void replay() override { NORMA_CUDA(cudaGraphLaunch(executable_, stream_)); }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace

void CudaBackend::begin_capture() {
  refuse_in_capture("another capture");
  if (!workspace_) {  // or cuBLAS would make memory of its own part of the graph
    constexpr std::int64_t enough = 32 << 20;
    workspace_.emplace(enough);
    NORMA_CUBLAS(cublasSetWorkspace(blas_, workspace_->data(), enough));
  }
  // Relaxed: the caching allocator may ask for memory meanwhile.
  NORMA_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed));
  capturing_ = true;
}

std::unique_ptr<Backend::Captured> CudaBackend::end_capture() {
  capturing_ = false;
  cudaGraph_t graph = nullptr;
  NORMA_CUDA(cudaStreamEndCapture(stream_, &graph));
  const std::unique_ptr<CUgraph_st, cudaError_t (*)(cudaGraph_t)> owner(graph, cudaGraphDestroy);
  return std::make_unique<CapturedGraph>(graph, stream_);
}

void CudaBackend::refuse_in_capture(const char* what) const {
  NORMA_CHECK(!capturing_, "capture: ", what, " cannot be part of captured work");
}

}  // namespace norma
