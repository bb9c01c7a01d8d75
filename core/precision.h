// How exact f32 matrix products are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace norma {

/// What multiplies the elements of f32 matrices. The words are PyTorch's (set_float32_matmul_precision), but
/// for highest_bf16x6. Matrices stay f32, sums are f32. The errors are those of normal random matrices, root
/// mean square over that of the product; docs/matmul_precision.md has more, and the values to be careful
/// with.
enum class MatmulPrecision : std::uint8_t {
  highest,         // f32, everywhere
  highest_bf16x6,  // on CPUs with AMX six products of bf16 parts, error about 1e-7 to 4e-7; elsewhere f32
  high,            // on CPUs with AMX three products of bf16 parts, about 5e-6; on cuda TF32; elsewhere f32
  medium,          // on CPUs with AMX or AVX512_BF16 one product of bf16 numbers, about 2.4e-3; on cuda TF32;
                   // elsewhere f32
};

/// For all products from now on, in every thread; `highest` at start.
void set_matmul_precision(MatmulPrecision precision);
/// By name; throws Error for one that is none.
void set_matmul_precision(std::string_view name);
MatmulPrecision matmul_precision();

std::string to_string(MatmulPrecision precision);
/// Throws Error for a name that is none.
MatmulPrecision parse_matmul_precision(std::string_view name);

/// TF32 on cuda alone: several times faster, but the operands keep only 10 bits after the point. cuda_tf32()
/// is true when it was allowed here, by the environment's NORMA_CUDA_TF32=1 at start, or by the precision
/// `high` or `medium`.
void set_cuda_tf32(bool allowed);
bool cuda_tf32();

}  // namespace norma
