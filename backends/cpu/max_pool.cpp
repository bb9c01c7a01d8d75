// Max pooling: the first of the largest entries of each window, and where it lies.
//   y[p] = x[chosen[p]]     dx[i] = the sum of dy[p] over all p with chosen[p] = i
// NaN wins, padding is -inf. Contiguous views, parallel over planes. Of several rows the first of equals
// wins; of several columns the one that lies first in its plane, so the whole is in reading order.
// chosen holds integers as wide as T, so that they are compared and selected along with the values. `noted`
// is false where places are not asked for.
#include <limits>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/lane_vector.h"
#include "backends/cpu/pools.h"
#include "backends/cpu/scratch.h"
#include "backends/elementwise.h"

namespace norma {
namespace {

template <class T>
using Place = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

/// The place of padding on the right, which no tie is for.
template <class T>
constexpr Place<T> behind = std::numeric_limits<Place<T>>::max();

template <class T>
constexpr T lowest = -std::numeric_limits<T>::infinity();

constexpr int lanes = vector_lanes;
constexpr std::int64_t whole_tiles(std::int64_t n) { return (n + lanes - 1) / lanes * lanes; }

/// The largest entries so far, and where they lie, if that is noted.
template <class T>
struct Best {
  T* values;
  Place<T>* places;
};

/// True where v takes the place of the best so far: it is larger, or the first NaN.
template <class T>
bool beats(T v, T best) {
  return bool(int(!(v <= best)) & int(best == best));
}
/// The same for columns, of which the one with the earlier place wins a tie, between NaNs as well.
template <class T>
bool beats(T v, Place<T> at, T best, Place<T> place) {
  const int tie = int(v == best) | (int(v != v) & int(best != best));
  return bool(int(beats(v, best)) | (tie & int(at < place)));
}

/// The best of each column of x, over the rows of one row of windows. Of every row `count` entries are read;
/// those behind the width of x are not used.
template <bool noted, class T>
void best_of_rows(const Pools& p, const Pooling::Entries& rows, Place<T> count, Best<T> best, const T* x) {
  std::int64_t next = 0;
  if (rows.padded) {
    std::fill_n(best.values, count, lowest<T>);
    if constexpr (noted) std::fill_n(best.places, count, Place<T>(-1));
  } else {
    const auto start = static_cast<Place<T>>(rows.first * p.width);
    std::copy_n(x + start, count, best.values);
    for (Place<T> c = 0; noted && c < count; ++c) best.places[c] = start + c;
    next = 1;
  }
  for (; next < rows.count; ++next) {
    const auto start = static_cast<Place<T>>((rows.first + next * rows.step) * p.width);
    const T* const row = x + start;
#pragma omp simd
    for (Place<T> c = 0; c < count; ++c) {
      const bool take = beats(row[c], best.values[c]);
      best.values[c] = take ? row[c] : best.values[c];
      if constexpr (noted) best.places[c] = take ? start + c : best.places[c];
    }
  }
  std::fill_n(best.values + p.width, lanes, lowest<T>);
  if constexpr (noted) std::fill_n(best.places + p.width, lanes, behind<T>);
}

/// The best of each window that slides along a line; of whole vectors of windows, behind p.columns as well.
template <bool noted, class T>
void best_of_columns(const Pools& p, Best<T> y, Best<T> line) {
  with_stride(p.stride, [&](auto stride) {
    for (std::int64_t q = 0; q < p.columns; q += lanes) {
      const std::int64_t first = q * stride;
      LaneVector<T> best{}, v{};
      LaneVector<Place<T>> place{}, at{};
      load_strided(best, line.values + first, stride);
      if constexpr (noted) load_strided(place, line.places + first, stride);
      for (std::int64_t tap = 1; tap < p.taps; ++tap) {
        load_strided(v, line.values + first + tap * p.dilation, stride);
        auto take = (best == best) & ~(v <= best);
        if constexpr (noted) {
          load_strided(at, line.places + first + tap * p.dilation, stride);
          take = take | (((v == best) | ((v != v) & (best != best))) & (at < place));
          place = pick(take, at, place);
        }
        best = pick(take, v, best);
      }
      store(y.values + q, best);
      if constexpr (noted) store(y.places + q, place);
    }
  });
}

/// The best of each bin.
template <bool noted, class T>
void best_of_bins(const Pools& p, Best<T> y, Best<T> line) {
  for (std::int64_t q = 0; q < p.columns; ++q) {
    const Pooling::Entries bin = p.column(q);
    T best = line.values[bin.first];
    Place<T> place = noted ? line.places[bin.first] : 0;
    for (std::int64_t c = bin.first + 1; c < bin.first + bin.count; ++c) {
      const Place<T> at = noted ? line.places[c] : 0;
      const bool take = beats(line.values[c], at, best, place);
      best = take ? line.values[c] : best;
      place = take ? at : place;
    }
    y.values[q] = best;
    if constexpr (noted) y.places[q] = place;
  }
}

template <bool noted, class T>
void pool_planes(const Pools& p, Best<T> y, const T* x) {
  for_planes(p.count, p.size(), p.places(), [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t room = p.line + lanes * (p.stride + 1);
    Scratch<T> values(room + whole_tiles(p.columns));
    Scratch<Place<T>> places(noted ? room + whole_tiles(p.columns) : 1);
    const Best<T> line{values.data(), places.data()},
        found{line.values + room, noted ? line.places + room : nullptr};
    std::fill_n(line.values, room, lowest<T>);  // padding, which is not written again
    if constexpr (noted) {
      std::fill_n(line.places, p.left, Place<T>(-1));
      std::fill_n(line.places + p.left, room - p.left, behind<T>);
    }
    for (std::int64_t plane = begin; plane < end; ++plane) {
      const T* const from = x + plane * p.size();
      for (std::int64_t r = 0; r < p.rows; ++r) {
        const Pooling::Entries rows = p.row(r);
        const std::int64_t after = (p.count - plane) * p.size() - (rows.last() + 1) * p.width;  // values of x
        const std::int64_t count = after < lanes ? p.width : whole_tiles(p.width);
        best_of_rows<noted, T>(p, rows, static_cast<Place<T>>(count),
                               {line.values + p.left, noted ? line.places + p.left : nullptr}, from);
        const std::int64_t to = (plane * p.rows + r) * p.columns;
        (p.sliding ? best_of_columns<noted, T> : best_of_bins<noted, T>)(p, found, line);
        std::copy_n(found.values, p.columns, y.values + to);
        if constexpr (noted) std::copy_n(found.places, p.columns, y.places + to);
      }
    }
  });
}

}  // namespace

bool CpuBackend::max_pool(View y, View chosen, View x, const Pooling& pooling) {
  const Pools pools(x, y, pooling);
  if (x.dtype == f32 && pools.size() > std::numeric_limits<std::int32_t>::max()) return false;
  for_float(x.dtype, "max_pool", [&]<class T>() {
    const Best<T> best{pointer<T>(y), static_cast<Place<T>*>(chosen.data)};
    (chosen.data != nullptr ? pool_planes<true, T> : pool_planes<false, T>)(pools, best, pointer<T>(x));
  });
  return true;
}

bool CpuBackend::max_pool_backward(View dx_view, View dy_view, View chosen) {
  const std::int64_t size = dx_view.shape[2] * dx_view.shape[3], count = dy_view.shape[0] * dy_view.shape[1],
                     places = dy_view.shape[2] * dy_view.shape[3];
  for_float(dx_view.dtype, "max_pool", [&]<class T>() {
    for_planes(count, size, places, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t plane = begin; plane < end; ++plane) {
        T* const dx = pointer<T>(dx_view) + plane * size;
        const T* const dy = pointer<T>(dy_view) + plane * places;
        const Place<T>* const at = static_cast<const Place<T>*>(chosen.data) + plane * places;
        std::fill_n(dx, size, T(0));
        for (std::int64_t i = 0; i < places; ++i) {
          if (at[i] >= 0) dx[at[i]] += dy[i];
        }
      }
    });
  });
  return true;
}

}  // namespace norma
