// Adam and AdamW. Formula, with g the gradient, t the number of this update:
//   AdamW: p = p (1 - lr weight_decay)        Adam: g = g + weight_decay p
//   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
//   p = p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
#include <cmath>

#include "autograd/ops.h"
#include "nn/optim/optimizer.h"

namespace norma::nn {
namespace {

void check_settings(const AdamSettings& settings) {
  const auto [beta1, beta2] = settings.betas;
  NORMA_CHECK(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, "Adam: betas must lie in [0, 1), got ",
              beta1, " and ", beta2);
  NORMA_CHECK(std::isfinite(settings.eps) && settings.eps >= 0, "Adam: eps must be >= 0, got ", settings.eps);
}

// The formula in ops; what a kernel must compute.
void update_by_definition(const Tensor& parameter, Tensor g, const Tensor& m, const Tensor& v,
                          const AdamOptions& options) {
  if (options.decoupled) {
    parameter.mul_(1 - options.lr * options.weight_decay);
  } else if (options.weight_decay != 0) {
    g = g + parameter * options.weight_decay;
  }
  m.mul_(options.beta1).add_(g * (1 - options.beta1));
  v.mul_(options.beta2).add_(g.square() * (1 - options.beta2));
  const Tensor root = (v * (1 / options.correction2)).sqrt() + options.eps;
  parameter.sub_(m / root * (options.lr / options.correction1));
}

bool update_by_kernel(const Tensor& parameter, const Tensor& gradient, const Tensor& m, const Tensor& v,
                      const AdamOptions& options) {
  if (DefinitionsOnly::active() || !parameter.array().is_contiguous()) return false;
  const Array contiguous = gradient.array().contiguous();
  if (!backend(parameter.device())
           .adam(parameter.array().view(), contiguous.view(), m.array().view(), v.array().view(), options)) {
    return false;
  }
  for (const Tensor& changed : {parameter, m, v}) changed.array().bump_version();
  return true;
}

}  // namespace

Adam::Adam(std::vector<Tensor> parameters, AdamSettings settings)
    : Adam(std::vector<ParamGroup>{{std::move(parameters), {}, {}}}, settings) {}

Adam::Adam(std::vector<ParamGroup> groups, AdamSettings settings)
    : Adam(std::move(groups), settings, false) {}

Adam::Adam(std::vector<ParamGroup> groups, AdamSettings settings, bool decoupled)
    : Optimizer(std::move(groups), settings.lr, settings.weight_decay),
      settings_(settings),
      decoupled_(decoupled) {
  check_settings(settings);
}

AdamW::AdamW(std::vector<Tensor> parameters, AdamWSettings settings)
    : AdamW(std::vector<ParamGroup>{{std::move(parameters), {}, {}}}, settings) {}

AdamW::AdamW(std::vector<ParamGroup> groups, AdamWSettings settings)
    : Adam(std::move(groups), {settings.lr, settings.betas, settings.eps, settings.weight_decay}, true) {}

std::span<const char* const> Adam::slot_names() const {
  static constexpr const char* names[] = {"exp_avg", "exp_avg_sq"};
  return names;
}

void Adam::update(const Tensor& parameter, const Tensor& gradient, Slot& slot, double lr,
                  double weight_decay) {
  auto& [m, v] = slot.tensors;
  for (Tensor* moment : {&m, &v}) {
    if (!moment->defined()) *moment = zeros(parameter.shape(), parameter.dtype(), parameter.device());
  }
  const auto [beta1, beta2] = settings_.betas;
  const auto t = static_cast<double>(slot.step);
  const AdamOptions options{.lr = lr,
                            .beta1 = beta1,
                            .beta2 = beta2,
                            .eps = settings_.eps,
                            .weight_decay = weight_decay,
                            .correction1 = 1 - std::pow(beta1, t),
                            .correction2 = 1 - std::pow(beta2, t),
                            .decoupled = decoupled_};
  if (!update_by_kernel(parameter, gradient, m, v, options)) {
    update_by_definition(parameter, gradient, m, v, options);
  }
}

}  // namespace norma::nn
