// unfold and fold, the two halves of a convolution besides the matrix product (im2col and its adjoint).
//   columns[n, (c, i, j), (p, q)] = x[n, c, p * stride + i * dilation - padding, q * stride + j * dilation -
//   ..]
// Contiguous views. Parallel over (n, c): every plane of x and its rows of columns belong to one task, so
// fold adds in a fixed order. Per tap and row of places, the columns that fall inside x are one range.
#include <algorithm>

#include "backends/cpu/cpu_backend.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {
namespace {

struct Planes {
  std::int64_t count, height, width, rows, columns;  // planes; extents of x; places of the window
  Window window;

  Planes(const View& x, const Window& w)
      : count(x.shape[0] * x.shape[1]),
        height(x.shape[2]),
        width(x.shape[3]),
        rows(w.places(0, height)),
        columns(w.places(1, width)),
        window(w) {}
  std::int64_t taps() const { return window.kernel[0] * window.kernel[1]; }
};

/// Calls body(place, first, last, x offset) for each row of places of one tap: places first .. last - 1 of
/// the row lie inside x, from this offset in the plane on; none does where first == last.
template <class Body>
void for_each_row_of_places(const Planes& p, std::int64_t tap, Body&& body) {
  const Window& w = p.window;
  const std::int64_t down = tap / w.kernel[1] * w.dilation[0] - w.padding[0];
  const std::int64_t right = tap % w.kernel[1] * w.dilation[1] - w.padding[1];
  const std::int64_t stride = w.stride[1];
  const std::int64_t first = right >= 0 ? 0 : std::min(p.columns, (-right + stride - 1) / stride);
  const std::int64_t last =
      right >= p.width ? first : std::clamp((p.width - 1 - right) / stride + 1, first, p.columns);
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const std::int64_t row = r * w.stride[0] + down;
    if (row < 0 || row >= p.height) {
      body(r * p.columns, std::int64_t(0), std::int64_t(0), std::int64_t(0));
    } else {
      body(r * p.columns, first, last, row * p.width + first * stride + right);
    }
  }
}

template <class T>
void unfold_planes(const Planes& p, T* columns, const T* x) {
  const std::int64_t places = p.rows * p.columns, size = p.taps() * places;
  const std::int64_t block = std::max<std::int64_t>(1, block_elements / std::max<std::int64_t>(1, size));
  parallel_for(p.count, block, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t plane = begin; plane < end; ++plane) {
      const T* from = x + plane * p.height * p.width;
      for (std::int64_t tap = 0; tap < p.taps(); ++tap) {
        T* to = columns + plane * size + tap * places;
        for_each_row_of_places(
            p, tap, [&](std::int64_t place, std::int64_t first, std::int64_t last, std::int64_t offset) {
              T* row = to + place;
              std::fill(row, row + first, T(0));
              for (std::int64_t q = first; q < last; ++q)
                row[q] = from[offset + (q - first) * p.window.stride[1]];
              std::fill(row + last, row + p.columns, T(0));
            });
      }
    }
  });
}

template <class T>
void fold_planes(const Planes& p, T* x, const T* columns) {
  const std::int64_t places = p.rows * p.columns, size = p.taps() * places;
  const std::int64_t block = std::max<std::int64_t>(1, block_elements / std::max<std::int64_t>(1, size));
  parallel_for(p.count, block, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t plane = begin; plane < end; ++plane) {
      T* to = x + plane * p.height * p.width;
      std::fill(to, to + p.height * p.width, T(0));
      for (std::int64_t tap = 0; tap < p.taps(); ++tap) {
        const T* from = columns + plane * size + tap * places;
        for_each_row_of_places(
            p, tap, [&](std::int64_t place, std::int64_t first, std::int64_t last, std::int64_t offset) {
              const T* row = from + place;
              for (std::int64_t q = first; q < last; ++q)
                to[offset + (q - first) * p.window.stride[1]] += row[q];
            });
      }
    }
  });
}

}  // namespace

void CpuBackend::unfold(View columns, View x, const Window& window) {
  for_float(x.dtype, "unfold",
            [&]<class T>() { unfold_planes<T>(Planes(x, window), pointer<T>(columns), pointer<T>(x)); });
}

void CpuBackend::fold(View x, View columns, const Window& window) {
  for_float(x.dtype, "fold",
            [&]<class T>() { fold_planes<T>(Planes(x, window), pointer<T>(x), pointer<T>(columns)); });
}

}  // namespace norma
