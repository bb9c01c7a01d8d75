// f32 products by parts in bfloat16 on a unit that multiplies tiles (AMX): what depends on the processor.
//
// Each operand is a sum of `parts` bf16 numbers: x = x0 + x1 + .., x0 = bf16(x), x1 = bf16(x - x0), .. With
// one part a product is x0 y0; with two x1 y0 + x0 y0 + x0 y1; with three x2 y0 + x1 y0 + x1 y1 + x0 y1 + x0
// y2 + x0 y0. What is left out is smaller than the last part of the operands. Sums are f32.
//
// A tile holds 16 rows of 64 bytes: 16 x 16 f32 of c, 16 x 32 bf16 of a (32 steps), or, of b, 16 pairs of
// steps x 16 columns x 2. Packed panels are 32 rows of a, or 32 columns of b: for each 32 steps, for each
// part, two tiles (one where the panel has at most 16).
#pragma once

#include <cstdint>

namespace norma {

constexpr int bf16_panel = 32;           // rows of a, columns of b, and steps of k that are packed together
constexpr std::int64_t bf16_tile = 512;  // values of a tile

using Bf16 = std::uint16_t;  // the upper half of an f32

/// A block of c, `rows` x `columns` tiles of 16 x 16 (1 or 2 each): c = a b, or d + a b.
struct Bf16Block {
  std::int64_t steps;  // of 32 values of k
  int rows, columns;
  const Bf16 *a, *b;  // a packed panel each
  float* c;
  std::int64_t c_row;
  const float* d;  // nullptr: nothing is added
  std::int64_t d_row;
  const float* next;  // another block of c, 32 x 32, fetched meanwhile for writing; any address will do
};

/// Panels of an operand side by side, or the part of them in `k` values of k.
struct Bf16Panels {
  const float* x;
  std::int64_t leading;  // outer index o, step p: x[o * leading + p] if steps_adjoin, else x[p * leading + o]
  bool steps_adjoin;
  std::int64_t count;  // of the outer index, at least 1; filled up by zeros to a multiple of 16
  std::int64_t k;      // filled up by zeros to a multiple of 32
  bool pairs;          // the layout of b
  Bf16* packed;
  std::int64_t panel_values;  // from one packed panel to the next
};

/// How a product is blocked for a unit.
struct Bf16Blocking {
  std::int64_t group_panels;  // of a that are used at a time, at most
  std::int64_t slab_values;   // of packed b at a time, and of packed a that is kept meanwhile, at most
  std::int64_t least_shared;  // values of b from which on threads share what is packed of it
  double cycles;              // of a step of k of a whole block, of one product of parts
};

/// Functions by the number of parts, less one.
struct Bf16Kernels {
  void (*begin)();  // on each thread, before its blocks
  void (*end)();
  void (*block[3])(const Bf16Block&);
  void (*pack[3])(const Bf16Panels&);
  Bf16Blocking blocking;
};

/// AMX tiles; runs only where has_amx().
extern const Bf16Kernels amx_bf16;
/// One part only, by AVX-512's products of pairs; runs only where has_avx512_bf16().
extern const Bf16Kernels avx512_bf16;
/// The same by plain code, bit for bit what AMX is specified to do: for tests, and far too slow for use.
extern const Bf16Kernels plain_bf16;

/// True where processor and system let this process use AMX on bf16 (asked once).
bool has_amx();
/// True where the processor multiplies bf16 in vectors.
bool has_avx512_bf16();

}  // namespace norma
