#include "backends/cpu/gemm/panel_product.h"

#include <algorithm>

#include "backends/cpu/gemm/parts.h"

namespace norma {
namespace {

constexpr std::int64_t longest_chain = 384;  // of additions in f32

/// Rows near each other, of whole vectors: a panel with no more than half of its columns is read in half.
bool lies_in_panels(const GemmKernels& kernels, Matrix<const float> b, std::int64_t n) {
  return !b.transposed && b.leading <= 1024 && n % (kernels.columns / 2) == 0;
}

}  // namespace

std::int64_t panel_values(const GemmKernels& kernels, Matrix<const float> b, std::int64_t k, std::int64_t n) {
  return lies_in_panels(kernels, b, n) ? 0 : cut(n, kernels.columns) * kernels.b_stride * k;
}

Panels make_panels(const GemmKernels& kernels, Matrix<const float> b, std::int64_t k, std::int64_t n,
                   float* memory) {
  if (lies_in_panels(kernels, b, n)) return {b.data, b.leading, kernels.columns};
  kernels.pack_b({.x = b.data,
                  .leading = b.leading,
                  .steps_adjoin = b.transposed,
                  .count = n,
                  .width = kernels.columns,
                  .k = k,
                  .packed = memory});
  return {memory, kernels.b_stride, kernels.b_stride * k};
}

void multiply_panels(const GemmKernels& kernels, const RowOfTiles& p) {
  const ProductExtents& e = p.extents;
  GemmTile tile{};
  tile.rows = static_cast<int>(e.m), tile.alpha = p.alpha;
  tile.a_row = p.a.transposed ? 1 : p.a.leading, tile.a_step = p.a.transposed ? p.a.leading : 1;
  tile.b_step = p.b.step;
  tile.c_row = tile.d_row = p.c.leading;
  const std::int64_t chain = cut(e.k, std::max<std::int64_t>(1, cut(e.k, longest_chain)));
  for (std::int64_t j = 0; j * kernels.columns < e.n; ++j) {
    tile.columns = static_cast<int>(std::min<std::int64_t>(kernels.columns, e.n - j * kernels.columns));
    tile.d = tile.c = p.c.data + j * kernels.columns;
    std::int64_t k = 0;
    do {
      tile.k = std::min(chain, e.k - k), tile.beta = k == 0 ? p.beta : 1;
      tile.a = p.a.data + k * tile.a_step;
      tile.b = tile.next_b = p.b.data + j * p.b.panel + k * p.b.step;
      kernels.tile(tile);
      k += chain;
    } while (k < e.k);
  }
}

}  // namespace norma
