// How a product is cut for threads: c into as many parts as there are threads, and each thread computes its
// part alone, from operands that it packs itself. What another core has just written is slow to read, and
// costs more than packing twice. An eighth of a large part comes last, as a piece of its own, which a thread
// that is done takes over from one on a slower core.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "backends/cpu/gemm/packed_product.h"
#include "backends/cpu/scratch.h"
#include "core/parallel.h"

namespace norma {

constexpr std::int64_t cut(std::int64_t n, std::int64_t part) { return (n + part - 1) / part; }

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
  /// Part i of `parts` of nearly equal size.
  Range part(std::int64_t i, std::int64_t parts) const {
    return {begin + size() * i / parts, begin + size() * (i + 1) / parts};
  }
};

/// At whose borders c is cut, and what a step of k takes there.
struct PartTile {
  std::int64_t rows, columns;
  double cycles;
};

class Parts {
 public:
  Parts(const F32Product& p, const PartTile& tile)
      : p_(p), tile_(tile), tall_{0, cut(p.extents.m, tile.rows)}, wide_{0, cut(p.extents.n, tile.columns)} {
    constexpr double least_work = 4e5;  // multiply-adds of a part
    const ProductExtents& e = p.extents;
    const double work = static_cast<double>(e.m) * static_cast<double>(e.n) * static_cast<double>(e.k);
    const auto most = std::min<std::int64_t>(threads_here(), static_cast<std::int64_t>(work / least_work));
    double least = std::numeric_limits<double>::infinity();
    for (std::int64_t rows = 1; rows <= std::min(most, tall_.size()); ++rows) {
      const std::int64_t columns = std::min(most / rows, wide_.size());
      const double time = time_of(cut(tall_.size(), rows), cut(wide_.size(), columns));
      if (time < least) rows_ = rows, columns_ = columns, least = time;
    }
    constexpr double large_work = 1.6e7;  // of a part: some 0.4 ms
    const bool is_large = work >= large_work * static_cast<double>(rows_ * columns_);
    const bool has_tiles = tall_.size() >= 2 * rows_ && wide_.size() >= 2 * columns_;
    if (rows_ * columns_ > 1 && is_large && has_tiles && pieces_pay()) pieces_ = 2;
  }

  /// The pieces of a part follow one another.
  std::int64_t count() const { return rows_ * columns_ * pieces_; }
  /// Of each part: 1 or 2.
  std::int64_t pieces() const { return pieces_; }

  F32Product operator[](std::int64_t number) const {
    const std::int64_t part = number / pieces_;
    Range i = tall_.part(part / columns_, rows_), j = wide_.part(part % columns_, columns_);
    if (pieces_ == 2) {  // across the operand that is smaller, since both need it
      Range& longer = i.size() * tile_.rows < j.size() * tile_.columns ? j : i;
      const std::int64_t border = longer.end - std::max<std::int64_t>(1, longer.size() / 8);
      (number % 2 == 0 ? longer.end : longer.begin) = border;
    }
    const std::int64_t row = i.begin * tile_.rows, column = j.begin * tile_.columns;
    F32Product p = p_;
    p.extents.m = std::min(p.extents.m, i.end * tile_.rows) - row;
    p.extents.n = std::min(p.extents.n, j.end * tile_.columns) - column;
    p.a.data += p.a.transposed ? row : row * p.a.leading;
    p.b.data += p.b.transposed ? column * p.b.leading : column;
    p.c.data += row * p.c.leading + column;
    if (p.row != nullptr) p.row += column;
    return p;
  }

 private:
  /// Cycles of a step of k in a part of so many tiles, with one for each value of a and b that is fetched.
  double time_of(std::int64_t tall, std::int64_t wide) const {
    return static_cast<double>(tall * wide) * tile_.cycles +
           static_cast<double>(tall * tile_.rows + wide * tile_.columns);
  }

  /// Both pieces of a part pack the smaller operand: not where that takes as long as a part of the work.
  bool pieces_pay() const {
    const std::int64_t tall = cut(tall_.size(), rows_), wide = cut(wide_.size(), columns_);
    const double smaller = static_cast<double>(std::min(tall * tile_.rows, wide * tile_.columns));
    return 16 * smaller <= static_cast<double>(tall * wide) * tile_.cycles;
  }

  const F32Product& p_;
  const PartTile tile_;
  const Range tall_, wide_;  // tiles
  std::int64_t rows_ = 1, columns_ = 1, pieces_ = 1;
};

/// Computes the parts in parallel: computation(part) has values(), the memory in T that it needs, and
/// run(memory).
template <class T, class Make>
void run_in_parts(const F32Product& product, const PartTile& tile, Make&& computation) {
  const Parts parts(product, tile);
  constexpr std::int64_t page = 4096 / sizeof(T);
  const std::int64_t pieces = parts.pieces();
  std::int64_t values[2] = {0, 0};  // of a part's pieces
  for (std::int64_t i = 0; i < parts.count(); ++i) {
    const F32Product part = parts[i];
    values[i % pieces] = std::max(values[i % pieces], cut(computation(part).values(), page) * page);
  }
  // One piece of memory: a thread gets the same place in it each time, in its own caches.
  Scratch<T> memory((values[0] + values[1]) * (parts.count() / pieces));
  parallel_for(parts.count(), 1, [&](std::int64_t i, std::int64_t) {
    const F32Product part = parts[i];
    computation(part).run(memory.data() + i / pieces * (values[0] + values[1]) + i % pieces * values[0]);
  });
}

}  // namespace norma
