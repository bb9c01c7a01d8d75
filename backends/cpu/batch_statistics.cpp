// Mean and biased variance of each channel of x [n, channels, inner] over n and inner, where the mask [n,
// inner] is true. Each piece of a plane, or column of a tile, is read twice while it is in the cache (mean,
// then squares around it); the pieces of a channel are combined in order, in f64. One pass over memory.
#include "backends/cpu/channels.h"
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/rows.h"

namespace norma {

namespace {

template <class T>
Moments masked_moments(const T* x, std::int64_t d, const bool* counts) {
  const std::int64_t start = std::find(counts, counts + d, true) - counts;
  if (start == d) return {};
  const double origin = static_cast<double>(x[start]);
  const auto [number, sum] = block_sums<double, 2>(d, [=](std::int64_t i, auto sums) {
    sums(0) += counts[i] ? 1.0 : 0.0;
    sums(1) += counts[i] ? static_cast<double>(x[i]) - origin : 0.0;
  });
  const double mean = origin + sum / number;
  const double squares = block_sum<double>(d, [=](std::int64_t i) {
    const double centred = counts[i] ? static_cast<double>(x[i]) - mean : 0.0;
    return centred * centred;
  });
  return {number, mean, squares};
}

template <class T>
void of_planes(const Planes& planes, Moments* parts, const T* x, const bool* mask) {
  const Channels& shape = planes.x;
  planes.for_each_piece(
      [=](std::int64_t piece, std::int64_t i, std::int64_t c, std::int64_t begin, std::int64_t end) {
        const T* from = x + (i * shape.channels + c) * shape.inner + begin;
        parts[piece] = mask == nullptr ? moments_of(from, end - begin)
                                       : masked_moments(from, end - begin, mask + i * shape.inner + begin);
      });
}

/// mask: one for each row, or none.
template <class T>
void of_columns(const Columns& columns, Moments* parts, const T* x, const bool* mask) {
  columns.for_each_tile([=](std::int64_t band, std::int64_t first_row, std::int64_t last_row,
                            std::int64_t first, std::int64_t count) {
    double origin[Columns::tile] = {}, sum[Columns::tile] = {}, squares[Columns::tile] = {};
    std::int64_t rows = 0, last_extent = count;
    for (std::int64_t r = first_row; r < last_row; ++r) {
      if (mask != nullptr && !mask[r]) continue;
      const T* row = x + r * columns.width + first;
      last_extent = columns.extent(r, first, count);
      if (rows++ == 0) {
        for (std::int64_t j = 0; j < last_extent; ++j) origin[j] = static_cast<double>(row[j]);
      }
      for (std::int64_t j = 0; j < last_extent; ++j) sum[j] += static_cast<double>(row[j]) - origin[j];
    }
    // Only the last row of all can be short.
    const auto number = [=](std::int64_t j) { return static_cast<double>(rows - (j < last_extent ? 0 : 1)); };
    for (std::int64_t j = 0; j < count; ++j) origin[j] += number(j) > 0 ? sum[j] / number(j) : 0;
    for (std::int64_t r = first_row; r < last_row; ++r) {
      if (mask != nullptr && !mask[r]) continue;
      const T* row = x + r * columns.width + first;
      const std::int64_t extent = columns.extent(r, first, count);
      for (std::int64_t j = 0; j < extent; ++j) {
        const double centred = static_cast<double>(row[j]) - origin[j];
        squares[j] += centred * centred;
      }
    }
    Moments* to = parts + band * columns.width + first;
    for (std::int64_t j = 0; j < count; ++j) to[j] = {number(j), origin[j], squares[j]};
  });
}

/// Combines the parts of every channel.
template <class Walk>
void combine(const Walk& walk, std::int64_t channels, const Moments* parts, double* mean, double* var) {
  Scratch<Moments> totals(channels);
  Moments* const total = totals.data();
  std::fill(total, total + channels, Moments{});
  walk.for_each_of_channel([=](std::int64_t c, std::int64_t part) { total[c].add(parts[part]); });
  for (std::int64_t c = 0; c < channels; ++c) {
    mean[c] = total[c].mean;
    var[c] = total[c].count > 0 ? total[c].squares / total[c].count : 0;
  }
}

template <class T>
void of_rows(OneRow, std::int64_t d, double* mean, double* var, const T* x) {
  const Moments row = moments_of_row(x, d);
  *mean = row.mean;
  *var = row.squares / static_cast<double>(d);
}

template <class T>
void of_rows(ShortRows rows, std::int64_t d, double* mean, double* var, const T* x) {
  const ShortMoments moments = moments_of(rows, x, d);
  for (int k = 0; k < rows.count; ++k) {
    mean[k] = moments.mean[k];
    var[k] = moments.squares[k] / static_cast<double>(d);
  }
}

template <class T>
void statistics(const Channels& shape, double* mean, double* var, const T* x, const bool* mask) {
  if (shape.n == 1 && ShortRows::fit(shape.inner) && mask == nullptr) {  // channels are rows
    for_rows({shape.channels, shape.inner}, [=, d = shape.inner](std::int64_t r, auto rows) {
      of_rows(rows, d, mean + r, var + r, x + r * d);
    });
  } else if (are_columns(shape, mask != nullptr)) {
    const Columns columns(shape, mask != nullptr);
    Scratch<Moments> parts(columns.bands() * columns.width);
    of_columns(columns, parts.data(), x, mask);
    combine(columns, shape.channels, parts.data(), mean, var);
  } else {
    const Planes planes(shape);
    Scratch<Moments> parts(planes.pieces());
    of_planes(planes, parts.data(), x, mask);
    combine(planes, shape.channels, parts.data(), mean, var);
  }
}

}  // namespace

bool CpuBackend::batch_statistics(View mean, View var, View x, View mask) {
  for_float(x.dtype, "batch_statistics", [&]<class T>() {
    if (x.numel() == 0) {
      std::fill_n(pointer<double>(mean), x.shape[1], 0.0);
      std::fill_n(pointer<double>(var), x.shape[1], 0.0);
      return;
    }
    statistics<T>(channels_of(x), pointer<double>(mean), pointer<double>(var), pointer<T>(x),
                  pointer<bool>(mask));
  });
  return true;
}

}  // namespace norma
