// Depthwise convolution, its gradients, and how they go through a plane. A product with unfolded columns
// would have as many rows as a channel has filters, so taps are added up directly:
//   y[p, q] = bias + sum over taps (i, j) of weight[i, j] x[p s + i d, q s + j d]
//   dweight[i, j] = sum over images and places of dy[p, q] x[p s + i d, q s + j d]
//   dx = the same convolution as y's, of dy spread out by the stride, with the taps in reverse order
// s: stride, d: dilation. A plane is laid out in memory that stays in the first cache, with its padding, and
// wide enough for whole vectors. y, dx: parallel over planes; dweight: over channels.
#include "backends/cpu/depthwise.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/lane_vector.h"
#include "backends/cpu/scratch.h"
#include "backends/cpu/windows.h"
#include "backends/elementwise.h"
#include "backends/strided.h"
#include "core/parallel.h"

namespace norma {
namespace {

constexpr std::int64_t lanes = vector_lanes;
constexpr std::int64_t widest = 1024, narrowest = 4;  // places of a row
constexpr std::int64_t farthest = 32;                 // taps, steps
constexpr double task_work = 1e6;                     // multiply-adds of a task, about
constexpr std::int64_t summands = 64;                 // that a lane adds up in T; their sums are added in f64

constexpr std::int64_t whole_vectors(std::int64_t count) { return (count + lanes - 1) / lanes * lanes; }

/// Calls body(0), body(1), .. body(n - 1), the numbers as constants.
template <int n, class Body>
[[gnu::always_inline]] inline void unrolled(const Body& body) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (body(std::integral_constant<int, i>()), ...); }
  (std::make_integer_sequence<int, n>());
}

/// A convolution of planes laid out in memory: value (row, column) of a plane lies at row top + row * spread,
/// column left + column * spread; elsewhere are zeros.
struct Frame {
  std::int64_t height, width, rows, columns;  // extents of a plane; places
  std::int64_t kernel[2], stride[2], dilation[2];
  std::int64_t top, left, spread[2];
  std::int64_t pitch, size;  // from row to row; in all

  /// Of x, for y and dweight.
  Frame(const View& x, const Window& w)
      : Frame(x.shape[2], x.shape[3], w.places(0, x.shape[2]), w.places(1, x.shape[3]), w) {
    top = w.padding[0], left = w.padding[1];
    for (int axis = 0; axis < 2; ++axis) stride[axis] = w.stride[axis], spread[axis] = 1;
    lay_out();
  }
  /// Of dy, for dx.
  Frame(const View& dy, const View& dx, const Window& w)
      : Frame(dy.shape[2], dy.shape[3], dx.shape[2], dx.shape[3], w) {
    top = w.dilation[0] * (w.kernel[0] - 1) - w.padding[0];
    left = w.dilation[1] * (w.kernel[1] - 1) - w.padding[1];
    for (int axis = 0; axis < 2; ++axis) stride[axis] = 1, spread[axis] = w.stride[axis];
    lay_out();
  }
  std::int64_t places() const { return rows * columns; }
  std::int64_t taps() const { return kernel[0] * kernel[1]; }
  /// Multiply-adds for a plane, with what its layout is worth.
  double work() const { return static_cast<double>(places()) * static_cast<double>(taps() + 4); }
  /// Planes that make one block of a parallel loop.
  static std::int64_t block(double work) {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(task_work / (8 * work + 100)));
  }
  /// Rows of places are taken four at a time by filters of 3 x 3, which steps of 1 or 2 move.
  bool is_three_by_three() const {
    return kernel[0] == 3 && kernel[1] == 3 && dilation[0] == 1 && dilation[1] == 1 &&
           stride[0] == stride[1] && stride[0] <= 2;
  }

 private:
  Frame(std::int64_t height_, std::int64_t width_, std::int64_t rows_, std::int64_t columns_, const Window& w)
      : height(height_),
        width(width_),
        rows(rows_),
        columns(columns_),
        kernel{w.kernel[0], w.kernel[1]},
        dilation{w.dilation[0], w.dilation[1]} {}
  void lay_out() {
    pitch = whole_vectors(columns) * stride[1] + dilation[1] * (kernel[1] - 1);
    size = (rows * stride[0] + dilation[0] * (kernel[0] - 1)) * pitch;
  }
};

/// A plane x to where the frame has it; zeros are there already.
template <class T>
void lay_out(const Frame& f, T* memory, const T* x) {
  for (std::int64_t row = 0; row < f.height; ++row) {
    T* const to = memory + (f.top + row * f.spread[0]) * f.pitch + f.left;
    const T* const from = x + row * f.width;
    if (f.spread[1] == 1) {
      copy_row(to, from, f.width);
    } else {
      for (std::int64_t column = 0; column < f.width; ++column) to[column * f.spread[1]] = from[column];
    }
  }
}

/// sums of `count` rows += 3 x 3 taps times what they see, from `corner` on. Each vector of x is read once
/// for all rows of places that see it.
template <int count, class Vector, class T, class Stride>
[[gnu::always_inline]] inline void add_three_by_three(Vector (&sums)[count], const T* corner,
                                                      std::int64_t pitch, const T* taps, Stride stride) {
  constexpr int step = Stride::value;
  unrolled<(count - 1) * step + 3>([&](auto row) {
    unrolled<3>([&](auto j) {
      Vector seen;
      load_strided(seen, corner + row * pitch + j, stride);
      unrolled<count>([&](auto r) {
        constexpr int i = decltype(row)::value - decltype(r)::value * step;
        if constexpr (i >= 0 && i < 3) sums[r] += taps[i * 3 + j] * seen;
      });
    });
  });
}

/// The same for any taps.
template <int count, class Vector, class T, class Stride>
[[gnu::always_inline]] inline void add_taps(Vector (&sums)[count], const T* corner, const Frame& f,
                                            const T* taps, Stride stride) {
  for (std::int64_t i = 0; i < f.kernel[0]; ++i)
    for (std::int64_t j = 0; j < f.kernel[1]; ++j) {
      const T* const from = corner + i * f.dilation[0] * f.pitch + j * f.dilation[1];
      const T tap = taps[i * f.kernel[1] + j];
      unrolled<count>([&](auto r) {
        Vector seen;
        load_strided(seen, from + r * f.stride[0] * f.pitch, stride);
        sums[r] += tap * seen;
      });
    }
}

/// y of one plane, `count` rows at a time; the last of them, and the last vector of a row, begin early enough
/// to end with the plane. Rows shorter than a vector are written in order, each over the end of the one
/// before.
template <int count, class T, class Add>
void filter_rows(const Frame& f, T* y, const T* memory, T start, std::int64_t stride, const Add& add) {
  const std::int64_t last_column = std::max<std::int64_t>(0, f.columns - lanes);
  for (std::int64_t next = 0; next < f.rows; next += count) {
    const std::int64_t row = std::min(next, f.rows - count);
    for (std::int64_t following = 0; following < f.columns; following += lanes) {
      const std::int64_t first = std::min(following, last_column);
      LaneVector<T> sums[count];
      unrolled<count>([&](auto r) { sums[r] = start; });
      add(sums, memory + row * f.stride[0] * f.pitch + first * stride);
      unrolled<count>([&](auto r) {
        T* const to = y + (row + r) * f.columns + first;
        if (to + lanes <= y + f.places()) {
          store(to, sums[r]);
        } else {
          T values[lanes];
          store(values, sums[r]);
          copy_row(to, values, f.columns);
        }
      });
    }
  }
}

template <int count, class T>
void filter_plane(const Frame& f, T* y, const T* memory, const T* taps, T start) {
  with_stride(f.stride[1], [&](auto stride) {
    if constexpr (!std::is_same_v<decltype(stride), std::int64_t>) {
      if (f.is_three_by_three()) {
        T own[9];  // which nothing that is written can change
        std::copy_n(taps, 9, own);
        filter_rows<count>(f, y, memory, start, stride, [&](auto& sums, const T* corner) {
          add_three_by_three(sums, corner, f.pitch, own, stride);
        });
        return;
      }
    }
    filter_rows<count>(f, y, memory, start, stride,
                       [&](auto& sums, const T* corner) { add_taps(sums, corner, f, taps, stride); });
  });
}

/// Filters [channels, filters, taps] over planes x [images, channels, ..].
template <class T>
void filter_planes(const Frame& f, std::int64_t images, std::int64_t channels, std::int64_t filters, T* y,
                   const T* x, const T* weight, const T* bias) {
  parallel_for(images * channels, Frame::block(static_cast<double>(filters) * f.work()),
               [&](std::int64_t begin, std::int64_t end) {
                 Scratch<T> memory(f.size);
                 std::fill_n(memory.data(), f.size, T(0));
                 for (std::int64_t plane = begin; plane < end; ++plane) {
                   lay_out(f, memory.data(), x + plane * f.height * f.width);
                   for (std::int64_t filter = 0; filter < filters; ++filter) {
                     const std::int64_t which = plane % channels * filters + filter;
                     (f.rows >= 4 ? filter_plane<4, T>
                                  : filter_plane<1, T>)(f, y + (plane * filters + filter) * f.places(),
                                                        memory.data(), weight + which * f.taps(),
                                                        bias == nullptr ? T(0) : bias[which]);
                   }
                 }
               });
}

/// totals[i, j, lanes] += sums over the places of a plane, lane by lane, of dy[p, q] x[p s + i d, q s + j d]:
/// the taps of a patch of `high` x `wide`, whose corner at place (0, 0) is x. dy lies in rows of whole
/// vectors, zeros beyond the columns. Where a patch is high, a vector of x is read once for all rows of
/// places that see it.
template <int high, int wide, class T, class Stride>
void correlate(const Frame& f, double* totals, const T* dy, const T* x, Stride stride) {
  const std::int64_t dy_pitch = whole_vectors(f.columns);
  const std::int64_t band = std::max<std::int64_t>(4, summands * lanes / dy_pitch / 4 * 4);
  LaneVector<T> sums[high * wide];
  const auto add_rows = [&]<int count>(std::integral_constant<int, count>, std::int64_t row) {
    for (std::int64_t first = 0; first < f.columns; first += lanes) {
      const T* const corner = x + row * f.stride[0] * f.pitch + first * stride;
      LaneVector<T> given[count];
      unrolled<count>([&](auto r) { load(given[r], dy + (row + r) * dy_pitch + first); });
      if constexpr (high == 1) {
        unrolled<count>([&](auto r) {
          unrolled<wide>([&](auto j) {
            LaneVector<T> seen;
            load_strided(seen, corner + r * f.stride[0] * f.pitch + j * f.dilation[1], stride);
            sums[j] += given[r] * seen;
          });
        });
      } else {
        constexpr int step = Stride::value;
        unrolled<(count - 1) * step + high>([&](auto at) {
          unrolled<wide>([&](auto j) {
            LaneVector<T> seen;
            load_strided(seen, corner + at * f.pitch + j, stride);
            unrolled<count>([&](auto r) {
              constexpr int i = decltype(at)::value - decltype(r)::value * step;
              if constexpr (i >= 0 && i < high) sums[i * wide + j] += given[r] * seen;
            });
          });
        });
      }
    }
  };
  for (std::int64_t begin = 0; begin < f.rows; begin += band) {
    const std::int64_t end = std::min(f.rows, begin + band);
    std::int64_t row = begin;
    unrolled<high * wide>([&](auto tap) { sums[tap] = LaneVector<T>{}; });
    for (; row + 4 <= end; row += 4) add_rows(std::integral_constant<int, 4>(), row);
    for (; row < end; ++row) add_rows(std::integral_constant<int, 1>(), row);
    for (int tap = 0; tap < high * wide; ++tap) {
      LaneVector<double> total;
      load(total, totals + tap * lanes);
      total += widened(sums[tap]);
      store(totals + tap * lanes, total);
    }
  }
}

/// The same for all taps: 3 x 3 at a time, or row by row by up to four.
template <class T>
void correlate_plane(const Frame& f, double* totals, const T* dy, const T* x) {
  with_stride(f.stride[1], [&](auto stride) {
    if constexpr (!std::is_same_v<decltype(stride), std::int64_t>)
      if (f.is_three_by_three()) return correlate<3, 3>(f, totals, dy, x, stride);
    for (std::int64_t i = 0; i < f.kernel[0]; ++i)
      for (std::int64_t j = 0, count; j < f.kernel[1]; j += count) {
        const std::int64_t left = f.kernel[1] - j;
        const auto patch = [&]<int wide>(std::integral_constant<int, wide>) {
          correlate<1, wide>(f, totals + (i * f.kernel[1] + j) * lanes, dy,
                             x + i * f.dilation[0] * f.pitch + j * f.dilation[1], stride);
          return wide;
        };
        count = left == 4 || left > 6 ? patch(std::integral_constant<int, 4>())
                : left >= 3           ? patch(std::integral_constant<int, 3>())
                : left == 2           ? patch(std::integral_constant<int, 2>())
                                      : patch(std::integral_constant<int, 1>());
      }
  });
}

/// The same place by place. Behind the last place of a row the vectors above multiply zeros by values of x,
/// which gives NaN where these are not finite.
template <class T>
void correlate_exactly(const Frame& f, double* totals, const T* dy, const T* x) {
  const std::int64_t dy_pitch = whole_vectors(f.columns);
  for (std::int64_t tap = 0; tap < f.taps(); ++tap) {
    const T* const corner =
        x + tap / f.kernel[1] * f.dilation[0] * f.pitch + tap % f.kernel[1] * f.dilation[1];
    for (std::int64_t row = 0; row < f.rows; ++row)
      for (std::int64_t column = 0; column < f.columns; ++column)
        totals[tap * lanes] += double(dy[row * dy_pitch + column]) *
                               double(corner[row * f.stride[0] * f.pitch + column * f.stride[1]]);
  }
}

template <class T>
bool all_finite(std::int64_t n, const T* x) {
  T zeros = 0;  // 0 times infinity or NaN is NaN
#pragma omp simd reduction(+ : zeros)
  for (std::int64_t i = 0; i < n; ++i) zeros += T(0) * x[i];
  return zeros == 0;
}

/// dweight [channels, filters, taps] of planes x [images, channels, ..], dy [images, channels, filters, ..].
template <class T>
void correlate_planes(const Frame& f, std::int64_t images, std::int64_t channels, std::int64_t filters,
                      T* dweight, const T* dy, const T* x) {
  const std::int64_t dy_pitch = whole_vectors(f.columns), dy_size = f.rows * dy_pitch;
  const double work = static_cast<double>(images * filters) * f.work();
  parallel_for(channels, Frame::block(work), [&](std::int64_t begin, std::int64_t end) {
    Scratch<T> memory(f.size + dy_size);
    Scratch<double> totals(filters * f.taps() * lanes);
    std::fill_n(memory.data(), f.size + dy_size, T(0));
    T* const given = memory.data() + f.size;
    for (std::int64_t channel = begin; channel < end; ++channel) {
      std::fill_n(totals.data(), filters * f.taps() * lanes, 0.0);
      for (std::int64_t image = 0; image < images; ++image) {
        const std::int64_t plane = image * channels + channel;
        lay_out(f, memory.data(), x + plane * f.height * f.width);
        const auto correlate_with =
            all_finite(f.size, memory.data()) ? correlate_plane<T> : correlate_exactly<T>;
        for (std::int64_t filter = 0; filter < filters; ++filter) {
          const T* const rows = dy + (plane * filters + filter) * f.places();
          for (std::int64_t row = 0; row < f.rows; ++row)
            copy_row(given + row * dy_pitch, rows + row * f.columns, f.columns);
          correlate_with(f, totals.data() + filter * f.taps() * lanes, given, memory.data());
        }
      }
      for (std::int64_t tap = 0; tap < filters * f.taps(); ++tap) {
        LaneVector<double> total;
        load(total, totals.data() + tap * lanes);
        dweight[channel * filters * f.taps() + tap] = static_cast<T>(sum_of(total));
      }
    }
  });
}

}  // namespace

bool is_depthwise(const View& x, const View& weight, const Window& w, std::int64_t groups) {
  for (int axis = 0; axis < 2; ++axis)
    if (w.dilation[axis] > farthest || w.kernel[axis] > farthest || w.stride[axis] > farthest ||
        w.padding[axis] > w.dilation[axis] * w.kernel[axis])
      return false;
  const std::int64_t columns = w.places(1, x.shape[3]);
  return groups > 1 && weight.shape[1] == 1 && weight.shape[0] <= 2 * groups && columns >= narrowest &&
         columns <= widest;
}

void depthwise(View y, View x, View weight, View bias, const Window& window, std::int64_t groups) {
  for_float(x.dtype, "conv2d", [&]<class T>() {
    filter_planes<T>(Frame(x, window), x.shape[0], groups, weight.shape[0] / groups, pointer<T>(y),
                     pointer<T>(x), pointer<T>(weight), bias.data == nullptr ? nullptr : pointer<T>(bias));
  });
}

bool depthwise_input_gradient(View dx, View dy, View weight, const Window& w, std::int64_t groups) {
  for (int axis = 0; axis < 2; ++axis)
    if (w.padding[axis] > w.dilation[axis] * (w.kernel[axis] - 1) || w.stride[axis] > 2) return false;
  if (weight.shape[0] != groups || dx.shape[3] < narrowest || dx.shape[3] > widest) return false;
  return for_float(dx.dtype, "conv2d", [&]<class T>() {
    const Frame f(dy, dx, w);
    const T* const taps = pointer<T>(weight);
    // Zeros between the values of dy, and around them, take no part in dx: times infinity they would.
    if (!std::all_of(taps, taps + groups * f.taps(), [](T tap) { return std::isfinite(tap); })) return false;
    Scratch<T> reversed(groups * f.taps());
    for (std::int64_t group = 0; group < groups; ++group)
      std::reverse_copy(taps + group * f.taps(), taps + (group + 1) * f.taps(),
                        reversed.data() + group * f.taps());
    filter_planes<T>(f, dx.shape[0], groups, 1, pointer<T>(dx), pointer<T>(dy), reversed.data(), nullptr);
    return true;
  });
}

void depthwise_weight_gradient(View dweight, View dy, View x, const Window& w, std::int64_t groups) {
  for_float(x.dtype, "conv2d", [&]<class T>() {
    correlate_planes<T>(Frame(x, w), x.shape[0], groups, dweight.shape[0] / groups, pointer<T>(dweight),
                        pointer<T>(dy), pointer<T>(x));
  });
}

}  // namespace norma
