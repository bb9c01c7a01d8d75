#include "nn/init.h"
#include "nn/loss.h"
#include "nn/optim/clip.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "tests/outside/cases.h"

namespace norma::tests::outside {
namespace {

using In = Tensors&;
using Opt = const CaseOptions&;

/// Inputs: two values and the gradients [steps, ..] of each; outputs: the values after each step. The rate
/// changes at every step.
template <class Optimizer, class Options>
Tensors trained(const Tensors& in, const CaseOptions& o, Options options) {
  const Tensors parameters{nn::Parameter(in[0]), nn::Parameter(in[1])};
  Optimizer optimizer(parameters, options);
  Tensors history[2];
  std::int64_t step = 0;
  for (const double rate : o.numbers("rates")) {
    for (std::size_t i = 0; i < 2; ++i) parameters[i].set_grad(in[i + 2].select(0, step).clone());
    optimizer.set_lr(rate);
    optimizer.step();
    for (std::size_t i = 0; i < 2; ++i) history[i].push_back(parameters[i].detach().clone());
    ++step;
  }
  return {stack(history[0]), stack(history[1])};
}

template <class Options>
Options adam_options(const CaseOptions& o) {
  Options options;
  options.betas = {o.number("beta1"), o.number("beta2")};
  options.eps = o.number("eps");
  options.weight_decay = o.number("weight_decay");
  return options;
}

Tensors clipped(Tensors& in, const CaseOptions& o) {
  Tensors parameters;
  for (const Tensor& gradient : in) {
    parameters.push_back(zeros_like(gradient).set_requires_grad());
    parameters.back().set_grad(gradient.clone());
  }
  Tensors outputs{nn::clip_grad_norm_(parameters, o.number("max_norm"))};
  for (const Tensor& parameter : parameters) outputs.push_back(parameter.grad());
  return outputs;
}

Tensors scheduled(Tensors&, const CaseOptions& o) {
  const nn::Schedule schedule = nn::make_schedule(o.text("kind"), {.lr = o.number("lr"),
                                                                   .min_lr = o.number("min_lr"),
                                                                   .warmup = o.integer("warmup"),
                                                                   .total = o.integer("total")});
  std::vector<double> rates;
  for (std::int64_t step = 0; step < o.integer("total"); ++step) rates.push_back(schedule(step));
  return {tensor(rates, {o.integer("total")})};
}

}  // namespace

std::vector<Row> training_rows() {
  return {
      {"SGD",
       [](In in, Opt o) {
         return trained<nn::SGD>(in, o,
                                 nn::SGDOptions{.momentum = o.number("momentum"),
                                                .dampening = o.number("dampening"),
                                                .weight_decay = o.number("weight_decay"),
                                                .nesterov = o.flag("nesterov")});
       }},
      {"Adam", [](In in, Opt o) { return trained<nn::Adam>(in, o, adam_options<nn::AdamSettings>(o)); }},
      {"AdamW", [](In in, Opt o) { return trained<nn::AdamW>(in, o, adam_options<nn::AdamWSettings>(o)); }},
      {"clip_grad_norm_", clipped},
      {"make_schedule", scheduled},
      {"calculate_gain",
       [](In, Opt o) -> Tensors {
         return {Tensor::scalar(nn::init::calculate_gain(o.text("name"), o.number("slope")), f64)};
       }},
      {"CrossEntropyLoss",
       [](In in, Opt o) -> Tensors {
         const nn::CrossEntropyLoss loss(
             {.label_smoothing = o.number("smoothing"), .reduction = o.reduction()});
         return {loss(in[0], in[1])};
       }},
      {"MSELoss", [](In in, Opt o) -> Tensors { return {nn::MSELoss(o.reduction())(in[0], in[1])}; }},
      {"BCEWithLogitsLoss",
       [](In in, Opt o) -> Tensors { return {nn::BCEWithLogitsLoss(o.reduction())(in[0], in[1])}; }},
  };
}

}  // namespace norma::tests::outside
