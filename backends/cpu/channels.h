// Two ways to walk x [n, channels, inner], for kernels with something to say about each channel:
//   planes   long inner: each (sample, channel) is a contiguous run, cut into pieces when it is very long;
//   columns  short inner: samples are rows of channels * inner columns, and a channel is some of the columns.
// The cuts depend on the shape only.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/moments.h"
#include "backends/cpu/scratch.h"
#include "backends/statistics.h"
#include "backends/strided.h"

namespace norma {

/// Sums of dy and of dy * x_hat over a channel, a group, or a part of one.
struct Sums {
  double dy = 0, dy_x_hat = 0;

  void add(const Sums& other, double weight = 1) {
    dy += other.dy * weight;
    dy_x_hat += other.dy_x_hat * weight;
  }
};

/// Whether the columns are walked. Few samples do not pay what there is to note for each column.
inline bool are_columns(const Channels& x, bool masked) {
  return walks_columns(x, masked) && (x.inner == 1 || x.inner < 4 * x.n);
}

/// The planes of x, cut into pieces [begin, end) of at most `size` elements.
struct Planes {
  static constexpr std::int64_t size = 16384;  // two passes over a piece find it in the cache
  Channels x;
  std::int64_t cuts;  // pieces of a plane

  explicit Planes(const Channels& x_)
      : x(x_), cuts(std::max<std::int64_t>(1, (x_.inner + size - 1) / size)) {}
  std::int64_t pieces() const { return x.n * x.channels * cuts; }
  /// Calls body(piece, sample, channel, begin, end) for pieces of [first, last); they count up in memory
  /// order.
  template <class Body>
  void for_pieces(std::int64_t first, std::int64_t last, Body&& body) const {
    for (std::int64_t piece = first; piece < last; ++piece) {
      const std::int64_t plane = piece / cuts, begin = piece % cuts * size;
      body(piece, plane / x.channels, plane % x.channels, begin, std::min(x.inner, begin + size));
    }
  }
  /// The same for all pieces, in parallel.
  template <class Body>
  void for_each_piece(Body&& body) const {
    const std::int64_t length = std::clamp<std::int64_t>(x.inner, 1, size);
    parallel_for(pieces(), std::max<std::int64_t>(1, block_elements / length),
                 [&](std::int64_t first, std::int64_t last) { for_pieces(first, last, body); });
  }
  /// Calls use(channel, piece) for the pieces of a channel in order, channels in parallel.
  template <class Use>
  void for_each_of_channel(Use&& use) const {
    const std::int64_t each = std::max<std::int64_t>(1, x.n * cuts);
    parallel_for(x.channels, std::max<std::int64_t>(1, block_elements / each),
                 [&](std::int64_t first, std::int64_t last) {
                   for (std::int64_t c = first; c < last; ++c) {
                     for (std::int64_t i = 0; i < x.n; ++i) {
                       for (std::int64_t k = 0; k < cuts; ++k) use(c, (i * x.channels + c) * cuts + k);
                     }
                   }
                 });
  }
};

/// x as a matrix: `fold` samples make a row of `width` columns (the last row may be shorter), so that even a
/// few channels fill vector registers. Tiles of rows and columns are the units of work.
struct Columns {
  static constexpr std::int64_t tile = 512;  // columns
  Channels x;
  std::int64_t period, width, rows, height;  // height: rows of a tile

  Columns(const Channels& x_, bool masked)
      : x(x_), period(std::max<std::int64_t>(1, x_.channels * x_.inner)) {
    const std::int64_t fold =
        masked ? 1 : std::clamp<std::int64_t>(64 / period, 1, std::max<std::int64_t>(1, x.n));
    width = fold * period;
    rows = (x.numel() + width - 1) / width;
    height = std::max<std::int64_t>(64, block_elements / std::min(tile, width));
  }
  std::int64_t bands() const { return (rows + height - 1) / height; }
  std::int64_t channel_of(std::int64_t column) const { return column % period / x.inner; }
  /// Columns of row r that lie in a tile of `count` columns from `first`.
  std::int64_t extent(std::int64_t r, std::int64_t first, std::int64_t count) const {
    return std::clamp<std::int64_t>(x.numel() - r * width - first, 0, count);
  }
  /// Calls body(band, first row, last row, first column, count) in parallel.
  template <class Body>
  void for_each_tile(Body&& body) const {
    const std::int64_t across = (width + tile - 1) / tile;
    parallel_for(bands() * across,
                 std::max<std::int64_t>(1, block_elements / (height * std::min(tile, width))),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t t = begin; t < end; ++t) {
                     const std::int64_t band = t / across, first = t % across * tile;
                     body(band, band * height, std::min(rows, (band + 1) * height), first,
                          std::min(tile, width - first));
                   }
                 });
  }
  /// Calls use(channel, place) for the places band * width + column of a channel in order, channels in
  /// parallel.
  template <class Use>
  void for_each_of_channel(Use&& use) const {
    const std::int64_t each =
        std::max<std::int64_t>(1, bands() * width / std::max<std::int64_t>(1, x.channels));
    parallel_for(x.channels, std::max<std::int64_t>(1, block_elements / each),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t c = begin; c < end; ++c) {
                     for (std::int64_t band = 0; band < bands(); ++band) {
                       for (std::int64_t start = c * x.inner; start < width; start += period) {
                         for (std::int64_t k = 0; k < x.inner; ++k) use(c, band * width + start + k);
                       }
                     }
                   }
                 });
  }
};

}  // namespace norma
