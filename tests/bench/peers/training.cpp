// Whole training steps of a GPT: tokens in; loss, gradients and AdamW's update out.
#include <algorithm>
#include <memory>

#include "autograd/ops.h"
#include "core/precision.h"
#include "models/gpt.h"
#include "nn/optim/optimizer.h"
#include "tests/bench/peers/work.h"

namespace norma::peers {
namespace {

models::Gpt& on_device(models::Gpt& model) {
  model.to(device());
  return model;
}

struct Training {
  // extents: batch, length, layers, heads, width, vocabulary, tied
  explicit Training(const Extents& e)
      : model({.vocabulary = e[5],
               .context = e[1],
               .layers = e[2],
               .heads = e[3],
               .width = e[4],
               .activation = "gelu_tanh",
               .tied = e[6] != 0}),
        optimizer(on_device(model).parameters(), {.lr = 3e-4, .weight_decay = 0.1}) {
    const NoGrad guard;
    for (const auto& [name, parameter] : model.named_parameters()) {
      const bool gain = name.find("norm") != std::string::npos && name.ends_with("weight");
      parameter.copy_(numbers(name, parameter.shape(), gain ? 0.1F : 0.035F, gain ? 1.0F : 0.0F));
    }
    for (int i = 0; i < batches; ++i) {
      tokens.push_back(indices("tokens" + std::to_string(i), {e[0], e[1]}, e[5]));
      targets.push_back(indices("targets" + std::to_string(i), {e[0], e[1]}, e[5]));
    }
  }

  Tensor loss() {
    const std::size_t batch = static_cast<std::size_t>(steps % batches);
    return cross_entropy(model(tokens[batch]), targets[batch]);
  }
  double step() {
    optimizer.zero_grad();
    const Tensor y = loss();
    y.backward();
    optimizer.step();
    ++steps;
    return y.item();
  }

  static constexpr int batches = 8;
  models::Gpt model;
  nn::AdamW optimizer;
  std::vector<Tensor> tokens, targets;
  int steps = 0;
};

/// The gradients of the first step, and the losses of the first four: those see what the optimizer did.
nn::StateDict first_steps(Training& training) {
  nn::StateDict results;
  training.loss().backward();
  for (const auto& [name, parameter] : training.model.named_parameters())
    results.emplace_back("d" + name, parameter.grad().clone());
  for (int i = 0; i < 4; ++i) results.emplace_back("loss" + std::to_string(i), full({1}, training.step()));
  return results;
}

}  // namespace

/// gpt; gpt_high, gpt_medium and gpt_bf16 with products of high and medium precision (the other side: in f32,
/// and for gpt_bf16 by autocast to bf16).
Work make_training(const std::string& op, const Extents& extents) {
  const bool medium = op == "gpt_medium" || op == "gpt_bf16", high = op == "gpt_high";
  if (op != "gpt" && !medium && !high) return {};
  const auto training = std::make_shared<Training>(extents);
  const auto precisely = [medium, high](auto&& work) {
    set_matmul_precision(medium ? "medium" : high ? "high" : "highest");
    auto result = work();
    set_matmul_precision("highest");
    return result;
  };
  return {[=] { precisely([&] { return training->step(); }); },
          [=] { return precisely([&] { return first_steps(*training); }); }};
}

}  // namespace norma::peers
