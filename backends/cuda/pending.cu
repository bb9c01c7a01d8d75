// Kernels that are not written yet: the definitions of their ops run instead.
#include "backends/cuda/cuda_backend.h"

namespace norma {

void CudaBackend::arg_reduce(ArgReduce, View, View, int) { detail::fail("arg_reduce: not on cuda yet"); }
void CudaBackend::cumsum(View, View, int, bool) { detail::fail("cumsum: not on cuda yet"); }
void CudaBackend::matmul(View, View, View, double, double) { detail::fail("matmul: not on cuda yet"); }
void CudaBackend::gather(View, View, View, int, const char*) { detail::fail("gather: not on cuda yet"); }
void CudaBackend::scatter_add(View, View, View, int, const char*) { detail::fail("not on cuda yet"); }
void CudaBackend::unfold(View, View, const Window&) { detail::fail("unfold: not on cuda yet"); }
void CudaBackend::fold(View, View, const Window&) { detail::fail("fold: not on cuda yet"); }
void CudaBackend::random(Random, View, RandomKey, double, double) { detail::fail("not on cuda yet"); }
bool CudaBackend::dropout(View, View, RandomKey, double) { return false; }
bool CudaBackend::embedding(View, View, View) { return false; }
bool CudaBackend::embedding_backward(View, View, View) { return false; }
bool CudaBackend::sum_of_squares(View, std::span<const View>) { return false; }
bool CudaBackend::adam(View, View, View, View, const AdamOptions&) { return false; }
bool CudaBackend::softmax(View, View, bool) { return false; }
bool CudaBackend::softmax_backward(View, View, View, bool) { return false; }
bool CudaBackend::layer_norm(View, View, View, View, View, View, double) { return false; }
bool CudaBackend::layer_norm_backward(View, View, View, View, View, View, View, View, Detached) {
  return false;
}
bool CudaBackend::rms_norm(View, View, View, View, double, bool, std::int64_t) { return false; }
bool CudaBackend::rms_norm_backward(View, View, View, View, View, View, double, bool, std::int64_t) {
  return false;
}
bool CudaBackend::batch_statistics(View, View, View, View) { return false; }
bool CudaBackend::batch_norm(View, View, View, View, View, View, View) { return false; }
bool CudaBackend::batch_norm_backward(View, View, View, View, View, View, View, View, View, bool) {
  return false;
}
bool CudaBackend::group_norm(View, View, View, View, View, View, std::int64_t, double) { return false; }
bool CudaBackend::group_norm_backward(View, View, View, View, View, View, View, View, std::int64_t) {
  return false;
}
bool CudaBackend::add_layer_norm(View, View, View, View, View, View, View, View, double) { return false; }
bool CudaBackend::add_rms_norm(View, View, View, View, View, View, double, bool) { return false; }
bool CudaBackend::l2_norm(View, View, View, View, double) { return false; }
bool CudaBackend::l2_norm_backward(View, View, View, View, View, View, double) { return false; }
bool CudaBackend::cross_entropy(View, View, View, View, std::int64_t, double) { return false; }
bool CudaBackend::cross_entropy_backward(View, View, View, View, View, std::int64_t, double) { return false; }
bool CudaBackend::gelu(View, View, bool) { return false; }
bool CudaBackend::gelu_backward(View, View, View, bool) { return false; }
bool CudaBackend::silu(View, View) { return false; }
bool CudaBackend::silu_backward(View, View, View) { return false; }

}  // namespace norma
