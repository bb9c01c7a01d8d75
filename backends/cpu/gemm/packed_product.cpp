// c = alpha * a b + beta * c in f32, after Goto and van de Geijn (ACM TOMS 34(3), 2008), for row-major c.
//
// c is cut into as many parts as there are threads, and each thread computes its part alone, from operands
// that it packs itself: what another core has just written is slow to read, and costs more than packing
// twice.
//
// Of a part, k is cut into blocks of at most `k_block` steps. A slab of b is packed into panels as wide as a
// tile, each one block of k long, and used by all rows; a is packed for a few panels of rows at a time.
// Operands whose values lie near each other anyway are read where they are. No cut but that of k decides a
// bit of the result: each element of c is a chain of multiply-adds over a block of k, added to the blocks
// before.
#include "backends/cpu/gemm/packed_product.h"

#include <algorithm>
#include <limits>

#include "backends/cpu/gemm/ranges.h"
#include "backends/cpu/scratch.h"
#include "core/parallel.h"

namespace norma {
namespace {

// Chosen on a Zen 4 (32 KiB of L1, 1 MiB of L2), with an eye to 48 KiB and 2 MiB.
constexpr std::int64_t k_block = 384;
constexpr std::int64_t slab_values = 1 << 20;  // of packed b: 4 MiB
constexpr std::int64_t slab_blocks = 4;        // of k in a slab that does not hold all of it, at most
constexpr std::int64_t group_panels = 8;       // of rows that share a panel of b in L1; packed side by side
constexpr double part_work = 4e5;              // multiply-adds of a part, at least

/// Whether the rows of an operand can be read where they lie: near each other, or no more than four pages
/// apart, but not by a multiple of 2 KiB, where they fall upon a few sets of L1 and push each other out.
bool lies_well(std::int64_t leading) { return leading <= 256 || (leading <= 4096 && leading % 512 != 0); }

/// A part of c, by one thread.
class PartialProduct {
 public:
  PartialProduct(const GemmKernels& kernels, const F32Product& p)
      : kernels_(kernels), p_(p), e_(p.extents), columns_(kernels.columns) {
    height_ = cut(e_.m, cut(e_.m, kernels.rows));
    rows_ = {0, cut(e_.m, height_)};
    block_ = cut(cut(e_.k, cut(e_.k, k_block)), 8) * 8;
    a_in_place_ = p_.a.transposed ? p_.a.leading <= 256 : lies_well(p_.a.leading);
    b_in_place_ = !p_.b.transposed && lies_well(p_.b.leading);
    const std::int64_t step = cut(e_.n, columns_) * columns_;  // values of b of a step of k
    slab_k_ = e_.k;
    if (step * e_.k > slab_values) {  // of all columns if that leaves enough steps
      const std::int64_t fit = slab_values / step / block_;
      slab_k_ = std::min(cut(e_.k, block_), std::clamp(fit, std::int64_t{2}, slab_blocks)) * block_;
    }
    slab_n_ = std::clamp(slab_values / slab_k_ / columns_ * columns_, columns_, step);
  }

  /// Of memory that run() needs.
  std::int64_t values() const { return packed_a_values() + packed_b_values(); }

  void run(float* memory) {
    a_ = memory, b_ = memory + packed_a_values();
    for (std::int64_t k = 0; k < e_.k; k += slab_k_) {
      steps_ = {k, std::min(e_.k, k + slab_k_)};
      for (std::int64_t n = 0; n < e_.n; n += slab_n_) {
        slab_ = {n, std::min(e_.n, n + slab_n_)};
        pack_b();
        for (std::int64_t i = 0; i < rows_.end; i += group_panels) {
          run_rows({i, std::min(rows_.end, i + group_panels)});
        }
      }
    }
  }

 private:
  std::int64_t packed_a_values() const {
    return a_in_place_ ? 0 : std::min(group_panels, rows_.size()) * kernels_.a_stride * block_;
  }
  std::int64_t packed_b_values() const { return b_in_place_ && e_.n % columns_ == 0 ? 0 : slab_n_ * slab_k_; }
  Range columns() const { return {0, cut(slab_.size(), columns_)}; }  // panels of b in the slab
  Range block_at(std::int64_t k) const { return {k, std::min(k + block_, steps_.end)}; }
  // Where packed panels are: those of a block of k one after another, blocks one after another.
  float* packed_b(std::int64_t j, Range k) const {
    return b_ + (columns().size() * (k.begin - steps_.begin) + j * k.size()) * kernels_.b_stride;
  }

  void pack_a(Range i, Range k) const {
    const std::int64_t row = i.begin * height_, leading = p_.a.leading;
    kernels_.pack_a({.x = p_.a.data + (p_.a.transposed ? k.begin * leading + row : row * leading + k.begin),
                     .leading = leading,
                     .steps_adjoin = !p_.a.transposed,
                     .count = std::min(e_.m - row, i.size() * height_),
                     .width = height_,
                     .k = k.size(),
                     .packed = a_});
  }
  void pack_b() const {
    Range panels = columns();
    if (b_in_place_) panels.begin = slab_.size() / columns_;  // all but an incomplete one
    for (Range k = block_at(steps_.begin); k.size() > 0; k = block_at(k.end)) {
      for (std::int64_t j = panels.begin; j < panels.end; j += group_panels) {
        const std::int64_t column = slab_.begin + j * columns_, leading = p_.b.leading;
        kernels_.pack_b(
            {.x = p_.b.data + (p_.b.transposed ? column * leading + k.begin : k.begin * leading + column),
             .leading = leading,
             .steps_adjoin = p_.b.transposed,
             .count = std::min(slab_.end - column, group_panels * columns_),
             .width = columns_,
             .k = k.size(),
             .packed = packed_b(j, k)});
      }
    }
  }

  void run_rows(Range rows) const {
    for (Range k = block_at(steps_.begin); k.size() > 0; k = block_at(k.end)) {
      if (!a_in_place_) pack_a(rows, k);
      for (std::int64_t j = 0; j < columns().end; ++j) run_column(rows, j, k);
    }
  }

  // The tiles of some rows with panel j of b.
  void run_column(Range rows, std::int64_t j, Range k) const {
    const std::int64_t column = slab_.begin + j * columns_;
    GemmTile tile{};
    tile.k = k.size(), tile.alpha = p_.alpha, tile.beta = k.begin == 0 ? p_.beta : 1;
    tile.columns = static_cast<int>(std::min(columns_, e_.n - column));
    const bool b_in_place = b_in_place_ && tile.columns == columns_;
    tile.b = b_in_place ? p_.b.data + k.begin * p_.b.leading + column : packed_b(j, k);
    tile.b_step = b_in_place ? p_.b.leading : kernels_.b_stride;
    tile.a_row = !a_in_place_ || p_.a.transposed ? 1 : p_.a.leading;
    tile.a_step = !a_in_place_ ? kernels_.a_stride : p_.a.transposed ? p_.a.leading : 1;
    tile.c_row = p_.c.leading;
    const bool instead = k.begin == 0 && p_.row != nullptr;  // of c
    tile.d_row = instead ? 0 : tile.c_row;
    for (std::int64_t i = rows.begin; i < rows.end; ++i) {
      const std::int64_t row = i * height_;
      tile.rows = static_cast<int>(std::min(height_, e_.m - row));
      tile.a = a_in_place_ ? p_.a.data + row * tile.a_row + k.begin * tile.a_step
                           : a_ + (i - rows.begin) * k.size() * kernels_.a_stride;
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
  bool a_in_place_, b_in_place_;
  float *a_ = nullptr, *b_ = nullptr;  // packed
  Range steps_{}, slab_{};             // of k, and columns of c: the present slab
};

/// How c is cut into parts for threads, at borders of tiles.
class Parts {
 public:
  Parts(const GemmKernels& kernels, const F32Product& p)
      : p_(p),
        height_(kernels.rows),
        width_(kernels.columns),
        tall_{0, cut(p.extents.m, height_)},
        wide_{0, cut(p.extents.n, width_)} {
    const ProductExtents& e = p.extents;
    const double work = static_cast<double>(e.m) * static_cast<double>(e.n) * static_cast<double>(e.k);
    const auto most = std::min<std::int64_t>(threads_here(), static_cast<std::int64_t>(work / part_work));
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (std::int64_t rows = 1; rows <= std::min(most, tall_.size()); ++rows) {
      const std::int64_t columns = std::min(most / rows, wide_.size());
      const std::int64_t time = time_of(cut(tall_.size(), rows), cut(wide_.size(), columns));
      if (time < least) rows_ = rows, columns_ = columns, least = time;
    }
  }

  std::int64_t count() const { return rows_ * columns_; }

  F32Product operator[](std::int64_t part) const {
    const Range i = tall_.part(part / columns_, rows_), j = wide_.part(part % columns_, columns_);
    const std::int64_t row = i.begin * height_, column = j.begin * width_;
    F32Product p = p_;
    p.extents.m = std::min(p.extents.m, i.end * height_) - row;
    p.extents.n = std::min(p.extents.n, j.end * width_) - column;
    p.a.data += p.a.transposed ? row : row * p.a.leading;
    p.b.data += p.b.transposed ? column * p.b.leading : column;
    p.c.data += row * p.c.leading + column;
    if (p.row != nullptr) p.row += column;
    return p;
  }

 private:
  /// Of a step of k in the largest part, in cycles: about as many for a tile as it has vectors, and one for
  /// each value of a and b that has to be fetched.
  std::int64_t time_of(std::int64_t tall, std::int64_t wide) const {
    return tall * wide * (height_ * width_ / 16) + tall * height_ + wide * width_;
  }

  const F32Product& p_;
  const std::int64_t height_, width_;  // of a tile
  const Range tall_, wide_;            // tiles
  std::int64_t rows_ = 1, columns_ = 1;
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
  const Parts parts(kernels, product);
  std::int64_t values = 0;
  for (std::int64_t i = 0; i < parts.count(); ++i) {
    const F32Product part = parts[i];
    values = std::max(values, PartialProduct(kernels, part).values());
  }
  // One piece of memory: a thread gets the same place in it each time, in its own caches.
  constexpr std::int64_t page = 1024;
  values = cut(values, page) * page;
  Scratch<float> memory(values * parts.count());
  parallel_for(parts.count(), 1, [&](std::int64_t i, std::int64_t) {
    const F32Product part = parts[i];
    PartialProduct(kernels, part).run(memory.data() + i * values);
  });
}

}  // namespace norma
