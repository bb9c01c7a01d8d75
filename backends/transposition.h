// Copies that transpose: y is contiguous along one axis and x along another, so that whole rows of either
// side would touch a cache line of the other for each element. Square tiles use each line fully; where one of
// the two axes is short, tiles have all of it.
#pragma once

#include <optional>

#include "backends/strided.h"

namespace norma {

struct Transposition {
  static constexpr std::int64_t tile = 32;
  static constexpr std::int64_t least = 8;         // rows and columns
  static constexpr std::int64_t long_tile = 1024;  // beside an axis of fewer than `least`

  Loop<2> tiles;               // over (y, x); the last two axes count tiles down and across
  std::int64_t rows, columns;  // extents of those axes in elements
  std::int64_t y_row;          // stride of y along the rows; its columns are contiguous
  std::int64_t x_column;       // stride of x along the columns; its rows are contiguous
  std::int64_t tile_rows = tile, tile_columns = tile;
};

/// Of a coalesced loop over (y, x); none when it is no transposition (along y, x repeats a value or is
/// contiguous too), or too small for tiles to pay: an axis has fewer than `least`, or both are short.
inline std::optional<Transposition> as_transposition(const Loop<2>& coalesced,
                                                     std::int64_t least = Transposition::least) {
  if (coalesced.rank < 2 || coalesced.inner_stride(0) != 1 || coalesced.inner_stride(1) == 1 ||
      coalesced.inner_stride(1) == 0 || coalesced.inner() < least)
    return std::nullopt;
  int axis = coalesced.rank - 2;
  while (axis >= 0 && (coalesced.strides[1][axis] != 1 || coalesced.shape[axis] < least)) --axis;
  if (axis < 0) return std::nullopt;
  Loop<2> loop = coalesced;
  const int r = loop.rank - 2, c = loop.rank - 1;
  for (std::int64_t* of_axes : {loop.shape, loop.strides[0], loop.strides[1]})
    std::rotate(of_axes + axis, of_axes + axis + 1, of_axes + c);  // the axis becomes the last but one
  Transposition t{loop, loop.shape[r], loop.shape[c], loop.strides[0][r], loop.strides[1][c]};
  if (std::max(t.rows, t.columns) < Transposition::least) return std::nullopt;
  if (t.rows < Transposition::least) t.tile_columns = Transposition::long_tile;
  if (t.columns < Transposition::least) t.tile_rows = Transposition::long_tile;
  t.tiles.shape[r] = (t.rows + t.tile_rows - 1) / t.tile_rows;
  t.tiles.shape[c] = (t.columns + t.tile_columns - 1) / t.tile_columns;
  for (int k = 0; k < 2; ++k) t.tiles.strides[k][r] *= t.tile_rows, t.tiles.strides[k][c] *= t.tile_columns;
  return t;
}

}  // namespace norma
