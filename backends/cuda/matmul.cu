// matmul: c = alpha * a b + beta * c; a [.., m, k], b [.., k, n], c [.., m, n].
//
// cuBLAS is column-major, where a row-major matrix is its transpose: it is asked for c^T = b^T a^T.
// Transposed, sliced and repeated operands go to it as they are; what it cannot address (zero, negative or
// interleaved strides of a matrix) is copied first. One batch axis is one call; others are loops over calls.
#include <optional>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/scratch.h"
#include "backends/matrices.h"
#include "backends/strided.h"
#include "core/precision.h"

namespace norma {
namespace {

/// `count` products, each operand's matrices `stride` elements apart.
template <class T>
struct Batch {
  ProductExtents extents;
  Matrix<const T> a, b;
  Matrix<T> c;
  std::int64_t count = 1, a_stride = 0, b_stride = 0, c_stride = 0;
};

template <class T>
void gemm(cublasHandle_t blas, const Batch<T>& p, T alpha, T beta) {
  constexpr cudaDataType_t type = sizeof(T) == 4 ? CUDA_R_32F : CUDA_R_64F;
  const cublasComputeType_t compute = sizeof(T) == 8 ? CUBLAS_COMPUTE_64F
                                      : cuda_tf32()  ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                     : CUBLAS_COMPUTE_32F;
  const auto operation = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
  const int m = narrow(p.extents.m), n = narrow(p.extents.n), k = narrow(p.extents.k);
  const int lda = narrow(p.a.leading), ldb = narrow(p.b.leading), ldc = narrow(p.c.leading);
  if (p.count == 1) {
    NORMA_CUBLAS(cublasGemmEx(blas, operation(p.b.transposed), operation(p.a.transposed), n, m, k, &alpha,
                              p.b.data, type, ldb, p.a.data, type, lda, &beta, p.c.data, type, ldc, compute,
                              CUBLAS_GEMM_DEFAULT));
    return;
  }
  NORMA_CHECK(p.count <= INT_MAX, "matmul: a batch of ", p.count, " is more than BLAS takes");
  NORMA_CUBLAS(cublasGemmStridedBatchedEx(blas, operation(p.b.transposed), operation(p.a.transposed), n, m, k,
                                          &alpha, p.b.data, type, ldb, p.b_stride, p.a.data, type, lda,
                                          p.a_stride, &beta, p.c.data, type, ldc, p.c_stride, narrow(p.count),
                                          compute, CUBLAS_GEMM_DEFAULT));
}

/// The longest batch axis without a negative stride; -1 for none.
int axis_of_calls(const Loop<3>& batch) {
  int best = -1;
  for (int axis = 0; axis < batch.rank; ++axis) {
    const bool fits =
        batch.strides[0][axis] >= 0 && batch.strides[1][axis] >= 0 && batch.strides[2][axis] >= 0;
    if (fits && (best < 0 || batch.shape[axis] > batch.shape[best])) best = axis;
  }
  return best;
}

/// All operands are matrices that BLAS can address, c row-major.
template <class T>
void multiply_matrices(cublasHandle_t blas, const View& c, const View& a, const View& b, double alpha,
                       double beta) {
  Batch<T> first;
  first.extents = extents_of(c, a);
  Matrix<T> matrices[2];
  NORMA_ASSERT(as_matrix(a, matrices[0]) && as_matrix(b, matrices[1]) && as_matrix(c, first.c));
  NORMA_ASSERT(!first.c.transposed);
  first.a = {matrices[0].data, matrices[0].leading, matrices[0].transposed};
  first.b = {matrices[1].data, matrices[1].leading, matrices[1].transposed};
  Loop<3> batch;
  for (int axis = 0; axis < c.rank - 2; ++axis) {
    batch.push(c.shape[axis], {c.strides[axis], a.strides[axis], b.strides[axis]});
  }
  batch = coalesce(batch, true);
  if (const int axis = axis_of_calls(batch); axis >= 0) {
    first.count = batch.shape[axis];
    first.c_stride = batch.strides[0][axis];
    first.a_stride = batch.strides[1][axis];
    first.b_stride = batch.strides[2][axis];
    batch.shape[axis] = 1;
  }
  for (std::int64_t i = 0; i < batch.numel(); ++i) {
    const Position<3> at(batch, i);
    Batch<T> products = first;
    products.c.data += at.offset[0], products.a.data += at.offset[1], products.b.data += at.offset[2];
    gemm<T>(blas, products, static_cast<T>(alpha), static_cast<T>(beta));
  }
}

template <class T>
void multiply(CudaBackend& cuda_backend, cublasHandle_t blas, View c, View a, View b, double alpha,
              double beta) {
  fold_batch(c, a, b);
  check_extents(extents_of(c, a));
  std::optional<DeviceScratch<T>> copies[3];
  Matrix<T> matrix;
  for (int operand = 0; operand < 2; ++operand) {
    View& view = operand == 0 ? a : b;
    if (as_matrix(view, matrix)) continue;
    const View source = distinct(view, view);
    copies[operand].emplace(source.numel());
    const View copy = compact(view, copies[operand]->data());
    cuda_backend.copy(distinct(copy, view), source);
    view = copy;
  }
  if (as_matrix(c, matrix)) {
    if (!matrix.transposed) return multiply_matrices<T>(blas, c, a, b, alpha, beta);
    return multiply_matrices<T>(blas, transposed(c), transposed(b), transposed(a), alpha, beta);
  }
  copies[2].emplace(c.numel());
  const View result = compact(c, copies[2]->data());
  if (beta != 0) cuda_backend.copy(result, c);
  multiply_matrices<T>(blas, result, a, b, alpha, beta);
  cuda_backend.copy(c, result);
}

}  // namespace

void CudaBackend::matmul(View c, View a, View b, double alpha, double beta) {
  for_float(c.dtype, "matmul", [&]<class T>() {
    if (c.numel() == 0) return;
    if (a.shape[a.rank - 1] != 0 && alpha != 0) return multiply<T>(*this, blas_, c, a, b, alpha, beta);
    if (beta == 0) return fill(c, 0, 0);
    if (beta != 1) unary(Unary::affine, c, c, beta, 0);
  });
}

}  // namespace norma
