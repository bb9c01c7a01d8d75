// Convolution, an image's block at a time, where depthwise.h and direct_convolution.h do not take it: what
// the window sees is unfolded into memory that stays in a core's cache, and multiplied there.
//   y [filters, places] = weight [filters, rows] columns [rows, places] + bias
//   dx = fold(weight^T dy),  rows = channels / groups * taps
// Contiguous views. Blocks follow from the shapes alone. y: parallel over images, groups and blocks of rows
// of places. dx: over images, groups and blocks of channels, whose planes are folded by one task each.
#include <algorithm>

#include "backends/cpu/blas.h"
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/depthwise.h"
#include "backends/cpu/direct_convolution.h"
#include "backends/cpu/scratch.h"
#include "backends/cpu/windows.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {
namespace {

constexpr std::int64_t block_values = 1 << 17;  // of columns at a time: 512 KiB of f32
constexpr std::int64_t most_places = 256;       // of a block
constexpr std::int64_t widest = 1024;           // places of a row, which no block cuts
constexpr double task_work = 1e6;               // multiply-adds of a task, about
constexpr std::int64_t unfolding = 32;          // multiply-adds that unfolding or folding a value is worth

/// Extents, and where the operands of one image and group lie.
struct Layout {
  Planes planes;
  std::int64_t images, groups, channels, filters, rows;  // channels and filters: of a group
  bool pointwise;                                        // the columns are x itself

  Layout(const View& x, const View& weight, const Window& w, std::int64_t groups_)
      : planes(x, w),
        images(x.shape[0]),
        groups(groups_),
        channels(weight.shape[1]),
        filters(weight.shape[0] / groups_),
        rows(weight.shape[1] * planes.taps()),
        pointwise(planes.taps() == 1 && planes.places() == planes.size() && w.padding[0] == 0 &&
                  w.padding[1] == 0) {
    check_extents({filters, planes.places(), rows});
  }
  std::int64_t places() const { return planes.places(); }
  /// Enough tasks for some threads; rows of places that are too long to be a block, and fewer tasks, are left
  /// to products of whole images.
  bool has_blocks() const { return planes.columns <= widest && images * groups * blocks() >= 4; }
  /// Rows of places of a block: fewer places make thin products, more leave the cache.
  std::int64_t height() const {
    const std::int64_t most = std::clamp(block_values / rows, most_places / 2, most_places);
    return std::clamp<std::int64_t>(most / planes.columns, 1, planes.rows);
  }
  std::int64_t blocks() const { return (planes.rows + height() - 1) / height(); }
  PlaceRows block(std::int64_t which) const {
    return {which * height(), std::min(planes.rows, (which + 1) * height())};
  }
  // Of image and group number `entry`, groups inside.
  std::int64_t x_of(std::int64_t entry) const { return entry * channels * planes.size(); }
  std::int64_t y_of(std::int64_t entry) const { return entry * filters * places(); }
  std::int64_t weight_of(std::int64_t entry) const { return entry % groups * filters * rows; }
  /// Tasks of so many multiply-adds that make one block of a parallel loop.
  static std::int64_t tasks(double work) {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(task_work / (work + 100)));
  }
};

/// The columns [rows, places] of a block of rows of places, from the image and group at x.
template <class T>
Matrix<const T> columns_of(const Layout& l, const PlaceRows& which, T* memory, const T* x) {
  const std::int64_t length = (which.last - which.first) * l.planes.columns;
  if (l.pointwise) return {x + which.first * l.planes.columns, l.places()};
  for (std::int64_t channel = 0; channel < l.channels; ++channel)
    unfold_plane(l.planes, which, memory + channel * l.planes.taps() * length, x + channel * l.planes.size());
  return {memory, length};
}

/// Values of memory that columns_of takes.
std::int64_t room(const Layout& l) { return l.pointwise ? 1 : l.rows * l.height() * l.planes.columns; }

template <class T>
void convolve(const Layout& l, T* y, const T* x, const T* weight, const T* bias) {
  const std::int64_t blocks = l.blocks();
  const double work =
      static_cast<double>((l.filters + unfolding) * l.rows) * static_cast<double>(l.places() / blocks);
  parallel_for(l.images * l.groups * blocks, Layout::tasks(work), [&](std::int64_t begin, std::int64_t end) {
    const SerialBlas serial;
    Scratch<T> memory(room(l));
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t entry = task / blocks;
      const PlaceRows which = l.block(task % blocks);
      const std::int64_t length = (which.last - which.first) * l.planes.columns;
      const Matrix<T> c{y + l.y_of(entry) + which.first * l.planes.columns, l.places()};
      for (std::int64_t f = 0; bias != nullptr && f < l.filters; ++f)
        std::fill_n(c.data + f * c.leading, length, bias[entry % l.groups * l.filters + f]);
      gemm<T>(l.filters, length, l.rows, 1, {weight + l.weight_of(entry), l.rows},
              columns_of(l, which, memory.data(), x + l.x_of(entry)), bias != nullptr ? 1 : 0, c);
    }
  });
}

template <class T>
void input_gradient(const Layout& l, T* dx, const T* dy, const T* weight) {
  const std::int64_t taps = l.planes.taps(), each = taps * l.places();  // columns of a channel
  const double work_of_channel = static_cast<double>(l.filters + unfolding) * static_cast<double>(each);
  const std::int64_t most = std::clamp<std::int64_t>(block_values / each, 1, l.channels);
  const std::int64_t blocks = (l.channels + most - 1) / most, width = (l.channels + blocks - 1) / blocks;
  parallel_for(l.images * l.groups * blocks, Layout::tasks(work_of_channel * static_cast<double>(width)),
               [&](std::int64_t begin, std::int64_t end) {
                 const SerialBlas serial;
                 Scratch<T> memory(l.pointwise ? 1 : width * each);
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t entry = task / blocks, first = task % blocks * width;
                   const std::int64_t count = std::min(width, l.channels - first);
                   if (count <= 0) continue;
                   T* const planes = dx + l.x_of(entry) + first * l.planes.size();
                   T* const columns = l.pointwise ? planes : memory.data();
                   gemm<T>(count * taps, l.places(), l.filters, 1,
                           {weight + l.weight_of(entry) + first * taps, l.rows, true},
                           {dy + l.y_of(entry), l.places()}, 0, {columns, l.places()});
                   for (std::int64_t c = 0; !l.pointwise && c < count; ++c)
                     fold_plane(l.planes, planes + c * l.planes.size(), columns + c * each);
                 }
               });
}

}  // namespace

bool CpuBackend::convolution(View y, View x, View weight, View bias, const Window& window,
                             std::int64_t groups) {
  if (y.numel() == 0 || weight.numel() == 0) return false;
  if (is_depthwise(x, weight, window, groups)) {
    depthwise(y, x, weight, bias, window, groups);
    return true;
  }
  if (is_direct(x, weight, window, groups)) {
    direct_convolution(y, x, weight, bias, window, groups);
    return true;
  }
  if (!Layout(x, weight, window, groups).has_blocks()) return false;
  for_float(x.dtype, "conv2d", [&]<class T>() {
    convolve<T>(Layout(x, weight, window, groups), pointer<T>(y), pointer<T>(x), pointer<T>(weight),
                bias.data == nullptr ? nullptr : pointer<T>(bias));
  });
  return true;
}

bool CpuBackend::convolution_input_gradient(View dx, View dy, View weight, const Window& window,
                                            std::int64_t groups) {
  if (dy.numel() == 0 || weight.numel() == 0) return false;
  if (is_depthwise(dx, weight, window, groups) && depthwise_input_gradient(dx, dy, weight, window, groups))
    return true;
  if (is_direct(dx, weight, window, groups) && direct_input_gradient(dx, dy, weight, window, groups))
    return true;
  if (!Layout(dx, weight, window, groups).has_blocks()) return false;
  // A plane is one task's: its columns must fit, and there must be tasks enough.
  if (dx.shape[0] * groups < 4 ||
      weight.shape[2] * weight.shape[3] * dy.shape[2] * dy.shape[3] > block_values)
    return false;
  for_float(dx.dtype, "conv2d", [&]<class T>() {
    input_gradient<T>(Layout(dx, weight, window, groups), pointer<T>(dx), pointer<T>(dy), pointer<T>(weight));
  });
  return true;
}

bool CpuBackend::convolution_weight_gradient(View dweight, View dy, View x, const Window& window,
                                             std::int64_t groups) {
  if (dy.numel() == 0 || dweight.numel() == 0) return false;
  if (is_depthwise(x, dweight, window, groups)) {
    depthwise_weight_gradient(dweight, dy, x, window, groups);
  } else if (is_direct(x, dweight, window, groups)) {
    direct_weight_gradient(dweight, dy, x, window, groups);
  } else {
    return false;
  }
  return true;
}

}  // namespace norma
