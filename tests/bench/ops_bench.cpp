// Elementwise ops, softmax, dropout, cross-entropy, embeddings and AdamW. `arrays` counts what must be moved
// at least: forward x and y, backward dy and dx and what the derivative is a function of.
#include "nn/optim/optimizer.h"
#include "tests/bench/forward_backward.h"

using namespace norma;
using namespace norma::bench;

namespace {

template <class Op>
void of_rows(benchmark::State& state, std::int64_t arrays, Op op) {
  const Tensor x = leaf({state.range(0), state.range(1)});
  forward_backward(state, moving(arrays * f32_bytes * x.numel()), {x}, [&] { return op(x); });
}

void add_op(benchmark::State& state) {  // a, b, y; the gradients are dy itself
  const Tensor other = randn({state.range(0), state.range(1)});
  of_rows(state, 3, [&](const Tensor& x) { return x + other; });
}
void relu_op(benchmark::State& state) {
  of_rows(state, 5, [](const Tensor& x) { return relu(x); });
}
void silu_op(benchmark::State& state) {
  of_rows(state, 5, [](const Tensor& x) { return silu(x); });
}
void gelu_tanh_op(benchmark::State& state) {
  of_rows(state, 5, [](const Tensor& x) { return gelu(x, Gelu::tanh); });
}
void gelu_erf_op(benchmark::State& state) {
  of_rows(state, 5, [](const Tensor& x) { return gelu(x); });
}
void softmax_op(benchmark::State& state) {
  of_rows(state, 5, [](const Tensor& x) { return softmax(x, -1); });
}
void dropout_op(benchmark::State& state) {  // the mask is drawn anew on the way back
  of_rows(state, 4, [](const Tensor& x) { return dropout(x, 0.1); });
}
void transpose_copy(benchmark::State& state) {
  const Tensor x = randn({state.range(0), state.range(1)});
  const NoGrad guard;
  measure(state, moving(2 * f32_bytes * x.numel()), [&] { benchmark::DoNotOptimize(x.t().contiguous()); });
}

void cross_entropy_op(benchmark::State& state) {  // the logits, and their gradient
  const Tensor targets = randint(0, state.range(1), {state.range(0)});
  of_rows(state, 2, [&](const Tensor& x) { return cross_entropy(x, targets); });
}

/// Rows of a table; its whole gradient is zeros first.
void embedding_op(benchmark::State& state) {
  const std::int64_t rows = state.range(0), entries = state.range(1), d = state.range(2);
  const Tensor table = leaf({entries, d}), index = randint(0, entries, {rows});
  forward_backward(state, moving((4 * rows + entries) * d * f32_bytes), {table},
                   [&] { return embedding(index, table); });
}

/// Reads weight, gradient and both moments; writes all but the gradient.
void adamw_step(benchmark::State& state) {
  std::vector<Tensor> parameters;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    parameters.push_back(leaf({state.range(1)}));
    parameters.back().set_grad(randn({state.range(1)}));
  }
  nn::AdamW optimizer(parameters);
  measure(state, moving(7 * f32_bytes * state.range(0) * state.range(1)), [&] { optimizer.step(); });
}

}  // namespace

BENCHMARK(add_op)->Apply(rows_by_columns);
BENCHMARK(relu_op)->Apply(rows_by_columns);
BENCHMARK(silu_op)->Apply(rows_by_columns);
BENCHMARK(gelu_tanh_op)->Apply(rows_by_columns);
BENCHMARK(gelu_erf_op)->Apply(rows_by_columns);
BENCHMARK(softmax_op)->Apply(rows_by_columns);
BENCHMARK(dropout_op)->Apply(rows_by_columns);
BENCHMARK(transpose_copy)->Apply(rows_by_columns);
BENCHMARK(cross_entropy_op)->Args({2048, 256})->Args({512, 50257})->UseRealTime();
BENCHMARK(embedding_op)
    ->ArgNames({"rows", "entries", "d"})
    ->Args({2048, 256, 256})
    ->Args({512, 50257, 768})
    ->UseRealTime();
BENCHMARK(adamw_step)
    ->ArgNames({"tensors", "each"})
    ->Args({40, 65536})
    ->Args({1, 10'000'000})
    ->Args({100, 1'240'000})
    ->UseRealTime();
