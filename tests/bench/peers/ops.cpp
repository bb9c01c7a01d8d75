// Ops and the optimizer's step.
#include <memory>

#include "autograd/ops.h"
#include "nn/optim/optimizer.h"
#include "tests/bench/peers/work.h"

namespace norma::peers {
namespace {

// The parameters of GPT-2 124M, without biases and norms of the attention part: 123.6 million in 73 tensors.
Work adamw() {
  std::vector<Shape> shapes{{50257, 768}};
  for (int layer = 0; layer < 12; ++layer) {
    for (const Shape& shape : {Shape{2304, 768}, {768, 768}, {3072, 768}, {768, 3072}, {768}, {768}})
      shapes.push_back(shape);
  }
  nn::StateDict parameters;
  std::vector<Tensor> leaves;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const std::string name = "p" + std::to_string(i);
    leaves.push_back(leaf(name, shapes[i], 0.05F));
    leaves.back().set_grad(numbers("g" + std::to_string(i), shapes[i], 0.01F));
    parameters.emplace_back(name, leaves.back().detach());
  }
  const auto optimizer =
      std::make_shared<nn::AdamW>(leaves, nn::AdamWSettings{.lr = 3e-4, .weight_decay = 0.1});
  return {[optimizer] { optimizer->step(); },
          [optimizer, parameters] {
            for (int step = 0; step < 3; ++step) optimizer->step();
            return parameters;
          }};
}

}  // namespace

Work make_op(const std::string& op, const Extents& e) {
  if (op == "adamw") return adamw();
  if (op == "cross_entropy") {
    const Tensor x = leaf("x", {e[0], e[1]}, 3), targets = indices("targets", {e[0]}, e[1]);
    return forward_and_backward({{"x", x}}, [=] { return cross_entropy(x, targets); });
  }
  if (op == "attention") {
    const Shape shape{e[0], e[1], e[2], e[3]};
    const Tensor q = leaf("q", shape, 2), k = leaf("k", shape, 2), v = leaf("v", shape);
    return forward_and_backward({{"q", q}, {"k", k}, {"v", v}},
                                [=] { return scaled_dot_product_attention(q, k, v, {.causal = true}); });
  }
  if (op != "gelu_tanh" && op != "dropout") return {};
  const Tensor x = leaf("x", {e[0], e[1]}, 3);
  if (op == "gelu_tanh") return forward_and_backward({{"x", x}}, [x] { return gelu(x, Gelu::tanh); });
  return forward_and_backward({{"x", x}}, [x] { return dropout(x, 0.1); });
}

}  // namespace norma::peers
