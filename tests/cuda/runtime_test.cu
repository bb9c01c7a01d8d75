// Memory, copies, streams, events and graphs.
#include <cstdint>
#include <limits>

#include "backends/cuda/launch.h"
#include "tests/cuda/device.h"
#include "tests/messages.h"
#if NORMA_CUDA_EMULATED
#  include "backends/cuda/emulator/emulator.h"
#endif

namespace norma::tests {
namespace {

__global__ void add(float* y, float value, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] += value;
}

struct Scale {
  float* data;
  float factor;
  int n;
};
__global__ void scale(Scale s) {
  for (int i = threadIdx.x; i < s.n; i += blockDim.x) s.data[i] *= s.factor;
}

// Pointers that lie in device memory themselves.
__global__ void add_all(float* const* tensors, int count, int n) {
  for (int t = blockIdx.x; t < count; t += gridDim.x)
    for (int i = threadIdx.x; i < n; i += blockDim.x) tensors[t][i] += float(t);
}

__global__ void uses_much_shared_memory(float* y) {
  NORMA_DYNAMIC_SHARED(float, big);
  big[threadIdx.x] = 1.0f;
  __syncthreads();
  if (threadIdx.x == 0) *y = big[0] + big[blockDim.x - 1];
}

class Stream {
 public:
  Stream() { NORMA_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace

TEST_CASE("cuda: copies there and back, and on the device" * doctest::skip(no_device())) {
  const std::vector<int> values = {1, 2, 3, 4};
  const DeviceArray<int> a(values), b(4);
  NORMA_CUDA(cudaMemcpy(b.data(), a.data(), 4 * sizeof(int), cudaMemcpyDeviceToDevice));
  CHECK(b.values() == values);
  NORMA_CUDA(cudaMemset(b.data(), 0, 2 * sizeof(int)));
  CHECK(b.values() == std::vector<int>{0, 0, 3, 4});
  int last = 0;
  NORMA_CUDA(cudaMemcpy(&last, b.data() + 3, sizeof(int), cudaMemcpyDefault));
  CHECK(last == 4);
  int* pinned = nullptr;
  NORMA_CUDA(cudaMallocHost(&pinned, 4 * sizeof(int)));
  NORMA_CUDA(cudaMemcpyAsync(pinned, a.data(), 4 * sizeof(int), cudaMemcpyDeviceToHost));
  NORMA_CUDA(cudaDeviceSynchronize());
  CHECK(pinned[2] == 3);
  NORMA_CUDA(cudaFreeHost(pinned));
}

TEST_CASE("cuda: a refused launch or call says which, and why" * doctest::skip(no_device())) {
  const DeviceArray<float> y(4);
  CHECK_THROWS_MESSAGE_HAS(launch(add, 1, 2048, 0, nullptr, y.data(), 1.0f, 4), "add");
  CHECK_THROWS_MESSAGE_HAS(launch(add, 1, 2048, 0, nullptr, y.data(), 1.0f, 4), "block (2048, 1, 1)");
  CHECK_THROWS_AS(launch(add, 0, 32, 0, nullptr, y.data(), 1.0f, 4), CudaError);
  CHECK_THROWS_MESSAGE_HAS([] { NORMA_CUDA(cudaSetDevice(1000)); }(), "cudaSetDevice(1000)");
  static_cast<void>(cudaGetLastError());
  CHECK(cudaSetDevice(1000) == cudaErrorInvalidDevice);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaSuccess);
  void* much = nullptr;
  CHECK_THROWS_AS([&] { NORMA_CUDA(cudaMalloc(&much, std::size_t{1} << 46)); }(), OutOfMemory);
  static_cast<void>(cudaGetLastError());
}

TEST_CASE("cuda: more than 48 KiB of shared memory must be asked for" * doctest::skip(no_device())) {
  const DeviceArray<float> y(1);
  const int bytes = 60 << 10;
  CHECK_THROWS_AS(launch(uses_much_shared_memory, 1, 128, bytes, nullptr, y.data()), CudaError);
  NORMA_CUDA(
      cudaFuncSetAttribute(uses_much_shared_memory, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  launch(uses_much_shared_memory, 1, 128, bytes, nullptr, y.data());
  CHECK(y.values()[0] == 2);
}

TEST_CASE("cuda: kernels follow pointers that they find in memory" * doctest::skip(no_device())) {
  const DeviceArray<float> a(std::vector<float>(2000, 1.0f)), b(std::vector<float>(2000, 2.0f));
  const DeviceArray<float*> table(std::vector<float*>{a.data(), b.data(), a.data() + 1000});
  for (int times = 1; times <= 2; ++times) {
    launch(add_all, 2, 64, 0, nullptr, table.data(), 3, 1000);
    CHECK(a.values()[999] == 1);
    CHECK(a.values()[1000] == 1 + 2.0f * float(times));
    CHECK(b.values()[0] == 2 + float(times));
  }
}

TEST_CASE("cuda: properties of the device" * doctest::skip(no_device())) {
  cudaDeviceProp properties;
  NORMA_CUDA(cudaGetDeviceProperties(&properties, 0));
  CHECK(properties.warpSize == 32);
  CHECK(properties.maxThreadsPerBlock == 1024);
  int processors = 0;
  NORMA_CUDA(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0));
  CHECK(processors == properties.multiProcessorCount);
  std::size_t free = 0, total = 0;
  NORMA_CUDA(cudaMemGetInfo(&free, &total));
  CHECK(free <= total);
}

TEST_CASE("cuda: streams and events" * doctest::skip(no_device())) {
  const Stream stream;
  const DeviceArray<float> y(std::vector<float>(100, 1.0f));
  cudaEvent_t start = nullptr, end = nullptr;
  NORMA_CUDA(cudaEventCreate(&start));
  NORMA_CUDA(cudaEventCreate(&end));
  NORMA_CUDA(cudaEventRecord(start, stream));
  launch(add, 2, 64, 0, stream, y.data(), 1.0f, 100);
  launch(scale, 1, 32, 0, stream, Scale{y.data(), 3.0f, 100});
  NORMA_CUDA(cudaEventRecord(end, stream));
  NORMA_CUDA(cudaEventSynchronize(end));
  float milliseconds = -1;
  NORMA_CUDA(cudaEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds >= 0);
  CHECK(y.values() == std::vector<float>(100, 6.0f));
  NORMA_CUDA(cudaEventDestroy(start));
  NORMA_CUDA(cudaEventDestroy(end));
}

TEST_CASE("cuda: a captured stream is replayed" * doctest::skip(no_device())) {
  const Stream stream;
  const DeviceArray<float> y(std::vector<float>(8, 0.0f)), copy(8);
  cudaGraph_t graph = nullptr;
  NORMA_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  launch(add, 1, 32, 0, stream, y.data(), 2.0f, 8);
  NORMA_CUDA(cudaMemcpyAsync(copy.data(), y.data(), 8 * sizeof(float), cudaMemcpyDeviceToDevice, stream));
  launch(scale, 1, 32, 0, stream, Scale{y.data(), 3.0f, 8});
  NORMA_CUDA(cudaStreamEndCapture(stream, &graph));
  CHECK(y.values() == std::vector<float>(8, 0.0f));  // nothing ran
  std::size_t nodes = 0;
  NORMA_CUDA(cudaGraphGetNodes(graph, nullptr, &nodes));
  CHECK(nodes == 3);
  cudaGraphExec_t executable = nullptr;
  NORMA_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  NORMA_CUDA(cudaGraphDestroy(graph));
  for (int i = 0; i < 3; ++i) NORMA_CUDA(cudaGraphLaunch(executable, stream));
  NORMA_CUDA(cudaStreamSynchronize(stream));
  CHECK(y.values() == std::vector<float>(8, 78.0f));     // ((0 + 2) * 3 + 2) * 3 ...
  CHECK(copy.values() == std::vector<float>(8, 26.0f));  // before the last factor
  NORMA_CUDA(cudaGraphExecDestroy(executable));
}

TEST_CASE("cuda: waiting and allocating spoil a capture" * doctest::skip(no_device())) {
  const Stream stream;
  cudaGraph_t graph = nullptr;
  void* memory = nullptr;
  NORMA_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK(cudaMalloc(&memory, 4) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
  NORMA_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK(cudaStreamSynchronize(stream) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
  static_cast<void>(cudaGetLastError());
  const DeviceArray<float> y(std::vector<float>(4, 1.0f));
  launch(add, 1, 32, 0, stream, y.data(), 1.0f, 4);  // the stream is as good as before
  NORMA_CUDA(cudaStreamSynchronize(stream));
  CHECK(y.values() == std::vector<float>(4, 2.0f));
}

#if NORMA_CUDA_EMULATED
TEST_CASE("emulator: counts launches, copies and waits") {
  const std::vector<float> zeros(8, 0.0f);
  const DeviceArray<float> y(zeros);
  emulator::reset_counters();
  for (int i = 0; i < 3; ++i) launch(add, 1, 32, 0, nullptr, y.data(), 1.0f, 8);
  launch(scale, 1, 32, 0, nullptr, Scale{y.data(), 2.0f, 8});
  NORMA_CUDA(cudaDeviceSynchronize());
  CHECK(y.values() == std::vector<float>(8, 6.0f));
  NORMA_CUDA(cudaMemcpyAsync(y.data(), zeros.data(), 8, cudaMemcpyHostToDevice));
  const emulator::Counters counters = emulator::counters();
  CHECK(counters.launches.at("norma::tests::add") == 3);
  CHECK(counters.launches.size() == 2);
  CHECK(emulator::launches("tests::") == 4);
  CHECK(counters.synchronizations == 2);  // and the blocking copy
  CHECK(counters.copies_to_host == 1);
  CHECK(counters.bytes_to_host == 32);
  CHECK(counters.copies_to_device == 1);
  CHECK(counters.bytes_to_device == 8);
  CHECK(counters.allocations == 0);
}

TEST_CASE("emulator: memory has a limit, and is given back") {
  std::size_t free = 0, total = 0;
  NORMA_CUDA(cudaMemGetInfo(&free, &total));
  emulator::set_memory_limit(total - free + 1000);
  {
    const DeviceArray<char> a(600);
    CHECK_THROWS_AS(DeviceArray<char>(600), OutOfMemory);
    CHECK_THROWS_MESSAGE_HAS(DeviceArray<char>(600), "600 bytes asked for, 400 of");
  }
  const DeviceArray<char> b(600);
  emulator::set_memory_limit(total);
  static_cast<void>(cudaGetLastError());
}

TEST_CASE("emulator: large grids and many allocations") {
  std::vector<float> zeros(1, 0.0f);
  for (int i = 0; i < 2000; ++i) {
    const DeviceArray<float> y(zeros);
    launch(add, 1, 32, 0, nullptr, y.data(), 1.0f, 1);
    REQUIRE(y.values()[0] == 1);
  }
  const int n = 1 << 20;
  const DeviceArray<float> y(std::vector<float>(std::size_t(n), 1.0f));
  launch(add, unsigned(n / 64), 64, 0, nullptr, y.data(), 1.0f, n);
  CHECK(y.values() == std::vector<float>(std::size_t(n), 2.0f));
}
#endif

}  // namespace norma::tests
