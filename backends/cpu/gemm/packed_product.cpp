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

#include "backends/cpu/gemm/parts.h"

namespace norma {
namespace {

// Chosen on a Zen 4 (32 KiB of L1, 1 MiB of L2), with an eye to 48 KiB and 2 MiB.
constexpr std::int64_t k_block = 384;
constexpr std::int64_t slab_values = 1 << 20;  // of packed b: 4 MiB
constexpr std::int64_t slab_blocks = 4;        // of k in a slab that does not hold all of it, at most
constexpr std::int64_t group_panels =
    8;  // of rows, to which a panel of b is applied in turn; packed side by side

/// Whether the rows of an operand can be read where they lie: near each other, or no more than four pages
/// apart, but not by a multiple of 2 KiB, where they fall upon a few sets of L1 and push each other out.
bool lies_well(std::int64_t leading) { return leading <= 256 || (leading <= 4096 && leading % 512 != 0); }

/// A part of c (parts.h).
class PartialProduct {
 public:
  PartialProduct(const GemmKernels& kernels, const F32Product& p)
      : kernels_(kernels), p_(p), e_(p.extents), columns_(kernels.columns) {
    height_ = cut(e_.m, cut(e_.m, kernels.rows));
    rows_ = {0, cut(e_.m, height_)};
    block_ = cut(cut(e_.k, cut(e_.k, k_block)), 8) * 8;
    a_in_place_ = p_.a.transposed ? p_.a.leading <= 256 : lies_well(p_.a.leading);
    b_in_place_ = !p_.b.transposed && lies_well(p_.b.leading) && e_.m <= kernels.rows_without_packing;
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

}  // namespace

const GemmKernels* gemm_kernels() {
  static const GemmKernels* const found = []() -> const GemmKernels* {
#if defined(__x86_64__)
    // There a panel of b that is read where it lies costs a tenth of the rate.
    static const GemmKernels on_intel = [] {
      GemmKernels kernels = avx512_gemm;
      kernels.rows_without_packing = 96;
      return kernels;
    }();
    const bool wide = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                      __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
    if (wide) return __builtin_cpu_is("intel") != 0 ? &on_intel : &avx512_gemm;
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
  const double cycles = kernels.rows * kernels.columns / 16.0;  // of a step of a tile: about one for a vector
  run_in_parts<float>(product, {kernels.rows, kernels.columns, cycles},
                      [&](const F32Product& part) { return PartialProduct(kernels, part); });
}

}  // namespace norma
