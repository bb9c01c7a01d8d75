// f32 matrix products by our own kernels.
#pragma once

#include "backends/cpu/gemm/kernels.h"
#include "backends/cpu/gemm/thin_product.h"
#include "backends/matrices.h"

namespace norma {

using F32Product = MatrixProduct<float>;

/// True where this processor has such kernels and a product of this shape is faster by them than by OpenBLAS.
bool prefers_packing(const ProductExtents& extents);

/// c = alpha * a b + beta * c, all extents at least 1; beta = 0 never reads c. Runs in parallel, or on the
/// calling thread from inside a parallel loop. Every element is the sum of the same chains of multiply-adds
/// whatever the number of threads, the tiles and the kernels.
void packed_product(const GemmKernels& kernels, const F32Product& product);

}  // namespace norma
