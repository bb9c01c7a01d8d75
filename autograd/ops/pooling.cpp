// Pooling. The definitions are composites: of unfold and reductions over the taps of windows that slide, of
// reductions over the bins of adaptive ones, an axis at a time.
#include <algorithm>
#include <limits>

#include "autograd/convolution.h"
#include "autograd/fused.h"
#include "autograd/ops/internal.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

constexpr std::int64_t along(const Size2d& size, int axis) { return axis == 0 ? size.height : size.width; }

/// Where the windows of a pool lie.
struct Pool {
  Pooling pooling;
  std::int64_t places[2];

  Shape y_shape(const Shape& x) const { return {x[0], x[1], places[0], places[1]}; }
  std::int64_t end_of_last(int axis) const {
    const Window& w = pooling.window;
    return (places[axis] - 1) * w.stride[axis] + w.dilation[axis] * (w.kernel[axis] - 1) + 1;
  }
  /// What windows that slide see in x [n, c, h, w]: [n, c, taps, places]. Padding, and what ceil_mode adds
  /// beyond it, holds `value`.
  Tensor columns(const Tensor& x, double value) const {
    Window bare = pooling.window;
    std::vector<std::int64_t> amounts;
    for (const int axis : {1, 0}) {
      const std::int64_t padding = bare.padding[axis], padded = x.size(axis - 2) + 2 * padding;
      amounts.push_back(padding);
      amounts.push_back(padding + std::max<std::int64_t>(0, end_of_last(axis) - padded));
      bare.padding[axis] = 0;
    }
    const bool none = std::all_of(amounts.begin(), amounts.end(), [](std::int64_t n) { return n == 0; });
    return unfold(none ? x : pad(x, amounts, value), bare)
        .reshape({x.size(0), x.size(1), bare.kernel[0] * bare.kernel[1], places[0] * places[1]});
  }
  /// [n, c, places] as [n, c, rows of places, columns of places].
  Tensor in_rows(const Tensor& y) const { return y.reshape({y.size(0), y.size(1), places[0], places[1]}); }
  /// Entries that count in the mean of each window: [places].
  Tensor counts(const Tensor& x) const {
    std::vector<double> all;
    for (std::int64_t row = 0; row < places[0]; ++row) {
      for (std::int64_t column = 0; column < places[1]; ++column) {
        all.push_back(static_cast<double>(pooling.counted(0, row, places[0], x.size(2)) *
                                          pooling.counted(1, column, places[1], x.size(3))));
      }
    }
    return tensor(all, {places[0] * places[1]}).to(x.dtype()).to(x.device());
  }
};

Pool sliding_pool(const char* op, const Tensor& x, int spatial, Size2d kernel, Size2d stride, Size2d padding,
                  Size2d dilation, bool ceil_mode, bool count_padding = true) {
  detail::check_planes(op, x, spatial);
  Pool pool{.pooling = {.count_padding = count_padding}, .places = {1, 1}};
  Window& window = pool.pooling.window;
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
    const std::int64_t extent = x.size(axis - 2), padded = extent + 2 * window.padding[axis];
    pool.places[axis] = window.places(axis, extent);
    const std::int64_t start = pool.places[axis] * window.stride[axis];  // of one window more
    if (ceil_mode && start < extent + window.padding[axis] && pool.end_of_last(axis) < padded)
      ++pool.places[axis];
  }
  return pool;
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

Pool adaptive_pool(const char* op, const Tensor& x, int spatial, Size2d output_size) {
  detail::check_planes(op, x, spatial);
  for (int axis = 1; axis >= 2 - spatial; --axis) {
    const std::int64_t bins = along(output_size, axis);
    NORMA_CHECK(bins >= 1, op, ": output_size must be at least 1, got ", bins, " for axis ", axis - 2);
    NORMA_CHECK(x.size(axis - 2) >= 1, op, ": axis ", axis - 2, " of x is empty, got shape ", x.shape());
  }
  return {.pooling = {.adaptive = true}, .places = {output_size.height, output_size.width}};
}

// x: [n, channels, h, w]   y: [n, channels, places h, places w]
struct MaxPoolOp {
  static constexpr const char* name = "max_pool";
  Pool pool;

  /// Width first: the first of equal maxima is then the first in reading order.
  Tensor definition(const Tensor& x) const {
    if (pool.pooling.adaptive) return max_of_bins(max_of_bins(x, 3, pool.places[1]), 2, pool.places[0]);
    return pool.in_rows(pool.columns(x, -std::numeric_limits<double>::infinity()).max(2).first);
  }
  std::optional<Array> forward(Kept& kept, const Array& x) const {
    Array y = Array::empty(pool.y_shape(x.shape()), x.dtype(), x.device());
    Array chosen = kept.is_needed() ? Array::empty({y.numel()}, i64, x.device()) : Array();
    if (!backend(x.device()).max_pool(y.view(), chosen.view_or_none(), x.contiguous().view(), pool.pooling))
      return std::nullopt;
    if (chosen.defined()) kept.push_back(std::move(chosen));
    return y;
  }
  std::array<Array, 1> backward(const Kept& kept, const Wanted&, const Array& dy, const Array& x) const {
    Array dx = detail::empty_like(x);
    backend(x.device()).max_pool_backward(dx.view(), dy.view(), kept[0].view());
    return {std::move(dx)};
  }
};

struct AvgPoolOp {
  static constexpr const char* name = "avg_pool";
  Pool pool;

  Tensor definition(const Tensor& x) const {
    if (pool.pooling.adaptive) return mean_of_bins(mean_of_bins(x, 3, pool.places[1]), 2, pool.places[0]);
    return pool.in_rows(pool.columns(x, 0).sum(2) / pool.counts(x));
  }
  std::optional<Array> forward(Kept&, const Array& x) const {
    Array y = Array::empty(pool.y_shape(x.shape()), x.dtype(), x.device());
    if (!backend(x.device()).avg_pool(y.view(), x.contiguous().view(), pool.pooling)) return std::nullopt;
    return y;
  }
  std::array<Array, 1> backward(const Kept&, const Wanted&, const Array& dy, const Array& x) const {
    Array dx = detail::empty_like(x);
    backend(x.device()).avg_pool_backward(dx.view(), dy.view(), pool.pooling);
    return {std::move(dx)};
  }
};

template <class Op>
Tensor apply_pool(const Pool& pool, const Tensor& x, int spatial) {
  return detail::from_planes(apply(Op{pool}, detail::as_planes(x, spatial)), x.dim(), spatial);
}

}  // namespace

Tensor max_pool1d(const Tensor& x, std::int64_t kernel_size, const MaxPool1dOptions& o) {
  const Pool pool = sliding_pool("max_pool1d", x, 1, {1, kernel_size}, {1, o.stride}, {0, o.padding},
                                 {1, o.dilation}, o.ceil_mode);
  return apply_pool<MaxPoolOp>(pool, x, 1);
}

Tensor max_pool2d(const Tensor& x, Size2d kernel_size, const MaxPool2dOptions& o) {
  const Pool pool =
      sliding_pool("max_pool2d", x, 2, kernel_size, o.stride, o.padding, o.dilation, o.ceil_mode);
  return apply_pool<MaxPoolOp>(pool, x, 2);
}

Tensor avg_pool1d(const Tensor& x, std::int64_t kernel_size, const AvgPool1dOptions& o) {
  const Pool pool = sliding_pool("avg_pool1d", x, 1, {1, kernel_size}, {1, o.stride}, {0, o.padding}, 1,
                                 o.ceil_mode, o.count_include_pad);
  return apply_pool<AvgPoolOp>(pool, x, 1);
}

Tensor avg_pool2d(const Tensor& x, Size2d kernel_size, const AvgPool2dOptions& o) {
  const Pool pool =
      sliding_pool("avg_pool2d", x, 2, kernel_size, o.stride, o.padding, 1, o.ceil_mode, o.count_include_pad);
  return apply_pool<AvgPoolOp>(pool, x, 2);
}

Tensor adaptive_avg_pool1d(const Tensor& x, std::int64_t output_size) {
  return apply_pool<AvgPoolOp>(adaptive_pool("adaptive_avg_pool1d", x, 1, {1, output_size}), x, 1);
}
Tensor adaptive_avg_pool2d(const Tensor& x, Size2d output_size) {
  const Pool pool = adaptive_pool("adaptive_avg_pool2d", x, 2, output_size);
  if (output_size.height == 1 && output_size.width == 1) return x.mean({-2, -1}, keepdim);  // in one pass
  return apply_pool<AvgPoolOp>(pool, x, 2);
}
Tensor adaptive_max_pool1d(const Tensor& x, std::int64_t output_size) {
  return apply_pool<MaxPoolOp>(adaptive_pool("adaptive_max_pool1d", x, 1, {1, output_size}), x, 1);
}
Tensor adaptive_max_pool2d(const Tensor& x, Size2d output_size) {
  return apply_pool<MaxPoolOp>(adaptive_pool("adaptive_max_pool2d", x, 2, output_size), x, 2);
}

}  // namespace norma
