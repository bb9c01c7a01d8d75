// join: y = the xs side by side along an axis. One loop over blocks of y, whatever the number of xs: each
// block is written from all that it has a part of.
#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/transposed_copy.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {

namespace {

/// One x as rows, which are columns [begin, end) of y's: the axes before the joined one are walked by one
/// stride, those from it on have no gaps.
template <class T>
struct Piece {
  const T* data;
  std::int64_t stride;
  std::int64_t begin, end;
};

/// Stride of the rows that the first `axes` axes of x make; none where it takes several.
std::optional<std::int64_t> stride_of_rows(const View& x, int axes) {
  std::int64_t rows = 1, stride = 0;
  for (int axis = axes - 1; axis >= 0; --axis) {
    if (x.shape[axis] == 1) continue;
    if (rows == 1) stride = x.strides[axis];
    if (x.strides[axis] != rows * stride) return std::nullopt;
    rows *= x.shape[axis];
  }
  return stride;
}

/// The xs that are not empty; nothing where one of them does not lie in rows.
template <class T>
std::vector<Piece<T>> pieces_of(std::span<const View> xs, int axis) {
  std::vector<Piece<T>> pieces;
  pieces.reserve(xs.size());
  std::int64_t begin = 0;
  for (const View& x : xs) {
    const std::optional<std::int64_t> stride = stride_of_rows(x, axis);
    if (!stride || !is_contiguous(x.rank - axis, x.shape + axis, x.strides + axis)) return {};
    std::int64_t width = 1;
    for (int i = axis; i < x.rank; ++i) width *= x.shape[i];
    if (width > 0) pieces.push_back({pointer<T>(x), *stride, begin, begin + width});
    begin += width;
  }
  return pieces;
}

template <class T>
void join_rows(std::int64_t count, T* y, const std::vector<Piece<T>>& pieces) {
  const std::int64_t width = pieces.back().end;
  parallel_for(count, even_block(count), [&](std::int64_t begin, std::int64_t end) {
    std::int64_t row = begin / width, column = begin % width;
    auto piece = std::partition_point(pieces.begin(), pieces.end(),
                                      [&](const Piece<T>& earlier) { return earlier.end <= column; });
    while (begin < end) {
      const std::int64_t n = std::min(piece->end - column, end - begin);
      const T* const from = piece->data + row * piece->stride + (column - piece->begin);
      std::memcpy(y + begin, from, static_cast<std::size_t>(n) * sizeof(T));
      begin += n, column += n;
      if (column == piece->end) ++piece;
      if (column == width) ++row, column = 0, piece = pieces.begin();
    }
  });
}

/// Pieces of one column: y[i][j] = x_j[i]. Tiles of them are collected in the first cache, then transposed.
template <class T>
void join_columns(std::int64_t rows, T* y, const std::vector<Piece<T>>& pieces) {
  constexpr std::int64_t tile_rows = 64, tile_columns = 32;
  const auto width = static_cast<std::int64_t>(pieces.size());
  const std::int64_t tiles = even_block(rows * width) / (width * tile_rows);
  parallel_for(rows, std::max<std::int64_t>(1, tiles) * tile_rows, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) T tile[tile_columns * tile_rows];
    for (std::int64_t row = begin; row < end; row += tile_rows) {
      const std::int64_t height = std::min(tile_rows, end - row);
      for (std::int64_t column = 0; column < width; column += tile_columns) {
        const std::int64_t columns = std::min(tile_columns, width - column);
        for (std::int64_t j = 0; j < columns; ++j) {
          const auto& [data, stride, first, last] = pieces[static_cast<std::size_t>(column + j)];
          copy_row(height, tile + j * tile_rows, 1, data + row * stride, stride);
        }
        T* const to = y + row * width + column;
        if (columns < Transposition::least) {
          transpose_thin_tile(height, columns, to, width, tile, tile_rows);
        } else {
          transpose_tile(height, columns, to, width, tile, tile_rows);
        }
      }
    }
  });
}

}  // namespace

bool CpuBackend::join(View y, std::span<const View> xs, int axis) {
  std::int64_t count = 1;
  for (int i = 0; i < y.rank; ++i) count *= y.shape[i];
  if (count == 0) return true;
  return for_any(y.dtype, [&]<class T>() {
    const std::vector<Piece<T>> pieces = pieces_of<T>(xs, axis);
    if (pieces.empty()) return false;
    const std::int64_t width = pieces.back().end;
    if (width == static_cast<std::int64_t>(pieces.size()) && width > 1) {
      join_columns(count / width, pointer<T>(y), pieces);
    } else {
      join_rows(count, pointer<T>(y), pieces);
    }
    return true;
  });
}

}  // namespace norma
