// c = alpha * a b + beta * c by blocks of 32 x 32 over up to 2048 / parts steps of k.
//
// k is cut into blocks, c is written once for each. For each of them b is packed once, slab by slab, and used
// by all tasks; a task packs its rows of a and keeps them in L2 (at most 512 KiB). Blocks of c at the edges,
// and products with an alpha or beta that the unit does not know, go by way of a buffer. Blocks and tasks
// follow from the shape alone, so results do not depend on the number of threads.
#include "backends/cpu/gemm/bf16_product.h"

#include <algorithm>

#include "backends/cpu/gemm/ranges.h"
#include "backends/cpu/scratch.h"
#include "core/check.h"
#include "core/parallel.h"

namespace norma {
namespace {

constexpr std::int64_t most_steps = 2048;      // of k in a block of c, over all parts
constexpr std::int64_t slab_values = 1 << 21;  // bf16 values of packed b: 4 MiB
constexpr std::int64_t task_count = 32;        // at least, where there is enough work
constexpr std::int64_t task_panels = 4;        // of rows, at most
constexpr double task_work = 1e6;              // multiply-adds, at least
constexpr std::int64_t pack_values = 1 << 14;  // packed by one thread at a time, at least

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

  void run() {
    Scratch<Bf16> packed(slab_ * panel_values_);
    b_ = packed.data();
    for (std::int64_t k = 0; k < e_.k; k += block_) {
      k_ = {k, std::min(e_.k, k + block_)};
      for (std::int64_t j = 0; j < columns_.end; j += slab_) {
        const Range slab{j, std::min(columns_.end, j + slab_)};
        pack_b(slab);
        run_tasks(slab);
      }
    }
  }

 private:
  void pack_b(Range slab) const {
    const Matrix<const float>& b = p_.b;
    parallel_for(slab.size(), cut(pack_values, panel_values_), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t j = begin; j < end; ++j) {
        const std::int64_t column = (slab.begin + j) * bf16_panel;
        pack_({.x = b.data + (b.transposed ? column * b.leading + k_.begin : k_.begin * b.leading + column),
               .leading = b.leading,
               .steps_adjoin = b.transposed,
               .count = std::min<std::int64_t>(bf16_panel, e_.n - column),
               .k = k_.size(),
               .pairs = true,
               .packed = b_ + j * panel_values_});
      }
    });
  }

  void pack_a(Range rows, Bf16* packed) const {
    const Matrix<const float>& a = p_.a;
    for (std::int64_t i = rows.begin; i < rows.end; ++i) {
      const std::int64_t row = i * bf16_panel;
      pack_({.x = a.data + (a.transposed ? k_.begin * a.leading + row : row * a.leading + k_.begin),
             .leading = a.leading,
             .steps_adjoin = !a.transposed,
             .count = std::min<std::int64_t>(bf16_panel, e_.m - row),
             .k = k_.size(),
             .pairs = false,
             .packed = packed + (i - rows.begin) * panel_values_});
    }
  }

  void run_tasks(Range slab) const {
    const double work = static_cast<double>(e_.m) * static_cast<double>(slab.size() * bf16_panel) *
                        static_cast<double>(k_.size());
    const Tasks all = tasks_of(rows_.size(), slab.size(), work,
                               {.count = task_count, .rows = task_panels, .columns = 8, .work = task_work});
    parallel_for(all.rows * all.columns, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t task = begin; task < end; ++task) {
        run_task(slab, rows_.part(task / all.columns, all.rows),
                 Range{0, slab.size()}.part(task % all.columns, all.columns));
      }
    });
  }

  void run_task(Range slab, Range rows, Range columns) const {
    Scratch<Bf16> a(rows.size() * panel_values_);
    pack_a(rows, a.data());
    kernels_.begin();
    for (std::int64_t j = columns.begin; j < columns.end; ++j) {
      for (std::int64_t i = rows.begin; i < rows.end; ++i) {
        run_block(i * bf16_panel, (slab.begin + j) * bf16_panel, a.data() + (i - rows.begin) * panel_values_,
                  b_ + j * panel_values_);
      }
    }
    kernels_.end();
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
  std::int64_t block_;         // values of k
  std::int64_t panel_values_;  // room for a packed panel
  std::int64_t slab_;          // panels of columns
  Range rows_{}, columns_{};   // panels
  Range k_{};                  // the present block
  Bf16* b_ = nullptr;          // packed
};

}  // namespace

void bf16_product(const Bf16Kernels& kernels, int parts, const F32Product& product) {
  Bf16Product(kernels, parts, product).run();
}

}  // namespace norma
