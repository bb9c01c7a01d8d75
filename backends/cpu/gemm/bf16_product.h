// f32 matrix products on a unit that multiplies tiles of bf16.
#pragma once

#include "backends/cpu/gemm/bf16_kernels.h"
#include "backends/cpu/gemm/packed_product.h"

namespace norma {

/// c = alpha * a b + beta * c with operands of 1, 2 or 3 bf16 parts (bf16_kernels.h), all extents at least 1;
/// beta = 0 never reads c. Runs in parallel, or on the calling thread from inside a parallel loop; the same
/// bits for any number of threads.
void bf16_product(const Bf16Kernels& kernels, int parts, const F32Product& product);

}  // namespace norma
