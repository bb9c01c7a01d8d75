#include "nn/norm/qk_norm.h"

#include "autograd/normalization.h"
#include "nn/norm/trailing.h"

namespace norma::nn {

QKNorm::QKNorm(const QKNormOptions& options) : temperature(options.temperature), eps_(options.eps) {
  detail::check_eps("QKNorm", options.eps);
}

std::pair<Tensor, Tensor> QKNorm::operator()(const Tensor& q, const Tensor& k) const {
  const Tensor k_unit = l2_norm(k, {}, eps_);
  if (temperature.weight.numel() > 1) return {temperature(l2_norm(q, {}, eps_)), k_unit};
  return {l2_norm(q, temperature.factor(), eps_), k_unit};  // one number: in the same pass
}

std::string QKNorm::describe() const { return norma::detail::concat("eps=", eps_); }

}  // namespace norma::nn
