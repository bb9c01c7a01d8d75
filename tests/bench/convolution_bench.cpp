// Convolution and pooling, forward and backward.
#include "autograd/convolution.h"

#include "tests/bench/forward_backward.h"

using namespace norma;
using namespace norma::bench;

namespace {

/// A 3 x 3 convolution of n images, side x side: channels -> out, in groups. Three products: y, dx and
/// dweight.
void conv2d_op(benchmark::State& state) {
  const std::int64_t n = state.range(0), channels = state.range(1), side = state.range(2),
                     out = state.range(3), groups = state.range(4);
  const Tensor x = leaf({n, channels, side, side}), weight = leaf({out, channels / groups, 3, 3}),
               bias = leaf({out});
  const auto products = static_cast<double>(3 * 2 * n * side * side * out * (channels / groups) * 9);
  forward_backward(state, computing(products), {x, weight, bias},
                   [&] { return conv2d(x, weight, bias, {.padding = 1, .groups = groups}); });
}

void max_pool2d_op(benchmark::State& state) {  // x is read and dx written
  const Tensor x = leaf({state.range(0), state.range(1), state.range(2), state.range(2)});
  forward_backward(state, moving(2 * f32_bytes * x.numel()), {x}, [&] { return max_pool2d(x, 2); });
}

}  // namespace

BENCHMARK(conv2d_op)
    ->ArgNames({"n", "channels", "side", "out", "groups"})
    ->Args({64, 1, 28, 32, 1})
    ->Args({64, 32, 14, 64, 1})
    ->Args({16, 64, 56, 64, 1})
    ->Args({16, 64, 56, 64, 64})
    ->UseRealTime();
BENCHMARK(max_pool2d_op)->ArgNames({"n", "channels", "side"})->Args({64, 32, 28})->UseRealTime();
