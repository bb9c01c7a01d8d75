// Convolution as unfold and one matrix product for each group and image (im2col + GEMM):
//   columns [n, groups, rows, places] = unfold(x), rows = channels / groups * taps
//   y [n, groups, filters, places] = weight [groups, filters, rows] columns + bias
// Where a backend has no kernel for that, or for a gradient, products go through the images in chunks, so
// that the columns of few of them exist at a time. Chunks follow from the shapes alone: no result depends on
// the number of threads.
#include <algorithm>

#include "autograd/convolution.h"
#include "autograd/fused.h"
#include "autograd/ops/internal.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

constexpr std::int64_t scratch_elements = 1 << 20;  // of the columns of a chunk, beyond one image

/// The extents of one convolution, and views of its operands as batches of matrices.
struct Plan {
  std::int64_t images, groups, filters, rows, places, height, width;  // height, width: of y
  Window window;
  bool pointwise;  // the columns are x itself

  Plan(const Shape& x, const Shape& weight, const Window& w, std::int64_t groups_)
      : images(x[0]),
        groups(groups_),
        filters(weight[0] / groups_),
        rows(weight[1] * w.kernel[0] * w.kernel[1]),
        places(w.places(0, x[2]) * w.places(1, x[3])),
        height(w.places(0, x[2])),
        width(w.places(1, x[3])),
        window(w),
        pointwise(true) {
    for (int axis = 0; axis < 2; ++axis)
      pointwise = pointwise && w.kernel[axis] == 1 && w.stride[axis] == 1 && w.padding[axis] == 0;
  }

  /// Images at a time: their columns, and their parts of the weight's gradient, stay small.
  std::int64_t chunk() const {
    const std::int64_t each = std::max({groups * rows * places, groups * filters * rows, std::int64_t{1}});
    return std::max<std::int64_t>(1, std::min(images, scratch_elements / each));
  }
  Shape y_shape() const { return {images, groups * filters, height, width}; }
  /// A part of y or dy as [images, groups, filters, places].
  Array products(const Array& y) const { return y.reshape({y.shape()[0], groups, filters, places}); }
  Array weights(const Array& weight, std::int64_t count) const {
    return weight.reshape({groups, filters, rows}).expand({count, groups, filters, rows});
  }
};

/// The columns of a chunk of images, in memory that all chunks share.
class Columns {
 public:
  Columns(const Plan& plan, const Array& x) : plan_(plan) {
    if (!plan.pointwise)
      memory_ = Array::empty({plan.chunk(), plan.groups * plan.rows, plan.places}, x.dtype(), x.device());
  }
  /// [images, groups, rows, places] of the images x; their own memory where columns are x itself.
  Array room(const Array& x) const {
    const std::int64_t count = x.shape()[0];
    return (plan_.pointwise ? x : memory_.slice(0, {0, count}))
        .reshape({count, plan_.groups, plan_.rows, plan_.places});
  }
  Array unfolded(const Array& x) const {
    if (!plan_.pointwise)
      backend(x.device()).unfold(memory_.slice(0, {0, x.shape()[0]}).view(), x.view(), plan_.window);
    return room(x);
  }
  /// x = the adjoint of what room(x) holds.
  void fold_into(const Array& x) const {
    if (!plan_.pointwise)
      backend(x.device()).fold(x.view(), memory_.slice(0, {0, x.shape()[0]}).view(), plan_.window);
  }

 private:
  const Plan& plan_;
  Array memory_;
};

// x: [n, c, h, w]   weight: [out, c / groups, kh, kw]   bias: [out]   y: [n, out, ..]
struct ConvolutionOp {
  static constexpr const char* name = "conv2d";
  Window window;
  std::int64_t groups;

  Tensor definition(const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    const Plan p(x.shape(), weight.shape(), window, groups);
    const Tensor columns = unfold(x, window).reshape({p.images, groups, p.rows, p.places});
    const Tensor filters = weight.reshape({groups, p.filters, p.rows});
    const Tensor y = matmul(filters, columns).reshape({p.images, groups * p.filters, p.height, p.width});
    return bias.defined() ? y + bias.reshape({groups * p.filters, 1, 1}) : y;
  }

  std::optional<Array> forward(Kept&, const Array& x, const Array& weight, const Array& bias) const {
    const Plan p(x.shape(), weight.shape(), window, groups);
    Backend& device = backend(x.device());
    const Array images = x.contiguous(), filters = weight.contiguous();
    Array y = Array::empty(p.y_shape(), x.dtype(), x.device());
    if (device.convolution(y.view(), images.view(), filters.view(),
                           bias.defined() ? bias.contiguous().view() : View{}, window, groups))
      return y;
    if (bias.defined()) device.copy(y.view(), bias.reshape({bias.numel(), 1, 1}).expand(y.shape()).view());
    const Columns columns(p, x);
    for (std::int64_t first = 0; first < p.images; first += p.chunk()) {
      const Slice chunk{first, first + p.chunk()};
      const Array part = p.products(y.slice(0, chunk));
      device.matmul(part.view(), p.weights(filters, part.shape()[0]).view(),
                    columns.unfolded(images.slice(0, chunk)).view(), 1, bias.defined() ? 1 : 0);
    }
    return y;
  }

  std::array<Array, 3> backward(const Kept&, const Wanted& wanted, const Array& dy, const Array& x,
                                const Array& weight, const Array& bias) const {
    const Plan p(x.shape(), weight.shape(), window, groups);
    Array dx = wanted[0] ? input_gradient(p, dy, weight.contiguous(), x) : Array();
    Array dweight = wanted[1] ? weight_gradient(p, dy, x.contiguous(), weight) : Array();
    Array dbias = detail::gradient_of(wanted[2], bias);
    if (dbias.defined())
      backend(x.device())
          .reduce(Reduce::sum, dbias.reshape({1, bias.numel(), 1}).view(),
                  dy.reshape({p.images, bias.numel(), p.places}).view());
    return {std::move(dx), std::move(dweight), std::move(dbias)};
  }

  /// dcolumns = weight^T dy, folded.
  static Array input_gradient(const Plan& p, const Array& dy, const Array& filters, const Array& x) {
    Array dx = detail::empty_like(x);
    if (backend(x.device())
            .convolution_input_gradient(dx.view(), dy.view(), filters.view(), p.window, p.groups))
      return dx;
    const Columns columns(p, x);
    for (std::int64_t first = 0; first < p.images; first += p.chunk()) {
      const Slice chunk{first, first + p.chunk()};
      const Array part = p.products(dy.slice(0, chunk)), dx_part = dx.slice(0, chunk);
      backend(x.device())
          .matmul(columns.room(dx_part).view(), p.weights(filters, part.shape()[0]).transpose(-2, -1).view(),
                  part.view(), 1, 0);
      columns.fold_into(dx_part);
    }
    return dx;
  }

  /// The sum over images of dy columns^T: side by side for the images of a chunk, then added in order.
  static Array weight_gradient(const Plan& p, const Array& dy, const Array& images, const Array& weight) {
    Backend& device = backend(weight.device());
    Array dweight = Array::zeros(weight.shape(), weight.dtype(), weight.device());
    if (device.convolution_weight_gradient(dweight.view(), dy.view(), images.view(), p.window, p.groups))
      return dweight;
    const std::int64_t side = p.chunk();
    const Columns columns(p, images);
    const auto scratch = [&](std::int64_t count) {
      return side == 1 ? Array() : Array::empty({count, weight.numel()}, weight.dtype(), weight.device());
    };
    const Array parts = scratch(side), sum = scratch(1);
    for (std::int64_t first = 0; first < p.images; first += side) {
      const Slice chunk{first, first + side};
      const Array part = p.products(dy.slice(0, chunk));
      const Array seen = columns.unfolded(images.slice(0, chunk)).transpose(-2, -1);
      const std::int64_t count = part.shape()[0];
      const Array target =
          (side == 1 ? dweight : parts.slice(0, {0, count})).reshape({count, p.groups, p.filters, p.rows});
      device.matmul(target.view(), part.view(), seen.view(), 1, side == 1 ? 1 : 0);
      if (side == 1) continue;
      device.reduce(Reduce::sum, sum.view(), parts.slice(0, {0, count}).view());
      const Array total = dweight.reshape(sum.shape());
      device.binary(Binary::add, total.view(), total.view(), sum.view());
    }
    return dweight;
  }
};

void check_operands(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias, int spatial,
                    std::int64_t groups) {
  detail::check_planes(op, x, spatial);
  detail::check_floating(op, "weight", weight);
  detail::check_like(op, "weight", weight, x);
  NORMA_CHECK(weight.dim() == spatial + 2, op, ": weight must be [out, channels / groups, ",
              spatial == 2 ? "kernel height, kernel width" : "kernel", "], got shape ", weight.shape());
  NORMA_CHECK(groups >= 1 && weight.size(0) % groups == 0, op, ": groups must be at least 1 and divide the ",
              weight.size(0), " outputs of weight ", weight.shape(), ", got ", groups);
  const std::int64_t channels = x.size(x.dim() - spatial - 1);
  NORMA_CHECK(channels % groups == 0 && channels / groups == weight.size(1), op, ": x ", x.shape(), " has ",
              channels, " channels in ", groups, " groups, weight ", weight.shape(), " takes ",
              weight.size(1), " in each");
  if (!bias.defined()) return;
  NORMA_CHECK(bias.shape() == Shape{weight.size(0)}, op, ": bias must have shape [", weight.size(0),
              "] (first extent of weight ", weight.shape(), "), got ", bias.shape());
  detail::check_like(op, "bias", bias, x);
}

Tensor convolve(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias, int spatial,
                const Window& window, std::int64_t groups) {
  detail::check_window(op, window, x.shape(), spatial);
  const Tensor y = apply(ConvolutionOp{window, groups}, detail::as_planes(x, spatial),
                         spatial == 1 ? weight.unsqueeze(2) : weight, bias);
  return detail::from_planes(y, x.dim(), spatial);
}

}  // namespace

Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv1dOptions& o) {
  check_operands("conv1d", x, weight, bias, 1, o.groups);
  return convolve("conv1d", x, weight, bias, 1,
                  {.kernel = {1, weight.size(2)},
                   .stride = {1, o.stride},
                   .padding = {0, o.padding},
                   .dilation = {1, o.dilation}},
                  o.groups);
}

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o) {
  check_operands("conv2d", x, weight, bias, 2, o.groups);
  return convolve("conv2d", x, weight, bias, 2,
                  {.kernel = {weight.size(2), weight.size(3)},
                   .stride = {o.stride.height, o.stride.width},
                   .padding = {o.padding.height, o.padding.width},
                   .dilation = {o.dilation.height, o.dilation.width}},
                  o.groups);
}

}  // namespace norma
