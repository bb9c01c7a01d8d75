// c = alpha * a b + beta * c by blocks of 32 x 32 over up to 2048 / parts steps of k.
//
// c is cut into a part for each thread (parts.h). Of a part, k is cut into blocks, c is written once for
// each. For each of them b is packed slab by slab, and a few panels of a at a time, which stay in L2 (at most
// 512 KiB) while the slab passes. Blocks of c at the edges, and products with an alpha or beta that the unit
// does not know, go by way of a buffer. No cut but that of k decides a bit of the result, and k is cut by the
// shape alone.
#include "backends/cpu/gemm/bf16_product.h"

#include <algorithm>

#include "backends/cpu/gemm/parts.h"
#include "core/check.h"

namespace norma {
namespace {

constexpr std::int64_t most_steps = 2048;      // of k in a block of c, over all parts
constexpr std::int64_t slab_values = 1 << 21;  // bf16 values of packed b: 4 MiB
constexpr std::int64_t group_panels = 4;       // of a, packed together

/// A part of c (parts.h).
class Bf16Product {
 public:
  Bf16Product(const Bf16Kernels& kernels, int parts, const F32Product& p)
      : kernels_(kernels), p_(p), e_(p.extents), parts_(parts), pack_(kernels.pack[parts - 1]) {
    NORMA_ASSERT(parts >= 1 && parts <= 3 && !p.c.transposed);
    block_ = cut(cut(e_.k, cut(e_.k, most_steps / parts)), bf16_panel) * bf16_panel;
    panel_values_ = block_ * bf16_panel * parts;
    rows_ = {0, cut(e_.m, bf16_panel)}, columns_ = {0, cut(e_.n, bf16_panel)};
    slab_ = std::clamp(slab_values / panel_values_, std::int64_t{1}, columns_.size());
  }

  /// Of memory that run() needs.
  std::int64_t values() const { return (slab_ + std::min(group_panels, rows_.size())) * panel_values_; }

  void run(Bf16* memory) {
    b_ = memory, a_ = memory + slab_ * panel_values_;
    kernels_.begin();
    for (std::int64_t k = 0; k < e_.k; k += block_) {
      k_ = {k, std::min(e_.k, k + block_)};
      for (std::int64_t j = 0; j < columns_.end; j += slab_) {
        const Range slab{j, std::min(columns_.end, j + slab_)};
        for (std::int64_t panel = j; panel < slab.end; ++panel)
          pack_b(panel, b_ + (panel - j) * panel_values_);
        for (std::int64_t i = 0; i < rows_.end; i += group_panels)
          run_rows(slab, {i, std::min(rows_.end, i + group_panels)});
      }
    }
    kernels_.end();
  }

 private:
  void pack_b(std::int64_t panel, Bf16* packed) const {
    const Matrix<const float>& b = p_.b;
    const std::int64_t column = panel * bf16_panel;
    pack_({.x = b.data + (b.transposed ? column * b.leading + k_.begin : k_.begin * b.leading + column),
           .leading = b.leading,
           .steps_adjoin = b.transposed,
           .count = std::min<std::int64_t>(bf16_panel, e_.n - column),
           .k = k_.size(),
           .pairs = true,
           .packed = packed});
  }
  void pack_a(std::int64_t panel, Bf16* packed) const {
    const Matrix<const float>& a = p_.a;
    const std::int64_t row = panel * bf16_panel;
    pack_({.x = a.data + (a.transposed ? k_.begin * a.leading + row : row * a.leading + k_.begin),
           .leading = a.leading,
           .steps_adjoin = !a.transposed,
           .count = std::min<std::int64_t>(bf16_panel, e_.m - row),
           .k = k_.size(),
           .pairs = false,
           .packed = packed});
  }

  void run_rows(Range slab, Range rows) const {
    for (std::int64_t i = rows.begin; i < rows.end; ++i) pack_a(i, a_ + (i - rows.begin) * panel_values_);
    for (std::int64_t j = slab.begin; j < slab.end; ++j) {
      for (std::int64_t i = rows.begin; i < rows.end; ++i) {
        run_block(i * bf16_panel, j * bf16_panel, a_ + (i - rows.begin) * panel_values_,
                  b_ + (j - slab.begin) * panel_values_);
      }
    }
  }

  void run_block(std::int64_t row, std::int64_t column, const Bf16* a, const Bf16* b) const {
    const std::int64_t rows = std::min<std::int64_t>(bf16_panel, e_.m - row);
    const std::int64_t columns = std::min<std::int64_t>(bf16_panel, e_.n - column);
    const float alpha = p_.alpha, beta = k_.begin == 0 ? p_.beta : 1;
    float* const c = p_.c.data + row * p_.c.leading + column;
    const bool instead = k_.begin == 0 && p_.row != nullptr;  // of c
    const float* const d = instead ? p_.row + column : c;
    const std::int64_t d_row = instead ? 0 : p_.c.leading;
    Bf16Block block{.steps = cut(k_.size(), bf16_panel),
                    .rows = rows > 16 ? 2 : 1,
                    .columns = columns > 16 ? 2 : 1,
                    .a = a,
                    .b = b,
                    .c = c,
                    .c_row = p_.c.leading,
                    .d = beta == 0 ? nullptr : d,
                    .d_row = d_row};
    const auto run = kernels_.block[parts_ - 1];
    if (rows % 16 == 0 && columns % 16 == 0 && alpha == 1 && (beta == 0 || beta == 1)) return run(block);
    alignas(64) float sums[bf16_panel * bf16_panel];
    block.c = sums, block.c_row = bf16_panel, block.d = nullptr;
    run(block);
    for (std::int64_t i = 0; i < rows; ++i) {
      const float *const sum = sums + i * bf16_panel, *const added = d + i * d_row;
      float* const to = c + i * p_.c.leading;
      for (std::int64_t j = 0; j < columns; ++j) to[j] = alpha * sum[j] + (beta == 0 ? 0 : beta * added[j]);
    }
  }

  const Bf16Kernels& kernels_;
  const F32Product& p_;
  const ProductExtents e_;
  const int parts_;
  void (*const pack_)(const Bf16Panel&);
  std::int64_t block_;                // values of k
  std::int64_t panel_values_;         // room for a packed panel
  std::int64_t slab_;                 // panels of columns
  Range rows_{}, columns_{};          // panels
  Range k_{};                         // the present block
  Bf16 *a_ = nullptr, *b_ = nullptr;  // packed
};

}  // namespace

void bf16_product(const Bf16Kernels& kernels, int parts, const F32Product& product) {
  const double cycles = parts * (parts + 1);  // of a step of a block, about 2 for each product of parts
  run_in_parts<Bf16>(product, {bf16_panel, bf16_panel, cycles},
                     [&](const F32Product& part) { return Bf16Product(kernels, parts, part); });
}

}  // namespace norma
