// f32 products on the calling thread, of extents too small for packed_product.h to pay, but many with the
// same right factor: it is packed once, and what is not wanted of a product is left out tile by tile.
#pragma once

#include "backends/cpu/gemm/kernels.h"
#include "backends/matrices.h"

namespace norma {

/// A right factor b [k, n] as tiles read it: columns [i w, i w + w), w the columns of a tile, in panel i.
struct Panels {
  const float* data;
  std::int64_t step, panel;  // from a row of b to the next, and from a panel to the next
};

/// Values of memory that make_panels needs: 0 where tiles can read b as it lies.
std::int64_t panel_values(const GemmKernels& kernels, Matrix<const float> b, std::int64_t k, std::int64_t n);
Panels make_panels(const GemmKernels& kernels, Matrix<const float> b, std::int64_t k, std::int64_t n,
                   float* memory);

/// c [m, n] = alpha * a b + beta * c, with m at most the rows of a tile; n and k may be 0. beta = 0 does not
/// read c.
struct RowOfTiles {
  ProductExtents extents;
  float alpha;
  Matrix<const float> a;
  Panels b;
  float beta;
  Matrix<float> c;  // not transposed
};

void multiply_panels(const GemmKernels& kernels, const RowOfTiles& product);

}  // namespace norma
