// y = x W^T + b: one matrix product whatever the leading axes of x.
#include "autograd/fused.h"
#include "autograd/ops.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

/// x [.., d] as [rows, d]; unlike as_rows, a matrix keeps its strides: matrix products read them.
Array as_matrix(const Array& x) {
  return x.rank() == 2 ? x : x.reshape(Shape{detail::row_count(x.shape()), x.shape()[-1]});
}

// x: [.., in]   weight: [out, in]   bias: [out]   y: [.., out]
struct LinearOp {
  static constexpr const char* name = "linear";
  static constexpr bool remakes_inputs = true;

  Tensor definition(const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    const Tensor y = x.matmul(weight.t());
    return bias.defined() ? y + bias : y;
  }

  std::optional<Array> forward(Kept&, const Array& x, const Array& weight, const Array& bias) const {
    Array y = Array::empty(x.shape().with(-1, weight.shape()[0]), x.dtype(), x.device());
    const Array matrix = as_matrix(y);
    Backend& device = backend(x.device());
    const Array rows = as_matrix(x);
    if (bias.defined()) {
      if (device.linear(matrix.view(), rows.view(), weight.view(), bias.contiguous().view())) return y;
      device.copy(matrix.view(), bias.expand(matrix.shape()).view());
    }
    device.matmul(matrix.view(), rows.view(), weight.transpose(0, 1).view(), 1, bias.defined() ? 1 : 0);
    return y;
  }

  std::array<Array, 3> backward(const Kept&, const Wanted& wanted, const Array& dy, const Array& x,
                                const Array& weight, const Array& bias) const {
    Backend& device = backend(x.device());
    Array dx = detail::gradient_of(wanted[0], x);
    Array dweight = detail::gradient_of(wanted[1], weight);
    Array dbias = detail::gradient_of(wanted[2], bias);
    const Array rows = as_matrix(dy);
    if (dx.defined()) device.matmul(as_matrix(dx).view(), rows.view(), weight.view(), 1, 0);
    if (dweight.defined()) write_dweight(dweight, dy, x, 0);
    if (dbias.defined()) device.reduce(Reduce::sum, dbias.unsqueeze(0).view(), rows.view());
    return {std::move(dx), std::move(dweight), std::move(dbias)};
  }
  bool add_gradient(std::size_t i, const Array& sum, const Array& dy, const Array& x, const Array&,
                    const Array&) const {
    if (i != 1) return false;
    write_dweight(sum, dy, x, 1);
    return true;
  }

 private:
  /// dweight = dy^T x + beta * dweight
  static void write_dweight(const Array& dweight, const Array& dy, const Array& x, double beta) {
    backend(x.device())
        .matmul(dweight.view(), as_matrix(dy).transpose(0, 1).view(), as_matrix(x).view(), 1, beta);
  }
};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  detail::check_floating("linear", "x", x);
  detail::check_floating("linear", "weight", weight);
  detail::check_like("linear", "weight", weight, x);
  NORMA_CHECK(x.dim() >= 1 && weight.dim() == 2 && weight.size(1) == x.size(-1),
              "linear: weight must be [out, in] with in the last extent of x ", x.shape(), ", got ",
              weight.shape());
  if (bias.defined()) {
    NORMA_CHECK(bias.shape() == Shape{weight.size(0)}, "linear: bias must have shape [", weight.size(0),
                "] (first extent of weight ", weight.shape(), "), got ", bias.shape());
    detail::check_like("linear", "bias", bias, x);
  }
  return apply(LinearOp{}, x, weight, bias);
}

}  // namespace norma
