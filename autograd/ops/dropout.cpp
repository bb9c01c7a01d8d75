// Dropout (Srivastava et al. 2014): y_i = x_i m_i / (1 - p), m_i = 1 with probability 1 - p, else 0.
#include "autograd/fused.h"
#include "autograd/ops.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

// The mask is a function of the key, so definition and kernel see the same one; the backward pass reads it
// from the bits that the kernel kept.
struct DropoutOp {
  static constexpr const char* name = "dropout";
  RandomKey key;
  double p;

  Tensor definition(const Tensor& x) const {
    const Array mask = detail::empty_like(x.array());
    backend(x.device()).random(Random::bernoulli, mask.view(), key, 1 - p, 0);
    return x * Tensor(mask) * (1 / (1 - p));
  }
  std::optional<Array> forward(Kept& kept, const Array& x) const {
    Array y = detail::empty_like(x);
    const Array mask = Array::empty({(x.numel() + 63) / 64}, i64, x.device());
    if (!backend(x.device()).dropout(y.view(), mask.view(), x.contiguous().view(), key, p))
      return std::nullopt;
    kept = {mask};
    return y;
  }
  std::array<Array, 1> backward(const Kept& kept, const Wanted&, const Array& dy, const Array&) const {
    Array dx = detail::empty_like(dy);
    NORMA_ASSERT(backend(dy.device()).dropout_backward(dx.view(), dy.view(), kept[0].view(), p));
    return {std::move(dx)};
  }
};

}  // namespace

Tensor dropout(const Tensor& x, double p, bool training, Generator* generator) {
  detail::check_floating("dropout", "x", x);
  NORMA_CHECK(p >= 0 && p < 1, "dropout: p must lie in [0, 1), got ", p);
  if (!training || p == 0) return x;
  Generator& source = generator != nullptr ? *generator : default_generator();
  return apply(DropoutOp{source.advance(blocks_of_mask(x.numel())), p}, x);
}

}  // namespace norma
