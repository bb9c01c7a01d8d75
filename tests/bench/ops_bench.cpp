// Ops, forward and backward, with the memory traffic or the arithmetic they need at least.
#include <benchmark/benchmark.h>

#include "autograd/normalization.h"

using namespace norma;

namespace {

Tensor input(std::int64_t rows, std::int64_t columns) { return randn({rows, columns}).set_requires_grad(); }

/// Times y = op(x) and its gradient; `arrays` is how many arrays of x's size must be moved at least.
template <class Op>
void forward_backward(benchmark::State& state, double arrays, Op op) {
  const Tensor x = input(state.range(0), state.range(1));
  const Tensor dy = randn(op(x).shape());
  for (auto _ : state) {
    x.zero_grad();
    op(x).backward(dy);
    benchmark::DoNotOptimize(x.grad().array().version());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(static_cast<double>(state.iterations()) * arrays * 4 *
                                                    static_cast<double>(x.numel())));
}

void layer_norm_op(benchmark::State& state) {
  const Tensor weight = input(1, state.range(1)).reshape({-1}).detach(), bias = zeros_like(weight);
  forward_backward(state, 5, [&](const Tensor& x) { return layer_norm(x, weight, bias); });
}
void rms_norm_op(benchmark::State& state) {
  const Tensor weight = ones({state.range(1)});
  forward_backward(state, 5, [&](const Tensor& x) { return rms_norm(x, weight); });
}
/// Times a norm over channels of [n, channels, inner], forward and backward.
template <class Op>
void over_channels(benchmark::State& state, double arrays, Op op) {
  const Tensor x = randn({state.range(0), state.range(1), state.range(2)}).set_requires_grad();
  const Tensor weight = randn({state.range(1)}).set_requires_grad();
  const Tensor bias = randn({state.range(1)}).set_requires_grad();
  const Tensor dy = randn(x.shape());
  for (auto _ : state) {
    for (const Tensor& leaf : {x, weight, bias}) leaf.zero_grad();
    op(x, weight, bias).backward(dy);
    benchmark::DoNotOptimize(x.grad().array().version());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(static_cast<double>(state.iterations()) * arrays * 4 *
                                                    static_cast<double>(x.numel())));
}
void batch_norm_op(benchmark::State& state) {  // x twice, y; x and dy twice, dx
  over_channels(state, 8,
                [](const Tensor& x, const Tensor& w, const Tensor& b) { return batch_norm(x, w, b); });
}
void group_norm_op(benchmark::State& state) {
  over_channels(state, 5,
                [](const Tensor& x, const Tensor& w, const Tensor& b) { return group_norm(x, 32, w, b); });
}
void softmax_op(benchmark::State& state) {
  forward_backward(state, 5, [](const Tensor& x) { return softmax(x, -1); });
}
void gelu_tanh_op(benchmark::State& state) {
  forward_backward(state, 5, [](const Tensor& x) { return gelu(x, Gelu::tanh); });
}
void dropout_op(benchmark::State& state) {
  forward_backward(state, 4, [](const Tensor& x) { return dropout(x, 0.1); });
}
void add_op(benchmark::State& state) {
  const Tensor other = randn({state.range(0), state.range(1)});
  forward_backward(state, 3, [&](const Tensor& x) { return x + other; });
}
void cross_entropy_op(benchmark::State& state) {
  const Tensor targets = randint(0, state.range(1), {state.range(0)});
  const Tensor x = input(state.range(0), state.range(1));
  for (auto _ : state) {
    x.zero_grad();
    cross_entropy(x, targets).backward();
  }
  state.SetBytesProcessed(state.iterations() * x.numel() * 8);
}

void matmul_op(benchmark::State& state) {
  const std::int64_t m = state.range(0), k = state.range(1), n = state.range(2);
  const Tensor a = randn({m, k}), b = randn({n, k});
  for (auto _ : state) benchmark::DoNotOptimize(a.matmul(b.t()).array().version());
  state.counters["FLOP/s"] = benchmark::Counter(2.0 * static_cast<double>(m * k * n * state.iterations()),
                                                benchmark::Counter::kIsRate);
}

void attention_op(benchmark::State& state) {
  const Shape shape{state.range(0), state.range(1), state.range(2), state.range(3)};
  const auto make = [&] { return randn(shape).set_requires_grad(); };
  const Tensor q = make(), k = make(), v = make(), dy = randn(shape);
  for (auto _ : state) {
    for (const Tensor& x : {q, k, v}) x.zero_grad();
    scaled_dot_product_attention(q, k, v, {.causal = true}).backward(dy);
  }
}

/// What a node costs: a chain of additions of 16 numbers.
void chain_of_1000_additions(benchmark::State& state) {
  const Tensor x = input(4, 4);
  for (auto _ : state) {
    x.zero_grad();
    Tensor y = x;
    for (int i = 0; i < 1000; ++i) y = y + 1e-3;
    y.sum().backward();
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}

void rows_by_columns(benchmark::internal::Benchmark* bench) {
  bench->Args({8192, 768})->Args({2048, 256})->Args({512, 4096})->Args({64, 64})->UseRealTime();
}

/// Images of 32 x 32, sequences of 256, images of 7 x 7, rows.
void channels(benchmark::internal::Benchmark* bench) {
  bench->Args({32, 64, 1024})
      ->Args({32, 768, 256})
      ->Args({32, 1024, 49})
      ->Args({8192, 768, 1})
      ->UseRealTime();
}

}  // namespace

BENCHMARK(layer_norm_op)->Apply(rows_by_columns);
BENCHMARK(rms_norm_op)->Apply(rows_by_columns);
BENCHMARK(batch_norm_op)->Apply(channels);
BENCHMARK(group_norm_op)->Apply(channels);
BENCHMARK(softmax_op)->Apply(rows_by_columns);
BENCHMARK(gelu_tanh_op)->Apply(rows_by_columns);
BENCHMARK(dropout_op)->Apply(rows_by_columns);
BENCHMARK(add_op)->Apply(rows_by_columns);
BENCHMARK(cross_entropy_op)->Args({2048, 256})->Args({512, 50257})->UseRealTime();
BENCHMARK(matmul_op)->Args({2048, 192, 576})->Args({2048, 384, 1536})->Args({512, 768, 768})->UseRealTime();
BENCHMARK(attention_op)->Args({16, 6, 128, 32})->Args({8, 12, 256, 64})->UseRealTime();
BENCHMARK(chain_of_1000_additions)->UseRealTime();
