#include <cmath>

#include "autograd/ops.h"
#include "nn/optim/optimizer.h"

namespace norma::nn {

SGD::SGD(std::vector<Tensor> parameters, SGDOptions options)
    : SGD(std::vector<ParamGroup>{{std::move(parameters), {}, {}}}, options) {}

SGD::SGD(std::vector<ParamGroup> groups, SGDOptions options)
    : Optimizer(std::move(groups), options.lr, options.weight_decay), options_(options) {
  NORMA_CHECK(std::isfinite(options.momentum) && options.momentum >= 0, "SGD: momentum must be >= 0, got ",
              options.momentum);
  NORMA_CHECK(std::isfinite(options.dampening), "SGD: dampening must be finite, got ", options.dampening);
  NORMA_CHECK(!options.nesterov || (options.momentum > 0 && options.dampening == 0),
              "SGD: nesterov needs momentum > 0 and dampening = 0, got momentum = ", options.momentum,
              ", dampening = ", options.dampening);
}

std::span<const char* const> SGD::slot_names() const {
  static constexpr const char* names[] = {"momentum_buffer"};
  return names;
}

void SGD::update(const Tensor& parameter, const Tensor& gradient, Slot& slot, double lr,
                 double weight_decay) {
  Tensor d = gradient;
  if (weight_decay != 0) d = d + parameter * weight_decay;
  if (options_.momentum != 0) {
    Tensor& buffer = slot.tensors[0];
    if (!buffer.defined()) {
      buffer = d.clone();
    } else {
      buffer.mul_(options_.momentum).add_(d * (1 - options_.dampening));
    }
    d = options_.nesterov ? d + buffer * options_.momentum : buffer;
  }
  parameter.sub_(d * lr);
}

}  // namespace norma::nn
