// c = alpha * a b + beta * c in f32, after Goto and van de Geijn (ACM TOMS 34(3), 2008), for row-major c.
//
// k is cut into blocks of at most `k_block` steps. b is packed once, into panels as wide as a tile, each one
// block of k long, from which all tiles of a column read. A transposed a is packed once as well; another one
// is packed by each task for itself, block by block. Operands whose values lie near each other anyway are
// read where they are. What would be too large when packed is packed and used in slabs, one after another.
//
// The rows of c are cut into panels of nearly equal height, and these into tasks, by the shape alone; where
// there are few rows the columns are cut too. Neither decides a bit of the result: each element of c is a
// chain of multiply-adds over a block of k, added to the blocks before.
#include "backends/cpu/gemm/packed_product.h"

#include <algorithm>
#include <optional>

#include "backends/cpu/gemm/ranges.h"
#include "backends/cpu/scratch.h"
#include "core/parallel.h"

namespace norma {
namespace {

// Chosen on a Zen 4 (32 KiB of L1, 1 MiB of L2), with an eye to 48 KiB and 2 MiB.
constexpr std::int64_t k_block = 384;
constexpr std::int64_t slab_values = 1 << 20;  // of packed b, of packed a: 4 MiB each
constexpr std::int64_t slab_blocks = 4;        // of k in a slab that does not hold all of it, at most
constexpr std::int64_t task_count = 32;        // at least, where there is enough work
constexpr std::int64_t task_panels = 8;        // of rows, at most
constexpr double task_work = 4e5;              // multiply-adds, at least
constexpr std::int64_t group_panels = 8;       // packed side by side
constexpr std::int64_t pack_values = 1 << 14;  // packed by one thread at a time, at least
// Read in place: rows of a for few columns of c, b for few rows of c. Rows whose distance is a multiple of
// 2 KiB fall upon a few sets of L1 and push each other out.
constexpr std::int64_t few_columns = 256, few_rows = 128, bad_leading = 512;
constexpr std::int64_t near_leading = 256, near_rows = 1024;  // rows that lie near each other

class PackedProduct {
 public:
  PackedProduct(const GemmKernels& kernels, const F32Product& p)
      : kernels_(kernels), p_(p), e_(p.extents), columns_(kernels.columns) {
    height_ = cut(e_.m, cut(e_.m, kernels.rows));
    rows_ = {0, cut(e_.m, height_)};
    block_ = cut(cut(e_.k, cut(e_.k, k_block)), 8) * 8;
    a_in_place_ = p_.a.transposed ? p_.a.leading <= near_leading
                                  : e_.n <= few_columns && p_.a.leading % bad_leading != 0;
    const bool b_near = p_.b.leading <= near_leading && e_.m <= near_rows;
    b_in_place_ = !p_.b.transposed && (b_near || (e_.m <= few_rows && p_.b.leading % bad_leading != 0));
    const std::int64_t a_step = rows_.size() * kernels_.a_stride;  // values of a step of packed a
    a_shared_ = p_.a.transposed && !a_in_place_ && a_step * block_ <= slab_values;
    const std::int64_t b_step = cut(e_.n, columns_) * columns_;
    const std::int64_t step = std::max(b_step, a_shared_ ? a_step : 0);
    slab_k_ = e_.k;
    if (step * e_.k > slab_values) {  // of all columns if that leaves enough steps: c is written once a slab
      const std::int64_t fewest = a_shared_ ? 1 : 2, fit = slab_values / step / block_;
      slab_k_ = std::min(cut(e_.k, block_), std::clamp(fit, fewest, slab_blocks)) * block_;
    }
    slab_n_ = std::clamp(slab_values / slab_k_ / columns_ * columns_, columns_, b_step);
  }

  void run() {
    std::optional<Scratch<float>> packed_a, packed_b;
    if (a_shared_) a_ = packed_a.emplace(rows_.size() * kernels_.a_stride * slab_k_).data();
    if (!b_in_place_ || e_.n % columns_ != 0) b_ = packed_b.emplace(slab_n_ * slab_k_).data();
    for (std::int64_t k = 0; k < e_.k; k += slab_k_) {
      steps_ = {k, std::min(e_.k, k + slab_k_)};
      for (std::int64_t n = 0; n < e_.n; n += slab_n_) {
        slab_ = {n, std::min(e_.n, n + slab_n_)};
        if (a_shared_ && n == 0) pack_shared_a();
        pack_b();
        run_tasks();
      }
    }
  }

 private:
  Range columns() const { return {0, cut(slab_.size(), columns_)}; }  // panels of b in the slab
  Range block_at(std::int64_t k) const { return {k, std::min(k + block_, steps_.end)}; }
  // Where packed panels are: those of a block of k one after another, blocks one after another.
  float* packed_a(std::int64_t i, Range k) const {
    return a_ + (rows_.size() * (k.begin - steps_.begin) + i * k.size()) * kernels_.a_stride;
  }
  float* packed_b(std::int64_t j, Range k) const {
    return b_ + (columns().size() * (k.begin - steps_.begin) + j * k.size()) * kernels_.b_stride;
  }

  /// pack(panels, k) for groups of panels and blocks of k, in parallel.
  template <class Pack>
  void for_each_group(Range panels, std::int64_t width, Pack&& pack) const {
    const std::int64_t groups = cut(panels.size(), group_panels);
    const std::int64_t together = std::max<std::int64_t>(1, pack_values / (group_panels * width * block_));
    parallel_for(groups * cut(steps_.size(), block_), together, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t task = begin; task < end; ++task) {
        pack(panels.part(task % groups, groups), block_at(steps_.begin + task / groups * block_));
      }
    });
  }

  void pack_a(Range i, Range k, float* packed) const {
    const std::int64_t row = i.begin * height_, leading = p_.a.leading;
    kernels_.pack_a({.x = p_.a.data + (p_.a.transposed ? k.begin * leading + row : row * leading + k.begin),
                     .leading = leading,
                     .steps_adjoin = !p_.a.transposed,
                     .count = std::min(e_.m - row, i.size() * height_),
                     .width = height_,
                     .k = k.size(),
                     .packed = packed});
  }
  void pack_shared_a() const {
    for_each_group(rows_, height_, [&](Range i, Range k) { pack_a(i, k, packed_a(i.begin, k)); });
  }
  void pack_b() const {
    Range panels = columns();
    if (b_in_place_) panels.begin = slab_.size() / columns_;  // all but an incomplete one
    for_each_group(panels, columns_, [&](Range j, Range k) {
      const std::int64_t column = slab_.begin + j.begin * columns_, leading = p_.b.leading;
      kernels_.pack_b(
          {.x = p_.b.data + (p_.b.transposed ? column * leading + k.begin : k.begin * leading + column),
           .leading = leading,
           .steps_adjoin = p_.b.transposed,
           .count = std::min(e_.n - column, j.size() * columns_),
           .width = columns_,
           .k = k.size(),
           .packed = packed_b(j.begin, k)});
    });
  }

  void run_tasks() const {
    const double work =
        static_cast<double>(e_.m) * static_cast<double>(slab_.size()) * static_cast<double>(steps_.size());
    const std::int64_t narrowest = a_in_place_ || a_shared_ ? 1 : 8;  // each column of tasks packs a again
    const Tasks all =
        tasks_of(rows_.size(), columns().size(), work,
                 {.count = task_count, .rows = task_panels, .columns = narrowest, .work = task_work});
    parallel_for(all.rows * all.columns, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t task = begin; task < end; ++task) {
        run_task(rows_.part(task / all.columns, all.rows), columns().part(task % all.columns, all.columns));
      }
    });
  }

  void run_task(Range rows, Range columns) const {
    std::optional<Scratch<float>> own;
    if (!a_in_place_ && !a_shared_) own.emplace(rows.size() * kernels_.a_stride * block_);
    for (Range k = block_at(steps_.begin); k.size() > 0; k = block_at(k.end)) {
      if (own) pack_a(rows, k, own->data());
      const float* const a = own ? own->data() : a_shared_ ? packed_a(rows.begin, k) : nullptr;
      for (std::int64_t j = columns.begin; j < columns.end; ++j) run_column(rows, j, k, a);
    }
  }

  // The tiles of some rows with panel j of b. packed_a: the first of these rows, or nullptr.
  void run_column(Range rows, std::int64_t j, Range k, const float* packed_a) const {
    const std::int64_t column = slab_.begin + j * columns_;
    GemmTile tile{};
    tile.k = k.size(), tile.alpha = p_.alpha, tile.beta = k.begin == 0 ? p_.beta : 1;
    tile.columns = static_cast<int>(std::min(columns_, e_.n - column));
    const bool b_in_place = b_in_place_ && tile.columns == columns_;
    tile.b = b_in_place ? p_.b.data + k.begin * p_.b.leading + column : packed_b(j, k);
    tile.b_step = b_in_place ? p_.b.leading : kernels_.b_stride;
    tile.a_row = packed_a != nullptr || p_.a.transposed ? 1 : p_.a.leading;
    tile.a_step = packed_a != nullptr ? kernels_.a_stride : p_.a.transposed ? p_.a.leading : 1;
    tile.c_row = p_.c.leading;
    const bool instead = k.begin == 0 && p_.row != nullptr;  // of c
    tile.d_row = instead ? 0 : tile.c_row;
    for (std::int64_t i = rows.begin; i < rows.end; ++i) {
      const std::int64_t row = i * height_;
      tile.rows = static_cast<int>(std::min(height_, e_.m - row));
      tile.a = packed_a != nullptr ? packed_a + (i - rows.begin) * k.size() * kernels_.a_stride
                                   : p_.a.data + row * tile.a_row + k.begin * tile.a_step;
      tile.c = p_.c.data + row * tile.c_row + column;
      tile.d = instead ? p_.row + column : tile.c;
      // The next panel, half of it with each of the first two tiles.
      const std::int64_t ahead = kernels_.b_stride + (i - rows.begin) * 16;
      tile.next_b = !b_in_place && i - rows.begin < 2 ? tile.b + k.size() * ahead : tile.b;
      kernels_.tile(tile);
    }
  }

  const GemmKernels& kernels_;
  const F32Product& p_;
  const ProductExtents e_;
  const std::int64_t columns_;    // of a tile
  std::int64_t height_;           // rows of a panel
  Range rows_;                    // panels of rows
  std::int64_t block_;            // steps of k
  std::int64_t slab_k_, slab_n_;  // what is packed of b at a time
  bool a_in_place_, b_in_place_, a_shared_;
  float *a_ = nullptr, *b_ = nullptr;  // packed
  Range steps_{}, slab_{};             // of k, and columns of c: the present slab
};

}  // namespace

const GemmKernels* gemm_kernels() {
  static const GemmKernels* const found = []() -> const GemmKernels* {
#if defined(__x86_64__)
    const bool wide = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                      __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
    if (wide) return &avx512_gemm;
    if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) return &avx2_gemm;
#endif
    return nullptr;
  }();
  return found;
}

bool prefers_packing(const ProductExtents& e) {
  constexpr double smallest = 1 << 18;  // multiply-adds: below, OpenBLAS's kernels for small matrices win
  return e.m >= 8 && e.n > 16 && gemm_kernels() != nullptr &&
         static_cast<double>(e.m) * static_cast<double>(e.n) * static_cast<double>(e.k) >= smallest;
}

void packed_product(const GemmKernels& kernels, const F32Product& product) {
  PackedProduct(kernels, product).run();
}

}  // namespace norma
