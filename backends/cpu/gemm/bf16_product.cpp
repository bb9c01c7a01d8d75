// c = alpha * a b + beta * c by blocks of 32 x 32 over up to 2048 / parts steps of k.
//
// k is cut into blocks, and c is written once for each. For each of them b is packed slab by slab, and a by
// groups of panels that stay in L2 (at most 1 MiB) while the slab passes. Threads share a packed b where it
// is large and c is tall; else c is cut into a part for each thread, which packs what it needs (parts.h).
// Blocks of c at the edges, and products with an alpha or beta that the unit does not know, go by way of a
// buffer. No cut but that of k decides a bit of the result, and k is cut by the shape alone.
#include "backends/cpu/gemm/bf16_product.h"

#include <algorithm>

#include "backends/cpu/gemm/parts.h"
#include "core/check.h"

namespace norma {
namespace {

constexpr std::int64_t most_steps = 2048;       // of k in a block of c, over all parts
constexpr std::int64_t group_values = 1 << 19;  // of packed a that is used at a time: 1 MiB

/// A product, or a part of it (parts.h). Its rows are cut into `shares`, which share the packed b.
class Bf16Product {
 public:
  Bf16Product(const Bf16Kernels& kernels, int parts, const F32Product& p, std::int64_t shares)
      : kernels_(kernels),
        p_(p),
        e_(p.extents),
        parts_(parts),
        pack_(kernels.pack[parts - 1]),
        shares_(shares) {
    NORMA_ASSERT(parts >= 1 && parts <= 3 && !p.c.transposed);
    const Bf16Blocking& unit = kernels.blocking;
    block_ = cut(cut(e_.k, cut(e_.k, most_steps / parts)), bf16_panel) * bf16_panel;
    panel_values_ = block_ * bf16_panel * parts;
    rows_ = {0, cut(e_.m, bf16_panel)}, columns_ = {0, cut(e_.n, bf16_panel)};
    slab_ = std::clamp(unit.slab_values / panel_values_, std::int64_t{1}, columns_.size());
    const std::int64_t share = cut(rows_.size(), shares);  // panels
    group_ = std::clamp(group_values / panel_values_, std::int64_t{1}, std::min(unit.group_panels, share));
    keeps_a_ = slab_ < columns_.size() && share * panel_values_ <= unit.slab_values;
    a_values_ = (keeps_a_ ? share : group_) * panel_values_;
  }

  /// Of memory that run() needs.
  std::int64_t values() const { return slab_ * panel_values_ + shares_ * a_values_; }

  void run(Bf16* memory) {
    b_ = memory;
    for (std::int64_t k = 0; k < e_.k; k += block_) {
      k_ = {k, std::min(e_.k, k + block_)};
      for (std::int64_t j = 0; j < columns_.end; j += slab_) {
        const Range slab{j, std::min(columns_.end, j + slab_)};
        parallel_for(slab.size(), cut(slab.size(), shares_), [&](std::int64_t begin, std::int64_t end) {
          pack_b({j + begin, j + end}, b_ + begin * panel_values_);
        });
        parallel_for(shares_, 1, [&](std::int64_t i, std::int64_t) {
          run_share(slab, rows_.part(i, shares_), memory + slab_ * panel_values_ + i * a_values_);
        });
      }
    }
  }

 private:
  void pack_b(Range panels, Bf16* packed) const {
    const Matrix<const float>& b = p_.b;
    const std::int64_t column = panels.begin * bf16_panel;
    pack_({.x = b.data + (b.transposed ? column * b.leading + k_.begin : k_.begin * b.leading + column),
           .leading = b.leading,
           .steps_adjoin = b.transposed,
           .count = std::min(panels.end * bf16_panel, e_.n) - column,
           .k = k_.size(),
           .pairs = true,
           .packed = packed,
           .panel_values = panel_values_});
  }
  void pack_a(Range rows, Bf16* packed) const {
    const Matrix<const float>& a = p_.a;
    const std::int64_t row = rows.begin * bf16_panel;
    pack_({.x = a.data + (a.transposed ? k_.begin * a.leading + row : row * a.leading + k_.begin),
           .leading = a.leading,
           .steps_adjoin = !a.transposed,
           .count = std::min(rows.end * bf16_panel, e_.m) - row,
           .k = k_.size(),
           .pairs = false,
           .packed = packed,
           .panel_values = panel_values_});
  }

  void run_share(Range slab, Range rows, Bf16* a) const {
    kernels_.begin();
    for (std::int64_t i = rows.begin; i < rows.end; i += group_) {
      const Range group{i, std::min(rows.end, i + group_)};
      Bf16* const packed = keeps_a_ ? a + (i - rows.begin) * panel_values_ : a;
      if (!keeps_a_ || slab.begin == 0) pack_a(group, packed);
      run_group(slab, group, packed);
    }
    kernels_.end();
  }

  void run_group(Range slab, Range rows, const Bf16* a) const {
    for (std::int64_t j = slab.begin; j < slab.end; ++j) {
      for (std::int64_t i = rows.begin; i < rows.end; ++i) {
        const bool last = i + 1 == rows.end;  // of this column: the next block is in the next one
        run_block(i * bf16_panel, j * bf16_panel, a + (i - rows.begin) * panel_values_,
                  b_ + (j - slab.begin) * panel_values_,
                  whole_block(last ? rows.begin : i + 1, last ? j + 1 : j));
      }
    }
  }

  /// Where it lies in c; nullptr where c has no whole block.
  const float* whole_block(std::int64_t i, std::int64_t j) const {
    const bool is_whole = (i + 1) * bf16_panel <= e_.m && (j + 1) * bf16_panel <= e_.n;
    return is_whole ? p_.c.data + i * bf16_panel * p_.c.leading + j * bf16_panel : nullptr;
  }

  void run_block(std::int64_t row, std::int64_t column, const Bf16* a, const Bf16* b,
                 const float* next) const {
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
                    .d_row = d_row,
                    .next = next != nullptr ? next : c};
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
  void (*const pack_)(const Bf16Panels&);
  std::int64_t block_;         // values of k
  std::int64_t panel_values_;  // room for a packed panel
  std::int64_t shares_;        // of the rows
  std::int64_t slab_, group_;  // panels of b and of a that are used at a time
  bool keeps_a_;               // packed, from slab to slab
  std::int64_t a_values_;      // room for the packed a of a share
  Range rows_{}, columns_{};   // panels
  Range k_{};                  // the present block
  Bf16* b_ = nullptr;          // packed
};

}  // namespace

void bf16_product(const Bf16Kernels& kernels, int parts, const F32Product& product) {
  const ProductExtents& e = product.extents;
  const std::int64_t threads = threads_here(), rows = cut(e.m, bf16_panel);
  constexpr std::int64_t least_rows = 4;  // panels of a share
  const bool shares_b = e.m >= e.n && e.k * e.n >= kernels.blocking.least_shared;
  if (threads > 1 && shares_b && rows >= threads * least_rows) {
    Bf16Product whole(kernels, parts, product, threads);
    Scratch<Bf16> memory(whole.values());
    return whole.run(memory.data());
  }
  // Cycles of a step of k of a block: `parts` and its predecessors, each times each.
  const double cycles = kernels.blocking.cycles * parts * (parts + 1) / 2;
  run_in_parts<Bf16>(product, {bf16_panel, bf16_panel, cycles},
                     [&](const F32Product& part) { return Bf16Product(kernels, parts, part, 1); });
}

}  // namespace norma
