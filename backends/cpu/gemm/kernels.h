// The part of an f32 matrix product that depends on the processor: one small tile of c in vector registers,
// and the packing of operands into panels that a tile reads from end to end. Everything around it (which
// tile, which panel, which thread) is packed_product.cpp.
#pragma once

#include <cstdint>

namespace norma {

/// c [rows, columns] = alpha * a b + beta * d over `k` steps, d being c or what stands for it: each element
/// is one chain of fused multiply-adds in the order of k, so that every kernel gives the same bits.
struct GemmTile {
  std::int64_t k;
  const float* a;  // element (i, p) at a[i * a_row + p * a_step]; a_row or a_step is 1
  std::int64_t a_row, a_step;
  const float* b;  // row p at b + p * b_step: as many values as the panels of b are wide, or half of them
                   // where `columns` is no more
  std::int64_t b_step;
  float* c;
  std::int64_t c_row;  // row i at c + i * c_row
  const float* d;
  std::int64_t d_row;   // 0: one row for all
  int rows, columns;    // at most those of the kernels
  float alpha, beta;    // beta = 0: d is not read
  const float* next_b;  // what comes after this panel of b, to be fetched ahead; any address will do
};

/// Vectors of an operand along the outer index (rows of a, columns of b), cut into panels of `width`.
struct GemmPanels {
  const float* x;
  std::int64_t leading;  // outer index o, step p: x[o * leading + p] if steps_adjoin, else x[p * leading + o]
  bool steps_adjoin;
  std::int64_t count;  // of the outer index, over all panels
  std::int64_t width;  // of the outer index, in a panel
  std::int64_t k;
  float* packed;  // panel q, step p at packed + (q * k + p) * stride, filled up to stride by zeros
};

struct GemmKernels {
  int rows, columns;         // of the largest tile
  int a_stride, b_stride;    // values from step to step in packed panels
  int rows_without_packing;  // at most so many rows of c may use b as it lies: for more, a copy pays, since
                             // panels then stay in L1
  void (*tile)(const GemmTile&);
  void (*pack_a)(const GemmPanels&);
  void (*pack_b)(const GemmPanels&);
};

// 14 x 32 with AVX-512, 6 x 16 with AVX2 and FMA.
extern const GemmKernels avx512_gemm, avx2_gemm;

/// The widest kernels that this processor runs; nullptr where it runs none.
const GemmKernels* gemm_kernels();

}  // namespace norma
