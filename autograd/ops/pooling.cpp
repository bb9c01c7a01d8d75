// Pooling: composites of unfold and reductions over the taps of the window.
#include <algorithm>
#include <limits>

#include "autograd/convolution.h"
#include "autograd/ops/internal.h"

namespace norma {
namespace {

constexpr std::int64_t along(const Size2d& size, int axis) { return axis == 0 ? size.height : size.width; }

/// Where the windows of a pool lie. beyond: entries after the padding on the right that ceil_mode adds.
struct Pool {
  Window window;
  std::int64_t places[2], beyond[2];

  Pool(const char* op, const Tensor& x, int spatial, Size2d kernel, Size2d stride, Size2d padding,
       Size2d dilation, bool ceil_mode) {
    detail::check_planes(op, x, spatial);
    for (int axis = 0; axis < 2; ++axis) {
      const std::int64_t step = along(stride, axis);
      window.kernel[axis] = along(kernel, axis);
      window.stride[axis] = step == 0 ? window.kernel[axis] : step;
      window.padding[axis] = along(padding, axis);
      window.dilation[axis] = along(dilation, axis);
    }
    detail::check_window(op, window, x.shape(), spatial);
    for (int axis = 2 - spatial; axis < 2; ++axis) {
      NORMA_CHECK(2 * window.padding[axis] <= window.kernel[axis], op,
                  ": padding must be at most half the kernel ", window.kernel[axis], ", got ",
                  window.padding[axis], " for axis ", axis - 2);
    }
    for (int axis = 0; axis < 2; ++axis) {
      const std::int64_t extent = axis == 0 && spatial == 1 ? 1 : x.size(axis - 2);
      places[axis] = window.places(axis, extent);
      const std::int64_t start = places[axis] * window.stride[axis];  // of one window more
      if (ceil_mode && start < extent + window.padding[axis] && !ends_at_last_place(axis, extent))
        ++places[axis];
      beyond[axis] = std::max<std::int64_t>(0, end_of_last(axis) - (extent + 2 * window.padding[axis]));
    }
  }

  std::int64_t span(int axis) const { return window.dilation[axis] * (window.kernel[axis] - 1) + 1; }
  std::int64_t end_of_last(int axis) const { return (places[axis] - 1) * window.stride[axis] + span(axis); }
  bool ends_at_last_place(int axis, std::int64_t extent) const {
    return (extent + 2 * window.padding[axis] - span(axis)) % window.stride[axis] == 0;
  }
  /// What the windows see in x [n, c, h, w]: [n, c, taps, places]. Padding holds `value`.
  Tensor columns(const Tensor& x, double value) const {
    Window bare = window;
    std::vector<std::int64_t> amounts;
    for (const int axis : {1, 0}) {
      amounts.push_back(window.padding[axis]), amounts.push_back(window.padding[axis] + beyond[axis]);
      bare.padding[axis] = 0;
    }
    const bool none = std::all_of(amounts.begin(), amounts.end(), [](std::int64_t n) { return n == 0; });
    return unfold(none ? x : pad(x, amounts, value), bare)
        .reshape({x.size(0), x.size(1), window.kernel[0] * window.kernel[1], places[0] * places[1]});
  }
  /// [n, c, places] as [n, c, rows of places, columns of places].
  Tensor in_rows(const Tensor& y) const { return y.reshape({y.size(0), y.size(1), places[0], places[1]}); }
  /// Entries of the window at a place of an axis that count in a mean.
  std::int64_t counted(int axis, std::int64_t place, std::int64_t extent, bool include_pad) const {
    const std::int64_t start = place * window.stride[axis] - window.padding[axis];
    const std::int64_t end = std::min(start + window.kernel[axis], extent + window.padding[axis]);
    return include_pad ? end - start : std::min(end, extent) - std::max<std::int64_t>(start, 0);
  }
  /// Entries that count in the mean of each window: [places].
  Tensor counts(const Tensor& x, bool include_pad) const {
    std::vector<double> all;
    for (std::int64_t row = 0; row < places[0]; ++row) {
      for (std::int64_t column = 0; column < places[1]; ++column) {
        all.push_back(static_cast<double>(counted(0, row, x.size(2), include_pad) *
                                          counted(1, column, x.size(3), include_pad)));
      }
    }
    return tensor(all, {places[0] * places[1]}).to(x.dtype()).to(x.device());
  }
};

Tensor max_pool(const Tensor& x, int spatial, const Pool& pool) {
  const Tensor columns =
      pool.columns(detail::as_planes(x, spatial), -std::numeric_limits<double>::infinity());
  return detail::from_planes(pool.in_rows(columns.max(2).first), x.dim(), spatial);
}

Tensor avg_pool(const Tensor& x, int spatial, const Pool& pool, bool include_pad) {
  const Tensor planes = detail::as_planes(x, spatial);
  const Tensor y = pool.columns(planes, 0).sum(2) / pool.counts(planes, include_pad);
  return detail::from_planes(pool.in_rows(y), x.dim(), spatial);
}

/// An axis of x cut into bins (adaptive pooling): it becomes [bins, longest bin]. Shorter bins repeat their
/// last entry.
struct Bins {
  Tensor values;
  std::vector<double> lengths;
  std::int64_t longest = 0;

  Bins(const Tensor& x, int axis, std::int64_t bins) {
    const std::int64_t extent = x.size(axis);
    const auto start = [&](std::int64_t bin) { return bin * extent / bins; };
    const auto end = [&](std::int64_t bin) { return ((bin + 1) * extent + bins - 1) / bins; };
    for (std::int64_t bin = 0; bin < bins; ++bin) {
      longest = std::max(longest, end(bin) - start(bin));
      lengths.push_back(static_cast<double>(end(bin) - start(bin)));
    }
    if (extent % bins == 0) {
      values = x.unflatten(axis, {bins, longest});
      return;
    }
    std::vector<std::int64_t> index;
    for (std::int64_t bin = 0; bin < bins; ++bin) {
      for (std::int64_t i = 0; i < longest; ++i) index.push_back(std::min(start(bin) + i, end(bin) - 1));
    }
    values =
        x.index_select(axis, tensor(index, {bins * longest}, x.device())).unflatten(axis, {bins, longest});
  }
};

Tensor mean_of_bins(const Tensor& x, int axis, std::int64_t bins) {
  const Bins cut(x, axis, bins);
  if (x.size(axis) % bins == 0) return cut.values.mean(axis + 1);
  // Repeated entries are taken out, not weighted by zero: they may be infinite.
  std::vector<std::int64_t> extents(static_cast<std::size_t>(x.dim() - axis), 1);
  extents[0] = bins;
  const Tensor lengths = tensor(cut.lengths, {bins}).to(x.dtype()).to(x.device()).reshape(extents);
  const Tensor place = arange(0, static_cast<double>(cut.longest), 1, x.dtype(), x.device());
  extents.insert(extents.begin() + 1, 1);
  std::vector<std::int64_t> across(extents.size(), 1);
  across[1] = cut.longest;
  const Tensor repeated = place.reshape(across) >= lengths.reshape(extents);
  return cut.values.masked_fill(repeated, 0).sum(axis + 1) / lengths;
}

Tensor max_of_bins(const Tensor& x, int axis, std::int64_t bins) {
  return Bins(x, axis, bins).values.max(axis + 1).first;
}

void check_bins(const char* op, const Tensor& x, int spatial, Size2d output_size) {
  detail::check_planes(op, x, spatial);
  for (int axis = 1; axis >= 2 - spatial; --axis) {
    const std::int64_t bins = along(output_size, axis);
    NORMA_CHECK(bins >= 1, op, ": output_size must be at least 1, got ", bins, " for axis ", axis - 2);
    NORMA_CHECK(x.size(axis - 2) >= 1, op, ": axis ", axis - 2, " of x is empty, got shape ", x.shape());
  }
}

/// Width first: the first of equal maxima is then the first in reading order.
template <class Pooling>
Tensor adaptive_pool(const char* op, const Tensor& x, int spatial, Size2d output_size, Pooling pooling) {
  check_bins(op, x, spatial, output_size);
  Tensor y = x;
  for (int axis = 1; axis >= 2 - spatial; --axis)
    y = pooling(y, y.dim() + axis - 2, along(output_size, axis));
  return y;
}

}  // namespace

Tensor max_pool1d(const Tensor& x, std::int64_t kernel_size, const MaxPool1dOptions& o) {
  return max_pool(x, 1,
                  Pool("max_pool1d", x, 1, {1, kernel_size}, {1, o.stride}, {0, o.padding}, {1, o.dilation},
                       o.ceil_mode));
}

Tensor max_pool2d(const Tensor& x, Size2d kernel_size, const MaxPool2dOptions& o) {
  return max_pool(x, 2, Pool("max_pool2d", x, 2, kernel_size, o.stride, o.padding, o.dilation, o.ceil_mode));
}

Tensor avg_pool1d(const Tensor& x, std::int64_t kernel_size, const AvgPool1dOptions& o) {
  return avg_pool(x, 1,
                  Pool("avg_pool1d", x, 1, {1, kernel_size}, {1, o.stride}, {0, o.padding}, 1, o.ceil_mode),
                  o.count_include_pad);
}

Tensor avg_pool2d(const Tensor& x, Size2d kernel_size, const AvgPool2dOptions& o) {
  return avg_pool(x, 2, Pool("avg_pool2d", x, 2, kernel_size, o.stride, o.padding, 1, o.ceil_mode),
                  o.count_include_pad);
}

Tensor adaptive_avg_pool1d(const Tensor& x, std::int64_t output_size) {
  return adaptive_pool("adaptive_avg_pool1d", x, 1, {1, output_size}, mean_of_bins);
}
Tensor adaptive_avg_pool2d(const Tensor& x, Size2d output_size) {
  if (output_size.height == 1 && output_size.width == 1) {  // of whole planes: one pass
    check_bins("adaptive_avg_pool2d", x, 2, output_size);
    return x.mean({-2, -1}, keepdim);
  }
  return adaptive_pool("adaptive_avg_pool2d", x, 2, output_size, mean_of_bins);
}
Tensor adaptive_max_pool1d(const Tensor& x, std::int64_t output_size) {
  return adaptive_pool("adaptive_max_pool1d", x, 1, {1, output_size}, max_of_bins);
}
Tensor adaptive_max_pool2d(const Tensor& x, Size2d output_size) {
  return adaptive_pool("adaptive_max_pool2d", x, 2, output_size, max_of_bins);
}

}  // namespace norma
