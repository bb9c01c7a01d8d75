// Matrix products of cuBLAS against plain loops: column-major, all transposes, batches with strides.
#include <cstdint>

#include "tests/cuda/device.h"
#include "tests/messages.h"

namespace norma::tests {
namespace {

class Blas {
 public:
  Blas() { NORMA_CUBLAS(cublasCreate(&handle_)); }
  ~Blas() { cublasDestroy(handle_); }
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;
  operator cublasHandle_t() const { return handle_; }

 private:
  cublasHandle_t handle_ = nullptr;
};

cublasStatus_t multiply(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                        int k, float alpha, const float* a, int lda, long long stride_a, const float* b,
                        int ldb, long long stride_b, float beta, float* c, int ldc, long long stride_c,
                        int batch) {
  return cublasSgemmStridedBatched(handle, ta, tb, m, n, k, &alpha, a, lda, stride_a, b, ldb, stride_b, &beta,
                                   c, ldc, stride_c, batch);
}
cublasStatus_t multiply(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                        int k, double alpha, const double* a, int lda, long long stride_a, const double* b,
                        int ldb, long long stride_b, double beta, double* c, int ldc, long long stride_c,
                        int batch) {
  return cublasDgemmStridedBatched(handle, ta, tb, m, n, k, &alpha, a, lda, stride_a, b, ldb, stride_b, &beta,
                                   c, ldc, stride_c, batch);
}

template <class T>
std::vector<T> numbers(std::size_t n, int seed) {
  std::vector<T> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = T(int((i * 31 + std::size_t(seed) * 17) % 13) - 6);
  return values;
}

// Small integers: every product is exact.
template <class T>
void check_product(bool transpose_a, bool transpose_b, int m, int n, int k, int batch) {
  const int lda = (transpose_a ? k : m) + 2, ldb = (transpose_b ? n : k) + 1, ldc = m + 3;
  const int columns_a = transpose_a ? m : k, columns_b = transpose_b ? k : n;
  const std::size_t size_a = std::size_t(lda * columns_a), size_b = std::size_t(ldb * columns_b);
  const std::size_t size_c = std::size_t(ldc * n), count = std::size_t(batch);
  const std::vector<T> a = numbers<T>(size_a * count, 1), b = numbers<T>(size_b * count, 2);
  std::vector<T> c = numbers<T>(size_c * count, 3);
  const DeviceArray<T> device_a(a), device_b(b), device_c(c);
  const Blas blas;
  NORMA_CUBLAS(multiply(blas, transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                        transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k, T(2), device_a.data(), lda,
                        int64_t(size_a), device_b.data(), ldb, int64_t(size_b), T(-1), device_c.data(), ldc,
                        int64_t(size_c), batch));
  const auto at = [](const std::vector<T>& x, std::size_t base, int leading, bool transposed, int i, int j) {
    return x[base + std::size_t(transposed ? j + i * leading : i + j * leading)];
  };
  for (std::size_t s = 0; s < count; ++s)
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        T sum = 0;
        for (int p = 0; p < k; ++p)
          sum += at(a, s * size_a, lda, transpose_a, i, p) * at(b, s * size_b, ldb, transpose_b, p, j);
        T& element = c[s * size_c + std::size_t(i + j * ldc)];
        element = T(2) * sum - element;
      }
  CHECK(device_c.values() == c);  // also what lies between the columns
}

}  // namespace

TEST_CASE_TEMPLATE("cuda: products of cuBLAS", T, float, double) {
  if (no_device()) return;
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true}) {
      CAPTURE(transpose_a);
      CAPTURE(transpose_b);
      check_product<T>(transpose_a, transpose_b, 3, 5, 4, 1);
      check_product<T>(transpose_a, transpose_b, 17, 300, 9, 2);
      check_product<T>(transpose_a, transpose_b, 1, 1, 1, 3);
    }
}

TEST_CASE("cuda: simple and generic forms of products" * doctest::skip(no_device())) {
  const Blas blas;
  const DeviceArray<float> a(std::vector<float>{1, 2, 3, 4}), b({1, 1, 0, 1}),
      c(4);  // c is not read: beta is 0
  const float one = 1, zero = 0;
  const std::vector<float> expected = {4, 6, 3, 4};
  NORMA_CUBLAS(cublasSetMathMode(blas, CUBLAS_PEDANTIC_MATH));
  NORMA_CUBLAS(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, a.data(), 2, b.data(), 2, &zero,
                           c.data(), 2));
  CHECK(c.values() == expected);
  const DeviceArray<float> d(4);
  NORMA_CUBLAS(cublasGemmEx(blas, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, a.data(), CUDA_R_32F, 2, b.data(),
                            CUDA_R_32F, 2, &zero, d.data(), CUDA_R_32F, 2, CUBLAS_COMPUTE_32F,
                            CUBLAS_GEMM_DEFAULT));
  CHECK(d.values() == expected);
  CHECK_THROWS_MESSAGE_HAS(
      [&] {
        NORMA_CUBLAS(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, a.data(), 1, b.data(), 2,
                                 &zero, c.data(), 2));
      }(),
      "INVALID_VALUE");
}

TEST_CASE("cuda: products are captured" * doctest::skip(no_device())) {
  const Blas blas;
  cudaStream_t stream = nullptr;
  NORMA_CUDA(cudaStreamCreate(&stream));
  NORMA_CUBLAS(cublasSetStream(blas, stream));
  const DeviceArray<double> a(std::vector<double>{2}), c(std::vector<double>{1});
  const double one = 1;
  NORMA_CUBLAS(cublasDgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a.data(), 1, a.data(), 1, &one,
                           c.data(), 1));
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  NORMA_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  NORMA_CUBLAS(cublasDgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a.data(), 1, a.data(), 1, &one,
                           c.data(), 1));
  NORMA_CUDA(cudaStreamEndCapture(stream, &graph));
  NORMA_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  for (int i = 0; i < 3; ++i) NORMA_CUDA(cudaGraphLaunch(executable, stream));
  NORMA_CUDA(cudaStreamSynchronize(stream));
  CHECK(c.values()[0] == 17);
  NORMA_CUDA(cudaGraphExecDestroy(executable));
  NORMA_CUDA(cudaGraphDestroy(graph));
  NORMA_CUDA(cudaStreamDestroy(stream));
}

}  // namespace norma::tests
