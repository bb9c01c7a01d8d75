// y = (x - mean) * rstd * weight + bias for each channel, 0 where the mask is false (Ioffe & Szegedy 2015,
// arXiv:1502.03167).  x, y: [n, channels, inner]  mean, rstd: f64 [channels]  weight, bias: [channels]  mask:
// [n, inner].  One pass over memory.
//
// Backward, with x_hat = (x - mean) * rstd, m the number of values of a channel, sums over the counted:
//   dbias = sum(dy),  dweight = sum(dy * x_hat)
//   dx = weight * rstd * (dy - dbias / m - x_hat * dweight / m), without the last two terms for constant
//   statistics.
// Two passes: the sums of a channel, then dx.
#include "backends/cpu/channels.h"
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/moments.h"

namespace norma {

namespace {

/// Coefficients of a channel; mean in two parts of T (see Centre). y = centred * scale + shift.
template <class T>
struct Line {
  Centre<T> centre{0};
  T scale = 0, shift = 0;
};

/// dx = (dy - first - x_hat * second) * slope
template <class T>
struct Slope {
  Centre<T> centre{0};
  T rstd = 0, slope = 0, first = 0, second = 0;
};

template <class T>
void forward_planes(const Planes& planes, T* y, const T* x, const bool* mask, const Line<T>* lines) {
  const Channels& shape = planes.x;
  planes.for_each_piece(
      [=](std::int64_t, std::int64_t i, std::int64_t c, std::int64_t begin, std::int64_t end) {
        const std::int64_t start = (i * shape.channels + c) * shape.inner + begin, d = end - begin;
        const T* from = x + start;
        T* to = y + start;
        const Line<T> line = lines[c];
        if (mask == nullptr) {
          for (std::int64_t k = 0; k < d; ++k) to[k] = line.centre(from[k]) * line.scale + line.shift;
        } else {
          const bool* counts = mask + i * shape.inner + begin;
#pragma omp simd
          for (std::int64_t k = 0; k < d; ++k) {
            const T value = line.centre(from[k]) * line.scale + line.shift;
            to[k] = counts[k] ? value : T(0);
          }
        }
      });
}

template <class T>
void forward_columns(const Columns& columns, T* y, const T* x, const bool* mask, const Line<T>* lines) {
  columns.for_each_tile([=](std::int64_t, std::int64_t first_row, std::int64_t last_row, std::int64_t first,
                            std::int64_t count) {
    T high[Columns::tile], low[Columns::tile], scale[Columns::tile], shift[Columns::tile];
    for (std::int64_t j = 0; j < count; ++j) {
      const Line<T>& line = lines[columns.channel_of(first + j)];
      high[j] = line.centre.high, low[j] = line.centre.low;
      scale[j] = line.scale, shift[j] = line.shift;
    }
    for (std::int64_t r = first_row; r < last_row; ++r) {
      const T* from = x + r * columns.width + first;
      T* to = y + r * columns.width + first;
      const std::int64_t extent = columns.extent(r, first, count);
      if (mask != nullptr && !mask[r]) {
        std::fill_n(to, extent, T(0));
        continue;
      }
      for (std::int64_t j = 0; j < extent; ++j) to[j] = ((from[j] - high[j]) - low[j]) * scale[j] + shift[j];
    }
  });
}

template <class T>
void sum_planes(const Planes& planes, Sums* parts, const T* dy, const T* x, const bool* mask,
                const Slope<T>* slopes) {
  const Channels& shape = planes.x;
  planes.for_each_piece(
      [=](std::int64_t piece, std::int64_t i, std::int64_t c, std::int64_t begin, std::int64_t end) {
        const std::int64_t start = (i * shape.channels + c) * shape.inner + begin, d = end - begin;
        const T *gradient = dy + start, *from = x + start;
        const Centre<T> centre = slopes[c].centre;
        const T rstd = slopes[c].rstd;
        std::array<double, 2> sums;
        if (mask == nullptr) {
          sums = block_sums<T, 2>(d, [=](std::int64_t k, auto sum) {
            sum(0) += gradient[k];
            sum(1) += gradient[k] * (centre(from[k]) * rstd);
          });
        } else {
          const bool* counts = mask + i * shape.inner + begin;
          sums = block_sums<T, 2>(d, [=](std::int64_t k, auto sum) {
            sum(0) += counts[k] ? gradient[k] : T(0);
            sum(1) += counts[k] ? gradient[k] * (centre(from[k]) * rstd) : T(0);
          });
        }
        parts[piece] = {sums[0], sums[1]};
      });
}

template <class T>
void sum_columns(const Columns& columns, Sums* parts, const T* dy, const T* x, const bool* mask,
                 const Slope<T>* slopes) {
  columns.for_each_tile([=](std::int64_t band, std::int64_t first_row, std::int64_t last_row,
                            std::int64_t first, std::int64_t count) {
    T high[Columns::tile], low[Columns::tile], rstd[Columns::tile];
    double sum[Columns::tile] = {}, product[Columns::tile] = {};
    for (std::int64_t j = 0; j < count; ++j) {
      const Slope<T>& slope = slopes[columns.channel_of(first + j)];
      high[j] = slope.centre.high, low[j] = slope.centre.low, rstd[j] = slope.rstd;
    }
    for (std::int64_t r = first_row; r < last_row; ++r) {
      if (mask != nullptr && !mask[r]) continue;
      const T *gradient = dy + r * columns.width + first, *from = x + r * columns.width + first;
      const std::int64_t extent = columns.extent(r, first, count);
      for (std::int64_t j = 0; j < extent; ++j) {
        sum[j] += static_cast<double>(gradient[j]);
        product[j] += static_cast<double>(gradient[j] * (((from[j] - high[j]) - low[j]) * rstd[j]));
      }
    }
    Sums* to = parts + band * columns.width + first;
    for (std::int64_t j = 0; j < count; ++j) to[j] = {sum[j], product[j]};
  });
}

template <class T>
void input_planes(const Planes& planes, T* dx, const T* dy, const T* x, const bool* mask,
                  const Slope<T>* slopes) {
  const Channels& shape = planes.x;
  planes.for_each_piece(
      [=](std::int64_t, std::int64_t i, std::int64_t c, std::int64_t begin, std::int64_t end) {
        const std::int64_t start = (i * shape.channels + c) * shape.inner + begin, d = end - begin;
        const T *gradient = dy + start, *from = x + start;
        T* to = dx + start;
        const Slope<T> s = slopes[c];
        const auto value = [=](std::int64_t k) {
          return (gradient[k] - s.first - s.centre(from[k]) * s.rstd * s.second) * s.slope;
        };
        if (mask == nullptr) {
          for (std::int64_t k = 0; k < d; ++k) to[k] = value(k);
        } else {
          const bool* counts = mask + i * shape.inner + begin;
#pragma omp simd
          for (std::int64_t k = 0; k < d; ++k) {
            const T gradient_of_x = value(k);
            to[k] = counts[k] ? gradient_of_x : T(0);
          }
        }
      });
}

template <class T>
void input_columns(const Columns& columns, T* dx, const T* dy, const T* x, const bool* mask,
                   const Slope<T>* slopes) {
  columns.for_each_tile([=](std::int64_t, std::int64_t first_row, std::int64_t last_row, std::int64_t first,
                            std::int64_t count) {
    constexpr std::int64_t tile = Columns::tile;
    T high[tile], low[tile], second[tile], constant[tile], slope[tile];
    for (std::int64_t j = 0; j < count; ++j) {
      const Slope<T>& s = slopes[columns.channel_of(first + j)];
      high[j] = s.centre.high, low[j] = s.centre.low;
      second[j] = s.rstd * s.second, constant[j] = s.first, slope[j] = s.slope;
    }
    for (std::int64_t r = first_row; r < last_row; ++r) {
      const std::int64_t start = r * columns.width + first, extent = columns.extent(r, first, count);
      const T *gradient = dy + start, *from = x + start;
      T* to = dx + start;
      if (mask != nullptr && !mask[r]) {
        std::fill_n(to, extent, T(0));
        continue;
      }
      for (std::int64_t j = 0; j < extent; ++j) {
        to[j] = (gradient[j] - constant[j] - ((from[j] - high[j]) - low[j]) * second[j]) * slope[j];
      }
    }
  });
}

/// The backward pass of one call.
template <class T>
struct Backward {
  Channels shape;
  const T *dy, *x, *weight;
  const bool* mask;
  const double *mean, *rstd;
  bool constant;

  void run(T* dx, T* dweight, T* dbias) const {
    Scratch<Slope<T>> scratch(shape.channels);
    Scratch<Sums> totals(shape.channels);
    Slope<T>* const slopes = scratch.data();
    Sums* const total = totals.data();
    for (std::int64_t c = 0; c < shape.channels; ++c) {
      const double gain = weight == nullptr ? 1 : static_cast<double>(weight[c]);
      slopes[c] = {Centre<T>(mean[c]), static_cast<T>(rstd[c]), static_cast<T>(rstd[c] * gain), 0, 0};
      total[c] = {};
    }
    if (dweight != nullptr || dbias != nullptr || !constant) sum(total, slopes);
    for (std::int64_t c = 0; c < shape.channels; ++c) {
      if (dweight != nullptr) dweight[c] = static_cast<T>(total[c].dy_x_hat);
      if (dbias != nullptr) dbias[c] = static_cast<T>(total[c].dy);
    }
    if (dx == nullptr) return;
    if (!constant) {
      const double m = static_cast<double>(std::max<std::int64_t>(1, counted()));
      for (std::int64_t c = 0; c < shape.channels; ++c) {
        slopes[c].first = static_cast<T>(total[c].dy / m);
        slopes[c].second = static_cast<T>(total[c].dy_x_hat / m);
      }
    }
    if (are_columns(shape, mask != nullptr)) {
      input_columns(Columns(shape, mask != nullptr), dx, dy, x, mask, slopes);
    } else {
      input_planes(Planes(shape), dx, dy, x, mask, slopes);
    }
  }

  /// Values in a channel.
  std::int64_t counted() const {
    return mask == nullptr ? shape.count() : std::count(mask, mask + shape.count(), true);
  }

  void sum(Sums* total, const Slope<T>* slopes) const {
    const auto combine = [total](const auto& walk, const Sums* parts) {
      walk.for_each_of_channel([=](std::int64_t c, std::int64_t part) { total[c].add(parts[part]); });
    };
    if (are_columns(shape, mask != nullptr)) {
      const Columns columns(shape, mask != nullptr);
      Scratch<Sums> parts(columns.bands() * columns.width);
      sum_columns(columns, parts.data(), dy, x, mask, slopes);
      combine(columns, parts.data());
    } else {
      const Planes planes(shape);
      Scratch<Sums> parts(planes.pieces());
      sum_planes(planes, parts.data(), dy, x, mask, slopes);
      combine(planes, parts.data());
    }
  }
};

template <class T>
void forward(const Channels& shape, T* y, const T* x, const bool* mask, const double* mean,
             const double* rstd, const T* weight, const T* bias) {
  Scratch<Line<T>> scratch(shape.channels);
  Line<T>* const lines = scratch.data();
  for (std::int64_t c = 0; c < shape.channels; ++c) {
    const double gain = weight == nullptr ? 1 : static_cast<double>(weight[c]);
    lines[c] = {Centre<T>(mean[c]), static_cast<T>(rstd[c] * gain), bias == nullptr ? T(0) : bias[c]};
  }
  if (are_columns(shape, mask != nullptr)) {
    forward_columns(Columns(shape, mask != nullptr), y, x, mask, lines);
  } else {
    forward_planes(Planes(shape), y, x, mask, lines);
  }
}

}  // namespace

bool CpuBackend::batch_norm(View y, View x, View mask, View mean, View rstd, View weight, View bias) {
  for_float(x.dtype, "batch_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(channels_of(x), pointer<T>(y), pointer<T>(x), pointer<bool>(mask), pointer<double>(mean),
               pointer<double>(rstd), pointer<T>(weight), pointer<T>(bias));
  });
  return true;
}

bool CpuBackend::batch_norm_backward(View dx, View dweight, View dbias, View dy, View x, View mask, View mean,
                                     View rstd, View weight, bool constant) {
  for_float(x.dtype, "batch_norm", [&]<class T>() {
    const Backward<T> backward{
        channels_of(x),      pointer<T>(dy),        pointer<T>(x),         pointer<T>(weight),
        pointer<bool>(mask), pointer<double>(mean), pointer<double>(rstd), constant};
    backward.run(pointer<T>(dx), pointer<T>(dweight), pointer<T>(dbias));
  });
  return true;
}

}  // namespace norma
