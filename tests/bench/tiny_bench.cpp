// Tensors so small that only the framework's own time counts: look at the time and at the allocations, not at
// the floor, which is that of the numbers alone.
#include "autograd/ops.h"
#include "nn/linear.h"
#include "nn/optim/optimizer.h"
#include "tests/bench/forward_backward.h"

using namespace norma;
using namespace norma::bench;

namespace {

const Floor add_floor() { return moving(3 * 16 * f32_bytes); }

void add_without_gradient(benchmark::State& state) {
  const Tensor a = randn({4, 4}), b = randn({4, 4});
  measure(state, add_floor(), [&] { benchmark::DoNotOptimize(a + b); });
}
void add_with_gradient(benchmark::State& state) {
  const Tensor a = leaf({4, 4}), b = leaf({4, 4});
  measure(state, add_floor(), [&] { benchmark::DoNotOptimize(a + b); });
}
void matmul_with_gradient(benchmark::State& state) {
  const Tensor a = leaf({4, 4}), b = leaf({4, 4});
  measure(state, add_floor(), [&] { benchmark::DoNotOptimize(a.matmul(b)); });
}
void reshape_and_transpose(benchmark::State& state) {
  const Tensor a = leaf({4, 4});
  measure(state, {}, [&] { benchmark::DoNotOptimize(a.reshape({2, 8}).transpose(0, 1)); });
}
void chain_of_1000_adds(benchmark::State& state) {
  const Tensor x = leaf({4, 4}), b = randn({4, 4});
  forward_backward(state, {1000 * add_floor().seconds}, {x}, [&] {
    Tensor y = x;
    for (int i = 0; i < 1000; ++i) y = y + b;
    return y;
  });
}

/// 16-16-1 on 32 samples.
void mlp_step(benchmark::State& state) {
  nn::Linear up(16, 16), down(16, 1);
  nn::SGD optimizer({up.weight, up.bias, down.weight, down.bias}, {.lr = 1e-3});
  const Tensor x = randn({32, 16}), y = randn({32, 1});
  measure(state, computing(3.0 * 2 * 32 * (16 * 16 + 16)), [&] {
    optimizer.zero_grad();
    (down(relu(up(x))) - y).square().mean().backward();
    optimizer.step();
  });
}

}  // namespace

BENCHMARK(add_without_gradient)->UseRealTime();
BENCHMARK(add_with_gradient)->UseRealTime();
BENCHMARK(matmul_with_gradient)->UseRealTime();
BENCHMARK(reshape_and_transpose)->UseRealTime();
BENCHMARK(chain_of_1000_adds)->UseRealTime();
BENCHMARK(mlp_step)->UseRealTime();
