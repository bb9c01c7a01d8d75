// Tensors so small that only the framework's own time counts.
#include <memory>

#include "autograd/ops.h"
#include "nn/linear.h"
#include "nn/optim/optimizer.h"
#include "tests/bench/peers/work.h"

namespace norma::peers {
namespace {

Work add() {
  const Tensor a = leaf("a", {4, 4}), b = leaf("b", {4, 4});
  return {[=] { const Tensor y = a + b; }, [=] { return nn::StateDict{{"y", (a + b).detach()}}; }};
}

Work chain(std::int64_t length) {
  const Tensor x = leaf("x", {4, 4}), b = numbers("b", {4, 4}, 0.01F);
  return forward_and_backward({{"x", x}}, [=] {
    Tensor y = x;
    for (std::int64_t i = 0; i < length; ++i) y = y + b;
    return y;
  });
}

struct Mlp : nn::Module {
  Mlp() : up(16, 16), down(16, 1) {}
  Tensor operator()(const Tensor& x) { return down(relu(up(x))); }
  NORMA_PARTS(up, down)
  nn::Linear up, down;
};

Work mlp() {
  const auto model = std::make_shared<Mlp>();
  for (const auto& [name, parameter] : model->named_parameters()) {
    const NoGrad guard;
    parameter.copy_(numbers(name, parameter.shape(), 0.25F));
  }
  const auto optimizer = std::make_shared<nn::SGD>(model->parameters(), nn::SGDOptions{.lr = 1e-3});
  const Tensor x = numbers("x", {32, 16}), y = numbers("y", {32, 1});
  const auto step = [=] {
    const Tensor loss = ((*model)(x)-y).square().mean();
    optimizer->zero_grad();
    loss.backward();
    optimizer->step();
    return loss;
  };
  return {[step] { step(); },
          [=] {
            nn::StateDict results{{"loss", step().detach().reshape({1})}};
            for (const auto& [name, parameter] : model->named_parameters()) {
              results.emplace_back("d" + name, parameter.grad());
              results.emplace_back(name, parameter.detach());
            }
            return results;
          }};
}

}  // namespace

Work make_tiny(const std::string& op, const Extents& extents) {
  if (op == "add") return add();
  if (op == "chain") return chain(extents[0]);
  if (op == "mlp") return mlp();
  return {};
}

}  // namespace norma::peers
