// Activations: y_i = f(x_i).
#include <cmath>
#include <numbers>

#include "autograd/fused.h"
#include "autograd/ops.h"
#include "autograd/ops/internal.h"
#include "autograd/ops/kernels.h"
#include "autograd/ops/rows.h"

namespace norma {

Tensor relu(const Tensor& x) {
  detail::check_floating("relu", "x", x);
  return record(
      "relu", kernels::unary(Unary::relu, x.array()), {x},
      [](const Backward& b) -> Gradients {
        const Tensor y = b.output().detach();
        return {detail::unary_gradient(b, Unary::relu, y, [&] { return b.dy.masked_fill(y <= 0, 0); })};
      },
      {.keep_output = true});
}
Tensor Tensor::relu() const { return norma::relu(*this); }

namespace {

// Hendrycks, Gimpel 2016 (arXiv:1606.08415): x Phi(x), Phi the normal distribution function, and the tanh
// form of their section 2.
struct GeluOp {
  static constexpr const char* name = "gelu";
  static constexpr bool cheap = true;
  Gelu form;

  Tensor definition(const Tensor& x) const {
    if (form == Gelu::erf) return 0.5 * x * (1 + (x * std::numbers::sqrt2 * 0.5).erf());
    const double slope = std::sqrt(2 / std::numbers::pi);
    return 0.5 * x * (1 + (slope * (x + 0.044715 * x * x * x)).tanh());
  }
  std::optional<Array> forward(Kept&, const Array& x) const {
    Array y = detail::empty_like(x);
    if (!backend(x.device()).gelu(y.view(), x.contiguous().view(), form == Gelu::tanh)) return std::nullopt;
    return y;
  }
  std::array<Array, 1> backward(const Kept&, const Wanted&, const Array& dy, const Array& x) const {
    Array dx = detail::empty_like(x);
    NORMA_ASSERT(
        backend(x.device()).gelu_backward(dx.view(), x.contiguous().view(), dy.view(), form == Gelu::tanh));
    return {std::move(dx)};
  }
};

// x sigmoid(x): Elfwing, Uchibe, Doya 2017 (arXiv:1702.03118).
struct SiluOp {
  static constexpr const char* name = "silu";
  static constexpr bool cheap = true;

  Tensor definition(const Tensor& x) const { return x * x.sigmoid(); }
  std::optional<Array> forward(Kept&, const Array& x) const {
    Array y = detail::empty_like(x);
    if (!backend(x.device()).silu(y.view(), x.contiguous().view())) return std::nullopt;
    return y;
  }
  std::array<Array, 1> backward(const Kept&, const Wanted&, const Array& dy, const Array& x) const {
    Array dx = detail::empty_like(x);
    NORMA_ASSERT(backend(x.device()).silu_backward(dx.view(), x.contiguous().view(), dy.view()));
    return {std::move(dx)};
  }
};

}  // namespace

Tensor gelu(const Tensor& x, Gelu form) {
  detail::check_floating("gelu", "x", x);
  return apply(GeluOp{form}, x);
}

Tensor silu(const Tensor& x) {
  detail::check_floating("silu", "x", x);
  return apply(SiluOp{}, x);
}

Tensor softplus(const Tensor& x) {
  detail::check_floating("softplus", "x", x);
  return record("softplus", kernels::unary(Unary::softplus, x.array()), {x},
                [saved = Saved(x)](const Backward& b) -> Gradients {
                  const Tensor& v = saved.get();
                  return {detail::unary_gradient(b, Unary::softplus, v, [&] { return b.dy * v.sigmoid(); })};
                });
}

Tensor softcap(const Tensor& x, double cap) {
  detail::check_floating("softcap", "x", x);
  NORMA_CHECK(std::isfinite(cap) && cap > 0, "softcap: cap must be finite and > 0, got ", cap);
  return (x * (1 / cap)).tanh() * cap;
}

}  // namespace norma
