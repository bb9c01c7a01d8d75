#include "nn/norm/spectral_norm.h"

#include <cmath>

#include "autograd/ops.h"
#include "autograd/recompute.h"

namespace norma::nn {
namespace {

constexpr int first_iterations = 15;

/// x / |x|; undefined when |x| is not a finite number above eps.
Tensor direction(const Tensor& x, double eps) {
  const double length = x.norm().item();
  return std::isfinite(length) && length > eps ? x / length : Tensor();
}

}  // namespace

SpectralNorm::SpectralNorm(detail::Reweighted layer, const SpectralNormOptions& options)
    : layer_(std::move(layer)), options_(options) {
  const Parameter& own = *layer_.find("weight");
  NORMA_CHECK(options.dim >= 0 && options.dim < own.dim(), "SpectralNorm: dim must lie in [0, ",
              own.dim() - 1, "] for a weight of shape ", own.shape(), ", got ", options.dim);
  NORMA_CHECK(options.n_power_iterations >= 1, "SpectralNorm: n_power_iterations must be at least 1, got ",
              options.n_power_iterations);
  NORMA_CHECK(std::isfinite(options.eps) && options.eps >= 0,
              "SpectralNorm: eps must be finite and >= 0, got ", options.eps);
  static_cast<Tensor&>(weight_orig) = own;  // the layer's parameter itself: one piece of memory
  const NoGrad no_grad;
  const auto random_direction = [&](std::int64_t n) {
    const Tensor x = randn({n}, own.dtype(), own.device(), options.generator);
    return Buffer(x / std::max(x.norm().item(), 1e-12));
  };
  const std::int64_t rows = own.size(options.dim);
  weight_u = random_direction(rows);
  weight_v = random_direction(own.numel() / rows);
  iterate(first_iterations);
}

Tensor SpectralNorm::matrix() const {
  std::vector<int> axes{options_.dim};
  for (int axis = 0; axis < weight_orig.dim(); ++axis) {
    if (axis != options_.dim) axes.push_back(axis);
  }
  return weight_orig.permute(axes).reshape({weight_u.numel(), weight_v.numel()});
}

void SpectralNorm::iterate(int iterations) {
  const NoGrad no_grad;
  const Tensor w = matrix().detach();
  for (int i = 0; i < iterations; ++i) {
    const Tensor v = direction(matmul(w.t(), weight_u), options_.eps);
    if (!v.defined()) return;
    const Tensor u = direction(matmul(w, v), options_.eps);
    if (!u.defined()) return;
    weight_v = v;
    weight_u = u;
  }
}

Tensor SpectralNorm::weight() const {
  // Copies: the next training call changes u and v, and a graph may still need these.
  const Tensor u = weight_u.detach().clone(), v = weight_v.detach().clone();
  const Tensor sigma = matmul(u, matmul(matrix(), v));
  return weight_orig / where(sigma.detach() > options_.eps, sigma, ones_like(sigma));
}

Tensor SpectralNorm::operator()(const Tensor& x) {
  if (is_training() && !Recomputation::active()) iterate(options_.n_power_iterations);
  return layer_.call(x, is_training(), weight());
}

AnyLayer SpectralNorm::folded() const {
  const NoGrad no_grad;
  AnyLayer plain = layer_.with_weight(weight());
  plain.train(is_training());
  return plain;
}

std::string SpectralNorm::describe() const {
  return norma::detail::concat(layer_.describe(), ", n_power_iterations=", options_.n_power_iterations,
                               ", eps=", options_.eps, ", dim=", options_.dim);
}

void SpectralNorm::visit_parts(PartVisitor& visitor) {
  detail::visit_all(visitor, "weight_orig, weight_u, weight_v", weight_orig, weight_u, weight_v);
  layer_.visit_others(visitor);
}

}  // namespace norma::nn
