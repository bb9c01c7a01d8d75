// Planes of x seen through a window: the copies that unfold and fold, and convolutions block by block, are
// made of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/backend.h"
#include "core/view.h"

namespace norma {

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
  std::int64_t size() const { return height * width; }
  std::int64_t places() const { return rows * columns; }
};

/// Rows [first, last) of places.
struct PlaceRows {
  std::int64_t first, last;
};

/// Calls body(place, first, last, x offset) for each of these rows of places of one tap, places counted from
/// the first of them: places first .. last - 1 of the row lie inside x, from this offset in the plane on;
/// none does where first == last.
template <class Body>
void for_each_row_of_places(const Planes& p, const PlaceRows& which, std::int64_t tap, Body&& body) {
  const Window& w = p.window;
  const std::int64_t down = tap / w.kernel[1] * w.dilation[0] - w.padding[0];
  const std::int64_t right = tap % w.kernel[1] * w.dilation[1] - w.padding[1];
  const std::int64_t stride = w.stride[1];
  const std::int64_t first = right >= 0 ? 0 : std::min(p.columns, (-right + stride - 1) / stride);
  const std::int64_t last =
      right >= p.width ? first : std::clamp((p.width - 1 - right) / stride + 1, first, p.columns);
  for (std::int64_t r = which.first; r < which.last; ++r) {
    const std::int64_t row = r * w.stride[0] + down, place = (r - which.first) * p.columns;
    if (row < 0 || row >= p.height) {
      body(place, std::int64_t(0), std::int64_t(0), std::int64_t(0));
    } else {
      body(place, first, last, row * p.width + first * stride + right);
    }
  }
}

/// to = from, n values: the last vector begins early enough to end with them.
template <int each = 16, class T>
[[gnu::always_inline]] inline void copy_row(T* to, const T* from, std::int64_t n) {
  if (n >= each) {
    for (std::int64_t i = 0; i < n - each; i += each) std::memcpy(to + i, from + i, each * sizeof(T));
    std::memcpy(to + n - each, from + n - each, each * sizeof(T));
  } else if constexpr (each > 1) {
    copy_row<each / 2>(to, from, n);
  }
}

/// n zeros, often one.
template <class T>
void write_zeros(T* to, std::int64_t n) {
  if (n == 1) {
    *to = T(0);
  } else {
    std::fill_n(to, n, T(0));
  }
}

/// What the window sees of a plane x at rows of places: a row of columns for each tap, one after another.
template <class T>
void unfold_plane(const Planes& p, const PlaceRows& which, T* columns, const T* x) {
  const std::int64_t length = (which.last - which.first) * p.columns, stride = p.window.stride[1];
  for (std::int64_t tap = 0; tap < p.taps(); ++tap) {
    T* const to = columns + tap * length;
    for_each_row_of_places(
        p, which, tap,
        [=, &p](std::int64_t place, std::int64_t first, std::int64_t last, std::int64_t offset) {
          T* const row = to + place;
          const T* const from = x + offset;
          write_zeros(row, first);
          if (stride == 1) {
            copy_row(row + first, from, last - first);
          } else if (stride == 2) {  // a constant, so that compilers make vectors of it
            for (std::int64_t q = first; q < last; ++q) row[q] = from[(q - first) * 2];
          } else {
            for (std::int64_t q = first; q < last; ++q) row[q] = from[(q - first) * stride];
          }
          write_zeros(row + last, p.columns - last);
        });
  }
}

/// A plane x = the sum of its columns over all places that read it.
template <class T>
void fold_plane(const Planes& p, T* x, const T* columns) {
  const std::int64_t stride = p.window.stride[1];
  std::fill(x, x + p.size(), T(0));
  for (std::int64_t tap = 0; tap < p.taps(); ++tap) {
    const T* const from = columns + tap * p.places();
    for_each_row_of_places(
        p, {0, p.rows}, tap,
        [=](std::int64_t place, std::int64_t first, std::int64_t last, std::int64_t offset) {
          const T* const row = from + place;
          T* const to = x + offset;
          if (stride == 1) {
#pragma omp simd
            for (std::int64_t q = first; q < last; ++q) to[q - first] += row[q];
          } else {
            for (std::int64_t q = first; q < last; ++q) to[(q - first) * stride] += row[q];
          }
        });
  }
}

}  // namespace norma
