// Packing of bf16 parts with AVX512_BF16, which every processor with AMX has.
#pragma once

#include "backends/cpu/gemm/bf16_kernels.h"

namespace norma {

/// For 1, 2 and 3 parts.
template <int parts>
void avx512_bf16_pack(const Bf16Panels& panel);

}  // namespace norma
