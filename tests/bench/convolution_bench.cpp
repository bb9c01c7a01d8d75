// Convolution and pooling, forward and backward.
#include <benchmark/benchmark.h>

#include "autograd/convolution.h"

using namespace norma;

namespace {

/// A 3 x 3 convolution of n images, side x side: channels -> out, in groups.
void conv2d_op(benchmark::State& state) {
  const std::int64_t n = state.range(0), channels = state.range(1), side = state.range(2),
                     out = state.range(3), groups = state.range(4);
  const Tensor x = randn({n, channels, side, side}).set_requires_grad();
  const Tensor weight = randn({out, channels / groups, 3, 3}).set_requires_grad();
  const Tensor bias = randn({out}).set_requires_grad(), dy = randn({n, out, side, side});
  for (auto _ : state) {
    for (const Tensor& leaf : {x, weight, bias}) leaf.zero_grad();
    conv2d(x, weight, bias, {.padding = 1, .groups = groups}).backward(dy);
    benchmark::DoNotOptimize(x.grad().array().version());
  }
  const std::int64_t products = 3 * n * side * side * out * (channels / groups) * 9;  // y, dx and dweight
  state.counters["FLOP/s"] = benchmark::Counter(2.0 * static_cast<double>(products * state.iterations()),
                                                benchmark::Counter::kIsRate);
}

void max_pool2d_op(benchmark::State& state) {
  const Tensor x =
      randn({state.range(0), state.range(1), state.range(2), state.range(2)}).set_requires_grad();
  const Tensor dy = randn(max_pool2d(x, 2).shape());
  for (auto _ : state) {
    x.zero_grad();
    max_pool2d(x, 2).backward(dy);
    benchmark::DoNotOptimize(x.grad().array().version());
  }
  state.SetBytesProcessed(state.iterations() * x.numel() * 8);  // x is read and dx written
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
