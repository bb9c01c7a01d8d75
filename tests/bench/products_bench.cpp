// Matrix products at the shapes of models, each of the three that a linear layer needs, and attention.
#include "tests/bench/forward_backward.h"

using namespace norma;
using namespace norma::bench;

namespace {

double product(std::int64_t m, std::int64_t k, std::int64_t n) {
  return 2.0 * static_cast<double>(m * k * n);
}

/// x [m, k], weight [n, k].
struct Linear {
  explicit Linear(const benchmark::State& state)
      : m(state.range(0)),
        k(state.range(1)),
        n(state.range(2)),
        x(randn({m, k})),
        w(randn({n, k})),
        dy(randn({m, n})) {}
  std::int64_t m, k, n;
  Tensor x, w, dy;
};

void linear_y(benchmark::State& state) {
  const Linear l(state);
  measure(state, computing(product(l.m, l.k, l.n)), [&] { benchmark::DoNotOptimize(l.x.matmul(l.w.t())); });
}
void linear_dx(benchmark::State& state) {
  const Linear l(state);
  measure(state, computing(product(l.m, l.k, l.n)), [&] { benchmark::DoNotOptimize(l.dy.matmul(l.w)); });
}
void linear_dweight(benchmark::State& state) {
  const Linear l(state);
  measure(state, computing(product(l.m, l.k, l.n)), [&] { benchmark::DoNotOptimize(l.dy.t().matmul(l.x)); });
}

/// The layers of `char`, of `small`, of GPT-2 at 512 tokens, an MLP, and tiny ones.
void layers(benchmark::internal::Benchmark* row) {
  row->ArgNames({"m", "k", "n"});
  for (const auto& [m, d] : {std::pair<std::int64_t, std::int64_t>{2048, 192}, {2048, 384}, {512, 768}}) {
    row->Args({m, d, 3 * d})->Args({m, d, d})->Args({m, d, 4 * d})->Args({m, 4 * d, d});
  }
  row->Args({512, 768, 50257})->Args({64, 784, 128})->Args({32, 16, 16})->UseRealTime();
}

/// Two products forward, five backward (the scores are made again); the masked half is left out.
void attention_op(benchmark::State& state) {
  const Shape shape{state.range(0), state.range(1), state.range(2), state.range(3)};
  const Tensor q = leaf(shape), k = leaf(shape), v = leaf(shape);
  const double one = product(shape[2], shape[3], shape[2] + 1) / 2 * static_cast<double>(shape[0] * shape[1]);
  forward_backward(state, computing(7 * one), {q, k, v},
                   [&] { return scaled_dot_product_attention(q, k, v, {.causal = true}); });
}

}  // namespace

BENCHMARK(linear_y)->Apply(layers);
BENCHMARK(linear_dx)->Apply(layers);
BENCHMARK(linear_dweight)->Apply(layers);
BENCHMARK(attention_op)
    ->ArgNames({"batch", "heads", "length", "d"})
    ->Args({16, 6, 128, 32})
    ->Args({8, 12, 256, 64})
    ->Args({4, 8, 1024, 64})
    ->UseRealTime();
