// Kernels that are wrong on purpose, each with the report it gets. On a device they would hang, crash, or
// work by chance; so they are compiled by both compilers and run by the emulator only.
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <string>

#include "backends/cuda/launch.h"
#include "tests/cuda/device.h"
#include "tests/messages.h"
#include "tests/threads.h"
#if NORMA_CUDA_EMULATED
#  include "backends/cuda/emulator/emulator.h"
#  include "backends/cuda/emulator/sanitizers.h"
#endif

namespace norma::tests {
namespace wrong {

// No barrier between writing and reading.
__global__ void reverse_without_barrier(float* y, const float* x) {
  __shared__ float tile[128];
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

// No barrier between reading and overwriting: right if threads run in the order of their indices.
__global__ void shift_without_barrier(float* y, const float* x) {
  __shared__ float tile[128];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  if (threadIdx.x + 1 < blockDim.x) tile[threadIdx.x] = tile[threadIdx.x + 1];
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}

// The same within a warp.
__global__ void shift_without_syncwarp(float* y, const float* x) {
  __shared__ float tile[32];
  const unsigned lane = threadIdx.x;
  tile[lane] = x[lane];
  __syncwarp();
  if (lane < 31) tile[lane] = tile[lane + 1];
  __syncwarp();
  y[lane] = tile[lane];
}

__global__ void barrier_in_a_branch() {
  if (threadIdx.x < 40) __syncthreads();
}

__global__ void two_barriers(float* y) {
  if (threadIdx.x == 3) {
    __syncthreads();
  } else {
    y[threadIdx.x] = 1.0f;
    __syncthreads();
  }
}

__global__ void return_before_barrier(float* y, int n) {
  if (int(threadIdx.x) >= n) return;
  y[threadIdx.x] = 1.0f;
  __syncthreads();
}

__global__ void shuffle_in_a_branch(float* y) {
  float value = 1.0f;
  if (threadIdx.x % 2 == 0) value = __shfl_sync(0xffffffffu, value, 0);
  y[threadIdx.x] = value;
}

__global__ void shuffle_without_itself(float* y) { y[threadIdx.x] = __shfl_sync(0xffu, 1.0f, 0); }

__global__ void shuffle_from_outside(float* y) {
  if (threadIdx.x < 8) y[threadIdx.x] = __shfl_sync(0xffu, 1.0f, 9);
}

__global__ void read_unwritten_shared(float* y) {
  __shared__ float fixed[4];
  __shared__ double wide;
  NORMA_DYNAMIC_SHARED(float, dynamic);
  if (threadIdx.x == 0) {
    y[0] = fixed[2];
    y[1] = float(wide);
    y[2] = dynamic[1];
    fixed[2] = dynamic[1] = 5.0f;  // the next block shall not see it
    wide = 5.0;
  }
}

template <class T>
__device__ T never_written(int i) {
  __shared__ T hidden[3];
  const T value = hidden[i];
  hidden[i] = T(1);
  return value;
}
__global__ void read_unwritten_shared_of_function(float* y) { y[blockIdx.x] = never_written<float>(1); }

__global__ void store(float* y, float value, std::int64_t i) { y[i] = value; }

struct View {
  const float* x;
  std::int64_t n;
};
__global__ void sum_view(float* y, View view) {
  float sum = 0;
  for (std::int64_t i = 0; i < view.n; ++i) sum += view.x[i];
  *y = sum;
}

__global__ void beyond_shared(float* y, int i) {
  NORMA_DYNAMIC_SHARED(float, tile);
  tile[i] = 1.0f;
  *y = tile[i];
}

__global__ void follow(float* const* table) { table[0][1] = 3.0f; }

__device__ int descend(int depth) {
  volatile int here[64];
  here[depth % 64] = depth;
  return depth == 0 ? 0 : descend(depth - 1) + here[depth % 64];
}
__global__ void recurse(float** table, int depth) { table[0] += descend(depth); }

__global__ void trapped(const int* index) {
  if (index[blockIdx.x * blockDim.x + threadIdx.x] < 0) __trap();
}

}  // namespace wrong

#if NORMA_CUDA_EMULATED
namespace {

using namespace wrong;
using emulator::KernelError;

std::vector<float> counting(std::size_t n) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = float(i);
  return values;
}

class Seed {
 public:
  explicit Seed(std::uint64_t seed) : before_(emulator::fiber_seed()) { emulator::set_fiber_seed(seed); }
  ~Seed() { emulator::set_fiber_seed(before_); }
  Seed(const Seed&) = delete;
  Seed& operator=(const Seed&) = delete;

 private:
  std::uint64_t before_;
};

std::vector<float> result(void (*kernel)(float*, const float*), unsigned n, std::uint64_t seed) {
  const Seed scope(seed);
  const DeviceArray<float> x(counting(n)), y(n);
  launch(kernel, 1, n, 0, nullptr, y.data(), x.data());
  return y.values();
}

std::vector<float> shifted(unsigned n) {
  std::vector<float> values = counting(n);
  for (std::size_t i = 0; i + 1 < n; ++i) values[i] += 1;
  return values;
}

// What a child process that runs the body writes to stderr before it dies; empty if it lives.
template <class Body>
std::string last_words(Body&& body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::fflush(nullptr);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    if (std::freopen("/dev/null", "w", stdout) == nullptr) _exit(0);
    body();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) text.append(part, std::size_t(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  const bool lived = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return lived ? std::string() : "died: " + text;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("emulator: a missing barrier before reading shows") {
  for (const std::uint64_t seed : {0, 1, 2, 3}) {
    const std::vector<float> y = result(reverse_without_barrier, 128, seed);
    int missing = 0;
    for (const float value : y) missing += std::isnan(value) ? 1 : 0;
    CAPTURE(seed);
    CHECK(missing > 10);
  }
}

TEST_CASE("emulator: a missing barrier before overwriting shows with shuffled threads") {
  CHECK(result(shift_without_barrier, 128, 0) == shifted(128));  // goes unnoticed in the order of indices
  CHECK(result(shift_without_syncwarp, 32, 0) == shifted(32));
  for (const std::uint64_t seed : {1, 2, 3}) {
    CAPTURE(seed);
    CHECK(result(shift_without_barrier, 128, seed) != shifted(128));
    CHECK(result(shift_without_syncwarp, 32, seed) != shifted(32));
  }
  CHECK(result(shift_without_barrier, 128, 2) == result(shift_without_barrier, 128, 2));  // repeatable
}

TEST_CASE("emulator: a barrier that not all threads reach is reported, and nothing hangs") {
  const DeviceArray<float> y(128);
  CHECK_THROWS_AS(launch(barrier_in_a_branch, 1, 64, 0, nullptr), KernelError);
  const std::string branch = message_of([&] { launch(barrier_in_a_branch, dim3(1, 2), 64, 0, nullptr); });
  CHECK_MESSAGE(has(branch, "kernel norma::tests::wrong::barrier_in_a_branch, block (0, 0, 0)"), branch);
  CHECK_MESSAGE(has(branch, "threads 0 to 39 wait at __syncthreads, tests/cuda/wrong_test.cu:"), branch);
  CHECK_MESSAGE(has(branch, "threads 40 to 63 finished"), branch);
  const std::string two = message_of([&] { launch(two_barriers, 1, 64, 0, nullptr, y.data()); });
  CHECK_MESSAGE(has(two, "thread 3 waits at __syncthreads"), two);
  const std::string early =
      message_of([&] { launch(return_before_barrier, 1, 64, 0, nullptr, y.data(), 63); });
  CHECK_MESSAGE(has(early, "thread 63 finished"), early);
  launch(return_before_barrier, 1, 64, 0, nullptr, y.data(), 64);  // and the next launch is as good as ever
  CHECK(y.values()[63] == 1);
}

TEST_CASE("emulator: warp operations that not all lanes reach") {
  const DeviceArray<float> y(64);
  const std::string branch = message_of([&] { launch(shuffle_in_a_branch, 1, 32, 0, nullptr, y.data()); });
  CHECK_MESSAGE(has(branch, "thread 0 waits at __shfl_sync with mask 0xffffffff"), branch);
  CHECK_MESSAGE(has(branch, "thread 1 finished"), branch);
  const std::string outside =
      message_of([&] { launch(shuffle_without_itself, 1, 32, 0, nullptr, y.data()); });
  CHECK_MESSAGE(has(outside, "the mask 0x000000ff does not name the calling lane"), outside);
  launch(shuffle_from_outside, 1, 32, 0, nullptr, y.data());
  CHECK(std::isnan(y.values()[0]));
}

TEST_CASE("emulator: the first block's error is thrown, whatever the number of threads") {
  std::vector<int> index(64 * 32, 1);
  index[32 * 40 + 1] = index[32 * 7 + 5] = -1;
  const DeviceArray<int> device(index);
  for (const int threads : {1, 4}) {
    const Threads scope(threads);
    const std::string text = message_of([&] { launch(trapped, 64, 32, 0, nullptr, device.data()); });
    CHECK_MESSAGE(has(text, "kernel norma::tests::wrong::trapped, block (7, 0, 0), thread (5, 0, 0): __trap"),
                  text);
  }
}

TEST_CASE("emulator: fresh device memory and unwritten shared memory are NaN") {
  const DeviceArray<double> fresh(3);
  for (const double value : fresh.values()) CHECK(std::isnan(value));
  const DeviceArray<float> y(std::vector<float>(3, 0.0f));
  const Threads one(1);  // so that blocks run on the same host thread, one after the other
  launch(read_unwritten_shared, 3, 32, 16, nullptr, y.data());
  for (const float value : y.values()) CHECK(std::isnan(value));
  const DeviceArray<float> z(std::vector<float>(5, 0.0f));
  launch(read_unwritten_shared_of_function, 5, 1, 0, nullptr, z.data());
  for (const float value : z.values()) CHECK(std::isnan(value));
  const DeviceArray<float> reused(std::vector<float>(2, 1.0f));
  emulator::poison(reused.data(), 2 * sizeof(float));
  CHECK(std::isnan(reused.values()[1]));
}

TEST_CASE("emulator: host and freed pointers are refused by kernels") {
  std::vector<float> host(4, 0.0f);
  CHECK_THROWS_AS(launch(store, 1, 1, 0, nullptr, host.data(), 1.0f, 0), KernelError);
  CHECK_THROWS_MESSAGE_HAS(launch(store, 1, 1, 0, nullptr, host.data(), 1.0f, 0),
                           "kernel norma::tests::wrong::store: argument 1 of 3 (float*): ");
  CHECK_THROWS_MESSAGE_HAS(launch(store, 1, 1, 0, nullptr, host.data(), 1.0f, 0), "is host memory");
  CHECK(host[0] == 0);
  float* freed = nullptr;
  NORMA_CUDA(cudaMalloc(&freed, 16));
  NORMA_CUDA(cudaFree(freed));
  CHECK_THROWS_MESSAGE_HAS(launch(store, 1, 1, 0, nullptr, freed, 1.0f, 0), "freed");
  const DeviceArray<float> y(1);
  CHECK_THROWS_MESSAGE_HAS(launch(sum_view, 1, 1, 0, nullptr, y.data(), View{host.data(), 4}),
                           "argument 2 of 2 (norma::tests::wrong::View): at byte 0, ");
  CHECK_THROWS_MESSAGE_HAS(launch(sum_view, 1, 1, 0, nullptr, y.data(), View{freed, 4}), "freed");
  launch(sum_view, 1, 1, 0, nullptr, y.data(), View{nullptr, 0});  // null is no stray pointer
  CHECK(y.values()[0] == 0);
}

TEST_CASE("emulator: host and freed pointers are refused by copies, frees and cuBLAS") {
  const DeviceArray<float> y(4);
  std::vector<float> host(64, 1.0f);
  const auto copy = [](void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return message_of([=] { NORMA_CUDA(cudaMemcpyAsync(to, from, bytes, kind)); });
  };
  CHECK(has(copy(host.data(), host.data() + 4, 16, cudaMemcpyDeviceToHost), "the source 0x"));
  CHECK(has(copy(host.data(), host.data() + 4, 16, cudaMemcpyHostToDevice), "is host memory"));
  CHECK(has(copy(host.data(), y.data(), 16, cudaMemcpyHostToDevice), "the destination"));
  CHECK(has(copy(y.data(), y.data(), 16, cudaMemcpyHostToDevice), "is device memory"));
  CHECK(has(copy(y.data(), host.data(), 17, cudaMemcpyHostToDevice), "16 bytes, 17 are needed"));
  CHECK(copy(y.data(), host.data(), 16, cudaMemcpyHostToDevice).empty());
  float* freed = nullptr;
  NORMA_CUDA(cudaMalloc(&freed, 16));
  NORMA_CUDA(cudaFree(freed));
  CHECK(has(copy(freed, host.data(), 4, cudaMemcpyDefault), "freed"));
  CHECK(cudaFree(freed) == cudaErrorInvalidValue);
  CHECK(cudaFree(host.data()) == cudaErrorInvalidValue);
  CHECK(cudaFree(y.data() + 1) == cudaErrorInvalidValue);
  CHECK(cudaMemset(host.data(), 0, 4) == cudaErrorInvalidValue);
  static_cast<void>(cudaGetLastError());
  cublasHandle_t blas = nullptr;
  NORMA_CUBLAS(cublasCreate(&blas));
  const float one = 1;
  const auto multiply = [&](const float* b, int n) {
    return message_of([&] {
      cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 2, n, 1, &one, y.data(), 2, b, 1, &one, y.data(), 2);
    });
  };
  CHECK(has(multiply(host.data(), 2), "cublasSgemm: B: "));
  CHECK(has(multiply(y.data(), 3), "cublasSgemm: C: "));  // too small for three columns
  CHECK(multiply(y.data(), 2).empty());
  NORMA_CUBLAS(cublasDestroy(blas));
}

TEST_CASE("emulator: the host cannot touch device memory") {
  const DeviceArray<float> y(std::vector<float>(4, 1.0f));
  volatile float* const pointer = y.data();
  const std::string reading = last_words([=] { static_cast<void>(pointer[1]); });
  CHECK_MESSAGE(has(reading, "cuda emulator: host code touched device memory"), reading);
  const std::string writing = last_words([=] { pointer[1] = 2.0f; });
  CHECK_MESSAGE(has(writing, "cuda emulator: host code touched device memory"), writing);
  CHECK(y.values()[1] == 1);
  const DeviceArray<float*> table(std::vector<float*>{y.data()});
  launch(follow, 1, 1, 0, nullptr, table.data());  // what was opened for the kernel is closed behind it
  CHECK(y.values()[1] == 3);
  CHECK_FALSE(last_words([=] { static_cast<void>(pointer[1]); }).empty());
}

TEST_CASE("emulator: a kernel that leaves its memory is told on") {
  float* freed = nullptr;
  NORMA_CUDA(cudaMalloc(&freed, 16));
  const DeviceArray<float*> table(std::vector<float*>{freed});
  NORMA_CUDA(cudaFree(freed));
  const std::string words = last_words([&] { launch(follow, 1, 1, 0, nullptr, table.data()); });
  CHECK_MESSAGE((has(words, "kernel norma::tests::wrong::follow") || has(words, "AddressSanitizer")), words);
  const std::string deep = last_words([&] { launch(recurse, 1, 1, 0, nullptr, table.data(), 1 << 20); });
  CHECK_MESSAGE((has(deep, "a thread ran out of stack") || has(deep, "AddressSanitizer")), deep);
}

TEST_CASE("emulator: AddressSanitizer reports accesses out of bounds" *
          doctest::skip(!emulator::address_sanitizer)) {
  const DeviceArray<float> y(10), other(10);
  for (const std::int64_t i : {-1, 10, 11, 100}) {
    const std::string words = last_words([&] { launch(store, 1, 1, 0, nullptr, y.data(), 1.0f, i); });
    CAPTURE(i);
    CHECK_MESSAGE(has(words, "AddressSanitizer: use-after-poison"), words);
  }
  const std::string shared = last_words([&] { launch(beyond_shared, 1, 1, 16, nullptr, y.data(), 4); });
  CHECK_MESSAGE(has(shared, "AddressSanitizer: use-after-poison"), shared);
  launch(beyond_shared, 1, 1, 16, nullptr, y.data(), 3);
  CHECK(y.values()[0] == 1);
}
#endif

}  // namespace norma::tests
