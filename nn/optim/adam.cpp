// Adam and AdamW. Formula, with g the gradient, t the number of this update:
//   AdamW: p = p (1 - lr weight_decay)        Adam: g = g + weight_decay p
//   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
//   p = p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
#include <cmath>
#include <utility>

#include "autograd/ops.h"
#include "core/captured_work.h"
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
  updates_.push_back({parameter, gradient, m, v, options_of(slot.step, lr, weight_decay), place_of(slot)});
}

AdamOptions Adam::options_of(std::int64_t step, double lr, double weight_decay) const {
  const auto [beta1, beta2] = settings_.betas;
  const auto t = static_cast<double>(step);
  return {.lr = lr,
          .beta1 = beta1,
          .beta2 = beta2,
          .eps = settings_.eps,
          .weight_decay = weight_decay,
          .correction1 = 1 - std::pow(beta1, t),
          .correction2 = 1 - std::pow(beta2, t),
          .decoupled = decoupled_};
}

void Adam::finish() {
  const std::vector<Update> updates = std::exchange(updates_, {});
  for (std::size_t begin = 0, end = 0; begin < updates.size(); begin = end) {
    const Update& first = updates[begin];
    const bool captured = CapturedWork::current(first.parameter.device()) != nullptr;
    const auto is_alike = [&](const Update& other) {
      return other.parameter.device() == first.parameter.device() &&
             other.parameter.dtype() == first.parameter.dtype() && other.options == first.options &&
             (!captured || group_at(other.place) == group_at(first.place));
    };
    for (end = begin + 1; end < updates.size() && is_alike(updates[end]);) ++end;
    run(std::span(updates).subspan(begin, end - begin));
  }
}

void Adam::run(std::span<const Update> alike) {
  std::vector<Array> gradients;  // keeps copies of those that are not contiguous
  std::vector<AdamTensors> all;
  bool use_kernel = !DefinitionsOnly::active();
  for (const Update& u : alike) {
    use_kernel = use_kernel && u.parameter.array().is_contiguous();
    if (!use_kernel) break;
    gradients.push_back(u.gradient.array().contiguous());
    all.push_back(
        {u.parameter.array().view(), gradients.back().view(), u.m.array().view(), u.v.array().view()});
  }
  if (use_kernel && run_kernel(alike, all)) {
    for (const Update& u : alike) {
      for (const Tensor& changed : {u.parameter, u.m, u.v}) changed.array().bump_version();
    }
    return;
  }
  NORMA_CHECK(CapturedWork::current(alike.front().parameter.device()) == nullptr, type(),
              ": a step can only be captured with contiguous parameters and the device's kernel");
  for (const Update& u : alike) update_by_definition(u.parameter, u.gradient, u.m, u.v, u.options);
}

bool Adam::run_kernel(std::span<const Update> alike, std::span<const AdamTensors> all) {
  const Update& first = alike.front();
  Backend& kernels = backend(first.parameter.device());
  CapturedWork* const work = CapturedWork::current(first.parameter.device());
  if (work == nullptr) return kernels.adam(all, first.options);
  const auto options = std::make_shared<AdamOptions>(first.options);
  work->before_replay([this, options, place = first.place] {
    const auto [lr, weight_decay] = rates_at(place);
    *options = options_of(slot_at(place).step, lr, weight_decay);
  });
  return kernels.adam_in_capture(all, options);
}

}  // namespace norma::nn
