#include "nn/optim/clip.h"

#include <cmath>

namespace norma::nn {
namespace {

double sum_of_squares(const std::vector<Array>& arrays) {
  if (arrays.empty()) return 0;
  std::vector<View> views;
  bool alike = true;  // a kernel takes views of one dtype
  for (const Array& array : arrays) {
    views.push_back(array.view());
    alike = alike && array.dtype() == arrays[0].dtype() && array.device() == arrays[0].device();
  }
  double result = 0;
  if (alike && !DefinitionsOnly::active() && backend(arrays[0].device()).sum_of_squares(views, result))
    return result;
  for (const Array& array : arrays) result += Tensor(array).to(f64).square().sum().item();
  return result;
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

double clip_grad_norm_(const std::vector<NamedTensor>& parameters, double max_norm, bool error_if_nonfinite) {
  NORMA_CHECK(max_norm >= 0, "clip_grad_norm_: max_norm must be >= 0, got ", max_norm);
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
  const double norm = std::sqrt(sum_of_squares(arrays));
  if (!std::isfinite(norm)) {
    if (error_if_nonfinite) blame(parameters, norm);
    return norm;
  }
  const double scale = max_norm / (norm + 1e-6);
  if (scale < 1) {
    for (const Tensor& gradient : gradients) gradient.mul_(scale);
  }
  return norm;
}

double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, bool error_if_nonfinite) {
  std::vector<NamedTensor> named;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    named.emplace_back(norma::detail::concat("parameter ", i), parameters[i]);
  }
  return clip_grad_norm_(named, max_norm, error_if_nonfinite);
}

}  // namespace norma::nn
