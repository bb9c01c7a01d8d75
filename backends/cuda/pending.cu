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

}  // namespace norma
