#include "nn/optim/clip.h"

#include <cmath>

#include "autograd/ops.h"
#include "core/profile.h"

namespace norma::nn {
namespace {

// f64 [], on the device of the arrays.
Tensor sum_of_squares(const std::vector<Array>& arrays) {
  const Device device = arrays.empty() ? cpu : arrays[0].device();
  std::vector<View> views;
  bool alike = true;  // a kernel takes views of one dtype
  for (const Array& array : arrays) {
    views.push_back(array.view());
    alike = alike && array.dtype() == arrays[0].dtype() && array.device() == device;
  }
  if (alike && !DefinitionsOnly::active()) {
    const Array sum = Array::empty({}, f64, device);
    if (backend(device).sum_of_squares(sum.view(), views)) return Tensor(sum);
  }
  Tensor sum = zeros({}, f64, device);
  for (const Array& array : arrays) sum = sum + Tensor(array).to(f64).square().sum().to(device);
  return sum;
}

// Scales by min(1, max_norm / (norm + 1e-6)). The host reads the factor and leaves out what changes nothing;
// reading it on another device would wait for that device.
void scale(const std::vector<Tensor>& gradients, double max_norm, const Tensor& norm) {
  if (is_host(norm.device())) {
    const double factor = max_norm / (norm.item() + 1e-6);
    if (!std::isfinite(norm.item()) || factor >= 1) return;
    for (const Tensor& gradient : gradients) gradient.mul_(factor);
  } else if (std::isfinite(max_norm)) {
    const Tensor factor = (max_norm / (norm + 1e-6)).clamp(0, 1).masked_fill(logical_not(norm.isfinite()), 1);
    Tensor alike;  // the factor in the gradient's dtype and on its device
    for (const Tensor& gradient : gradients) {
      if (!alike.defined() || alike.dtype() != gradient.dtype() || alike.device() != gradient.device()) {
        alike = factor.to(gradient.dtype()).to(gradient.device());
      }
      if (!gradient.array().is_contiguous()) {
        gradient.mul_(alike);
        continue;
      }
      const View view = gradient.array().view();  // in one pass, without a copy of the product
      backend(gradient.device())
          .binary(Binary::mul, view, view, alike.array().expand(gradient.shape()).view());
      gradient.array().bump_version();
    }
  }
}

[[noreturn]] void blame(const std::vector<NamedTensor>& parameters, double norm) {
  for (const auto& [name, parameter] : parameters) {
    const Tensor gradient = parameter.grad();
    if (gradient.defined() && gradient.isfinite().all().item() == 0) {
      norma::detail::fail("clip_grad_norm_: the gradient of ", name, " is not finite (norm of all: ", norm,
                          ")");
    }
  }
  norma::detail::fail("clip_grad_norm_: the gradients are finite, but their norm overflows");
}

}  // namespace

Tensor clip_grad_norm_(const std::vector<NamedTensor>& parameters, double max_norm, bool error_if_nonfinite) {
  NORMA_CHECK(max_norm >= 0, "clip_grad_norm_: max_norm must be >= 0, got ", max_norm);
  const ProfileSection section("clip_grad_norm_");
  const NoGrad no_grad;
  std::vector<Tensor> gradients;
  std::vector<Array> arrays;
  for (const auto& [name, parameter] : parameters) {
    NORMA_CHECK(parameter.defined(), "clip_grad_norm_: ", name, " is undefined");
    if (const Tensor gradient = parameter.grad(); gradient.defined()) {
      gradients.push_back(gradient.detach());
      arrays.push_back(gradient.array().contiguous());
    }
  }
  const Tensor norm = sum_of_squares(arrays).sqrt();
  if (error_if_nonfinite && !std::isfinite(norm.item())) blame(parameters, norm.item());
  scale(gradients, max_norm, norm);
  return norm;
}

Tensor clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, bool error_if_nonfinite) {
  std::vector<NamedTensor> named;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    named.emplace_back(norma::detail::concat("parameter ", i), parameters[i]);
  }
  return clip_grad_norm_(named, max_norm, error_if_nonfinite);
}

}  // namespace norma::nn
