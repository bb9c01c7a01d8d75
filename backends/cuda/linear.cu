// linear: y = x weight^T + bias, f32.  x: [rows, in]  weight: [out, in]  bias: [out]  y: [rows, out]
//
// One product of cublasLt, which adds the bias while the result is still in registers. Apart, y would be
// filled with the bias, read and written again: 2 sizeof(T) bytes more for an element of y. cublasLt is
// column-major: it is asked for y^T = weight x^T, whose rows have the bias. It has no such product for f64,
// and may have none for a shape or a GPU; then the caller's two steps remain.
#include <cublasLt.h>

#include "backends/cuda/cuda_backend.h"
#include "backends/matrices.h"
#include "core/precision.h"

namespace norma {
namespace {

constexpr std::size_t workspace_bytes = 8 << 20;

/// A description of cublasLt, which ends with this object.
template <class Handle, cublasStatus_t (*end)(Handle)>
class Description {
 public:
  template <class... Arguments>
  explicit Description(cublasStatus_t (*make)(Handle*, Arguments...),
                       std::type_identity_t<Arguments>... arguments) {
    NORMA_CUBLAS(make(&handle_, arguments...));
  }
  ~Description() { static_cast<void>(end(handle_)); }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;
  operator Handle() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};
using Product = Description<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Description<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Description<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

template <class Value>
void set(const Product& product, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  NORMA_CUBLAS(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value));
}

template <class Value>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
  NORMA_CUBLAS(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value));
}

/// The largest power of two up to 256 that divides the address: cublasLt takes 256 for granted.
std::uint32_t alignment_of(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address) | 256;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}

/// The stored matrix, column by column: [columns, rows] of a row-major one.
template <class T>
Layout layout_of(const View& view, const Matrix<T>& matrix) {
  const auto rows = static_cast<std::uint64_t>(view.shape[0]),
             columns = static_cast<std::uint64_t>(view.shape[1]);
  return Layout(cublasLtMatrixLayoutCreate, CUDA_R_32F, matrix.transposed ? rows : columns,
                matrix.transposed ? columns : rows, matrix.leading);
}

}  // namespace

bool CudaBackend::linear(View y, View x, View weight, View bias) {
  Matrix<float> of_y, of_x, of_weight;
  if (y.dtype != f32 || y.numel() == 0 || x.shape[1] == 0 || !bias.is_contiguous()) return false;
  if (!as_matrix(y, of_y) || of_y.transposed || !as_matrix(x, of_x) || !as_matrix(weight, of_weight))
    return false;
  check_extents({y.shape[0], y.shape[1], x.shape[1]});
  const Product product(cublasLtMatmulDescCreate,
                        cuda_tf32() ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F);
  set(product, CUBLASLT_MATMUL_DESC_TRANSA, std::int32_t{of_weight.transposed ? CUBLAS_OP_N : CUBLAS_OP_T});
  set(product, CUBLASLT_MATMUL_DESC_TRANSB, std::int32_t{of_x.transposed ? CUBLAS_OP_T : CUBLAS_OP_N});
  set(product, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  set(product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(bias.data));
  const Layout a = layout_of(weight, of_weight), b = layout_of(x, of_x), c = layout_of(y, of_y);
  const Preference preference(cublasLtMatmulPreferenceCreate);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(of_weight.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(of_x.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(of_y.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(of_y.data));
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(blas_lt_, product, a, b, c, c, preference, 1, &found, &count);
  if (status != CUBLAS_STATUS_SUCCESS || count == 0) return false;
  const DeviceScratch<unsigned char> workspace(static_cast<std::int64_t>(found.workspaceSize));
  const float one = 1, zero = 0;
  NORMA_CUBLAS(cublasLtMatmul(blas_lt_, product, &one, of_weight.data, a, of_x.data, b, &zero, of_y.data, c,
                              of_y.data, c, &found.algo, workspace.data(), found.workspaceSize, stream_));
  return true;
}

}  // namespace norma
