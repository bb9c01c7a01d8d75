// unfold and fold, and what the ops over planes share.
#include <climits>

#include "autograd/convolution.h"
#include "autograd/node.h"
#include "autograd/ops/internal.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace detail {

void check_planes(const char* op, const Tensor& x, int spatial) {
  check_floating(op, "x", x);
  NORMA_CHECK(x.dim() == spatial + 2 || x.dim() == spatial + 1, op, ": x must be ",
              spatial == 2 ? "[n, channels, h, w] or [channels, h, w]"
                           : "[n, channels, length] or [channels, length]",
              ", got shape ", x.shape());
}

Tensor as_planes(const Tensor& x, int spatial) {
  const Tensor flat = spatial == 1 ? x.unsqueeze(-2) : x;
  return flat.dim() == 3 ? flat.unsqueeze(0) : flat;
}

Tensor from_planes(const Tensor& y, int rank, int spatial) {
  const Tensor unbatched = rank == spatial + 1 ? y.squeeze(0) : y;
  return spatial == 1 ? unbatched.squeeze(-2) : unbatched;
}

void check_window(const char* op, const Window& window, const Shape& x, int spatial) {
  const auto check_range = [&](const char* what, const std::int64_t(&values)[2], std::int64_t least) {
    for (int axis = 2 - spatial; axis < 2; ++axis) {
      NORMA_CHECK(values[axis] >= least && values[axis] <= INT_MAX, op, ": ", what, " must lie in [", least,
                  ", ", INT_MAX, "], got ", values[axis], " for axis ", axis - 2);
    }
  };
  check_range("kernel", window.kernel, 1);
  check_range("stride", window.stride, 1);
  check_range("padding", window.padding, 0);
  check_range("dilation", window.dilation, 1);
  for (int axis = 2 - spatial; axis < 2; ++axis) {
    const std::int64_t extent = x[axis - 2];
    NORMA_CHECK(window.places(axis, extent) > 0, op, ": the window spans ",
                window.dilation[axis] * (window.kernel[axis] - 1) + 1, " (kernel ", window.kernel[axis],
                ", dilation ", window.dilation[axis], ") and must fit into axis ", axis - 2, " of x ", x,
                ", which with padding ", window.padding[axis], " has ", extent + 2 * window.padding[axis]);
  }
}

}  // namespace detail

Tensor unfold(const Tensor& x, const Window& window) {
  detail::check_floating("unfold", "x", x);
  NORMA_CHECK(x.dim() == 4, "unfold: x must be [n, c, h, w], got shape ", x.shape());
  detail::check_window("unfold", window, x.shape(), 2);
  const Size2d size(x.size(2), x.size(3));
  Array columns = Array::empty({x.size(0), x.size(1) * window.kernel[0] * window.kernel[1],
                                window.places(0, size.height) * window.places(1, size.width)},
                               x.dtype(), x.device());
  if (columns.numel() > 0) backend(x.device()).unfold(columns.view(), x.array().contiguous().view(), window);
  return record("unfold", std::move(columns), {x},
                [size, window](const Backward& b) -> Gradients { return {fold(b.dy, size, window)}; });
}

Tensor fold(const Tensor& columns, Size2d output_size, const Window& window) {
  detail::check_floating("fold", "columns", columns);
  const auto& [height, width] = output_size;
  NORMA_CHECK(columns.dim() == 3, "fold: columns must be [n, c * kernel, places], got shape ",
              columns.shape());
  NORMA_CHECK(height >= 0 && width >= 0, "fold: output_size must not be negative, got ", height, " x ",
              width);
  detail::check_window("fold", window, {columns.size(0), 1, height, width}, 2);
  const std::int64_t taps = window.kernel[0] * window.kernel[1];
  const std::int64_t places = window.places(0, height) * window.places(1, width);
  NORMA_CHECK(columns.size(1) % taps == 0 && columns.size(2) == places, "fold: columns must be [n, c * ",
              taps, ", ", places, "] for an output of ", height, " x ", width, ", got ", columns.shape());
  Array x = Array::empty({columns.size(0), columns.size(1) / taps, height, width}, columns.dtype(),
                         columns.device());
  if (x.numel() > 0) backend(columns.device()).fold(x.view(), columns.array().contiguous().view(), window);
  return record("fold", std::move(x), {columns},
                [window](const Backward& b) -> Gradients { return {unfold(b.dy, window)}; });
}

}  // namespace norma
