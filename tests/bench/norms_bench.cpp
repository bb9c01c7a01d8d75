// Norms with the gradients of their parameters: x and y forward; x, dy and dx backward. Norms over channels
// read x (and on the way back x and dy) a second time: a channel does not stay in the cache.
#include "autograd/normalization.h"
#include "tests/bench/forward_backward.h"

using namespace norma;
using namespace norma::bench;

namespace {

template <class Op>
void over_rows(benchmark::State& state, Op op) {
  const Tensor x = leaf({state.range(0), state.range(1)});
  const Tensor weight = leaf({state.range(1)}), bias = leaf({state.range(1)});
  forward_backward(state, moving(5 * f32_bytes * x.numel()), {x, weight, bias},
                   [&] { return op(x, weight, bias); });
}

void layer_norm_op(benchmark::State& state) {
  over_rows(state, [](const Tensor& x, const Tensor& w, const Tensor& b) { return layer_norm(x, w, b); });
}
void rms_norm_op(benchmark::State& state) {
  over_rows(state, [](const Tensor& x, const Tensor& w, const Tensor&) { return rms_norm(x, w); });
}

/// x, residual, sum, y; x, dy, dsum.
void add_layer_norm_op(benchmark::State& state) {
  const Shape shape{state.range(0), state.range(1)};
  const Tensor x = leaf(shape), residual = leaf(shape), weight = leaf({shape[1]}), bias = leaf({shape[1]});
  forward_backward(state, moving(7 * f32_bytes * x.numel()), {x, residual, weight, bias},
                   [&] { return add_layer_norm(x, residual, weight, bias).second; });
}

template <class Op>
void over_channels(benchmark::State& state, std::int64_t arrays, Op op) {
  const Tensor x = leaf({state.range(0), state.range(1), state.range(2)});
  const Tensor weight = leaf({state.range(1)}), bias = leaf({state.range(1)});
  forward_backward(state, moving(arrays * f32_bytes * x.numel()), {x, weight, bias},
                   [&] { return op(x, weight, bias); });
}

void batch_norm_op(benchmark::State& state) {
  over_channels(state, 8,
                [](const Tensor& x, const Tensor& w, const Tensor& b) { return batch_norm(x, w, b); });
}
void group_norm_op(benchmark::State& state) {
  over_channels(state, 5,
                [](const Tensor& x, const Tensor& w, const Tensor& b) { return group_norm(x, 32, w, b); });
}

/// Images of 32 x 32, sequences of 256, images of 7 x 7, rows.
void channels(benchmark::internal::Benchmark* row) {
  row->Args({32, 64, 1024})->Args({32, 768, 256})->Args({32, 1024, 49})->Args({8192, 768, 1})->UseRealTime();
}

}  // namespace

BENCHMARK(layer_norm_op)->Apply(rows_by_columns);
BENCHMARK(rms_norm_op)->Apply(rows_by_columns);
BENCHMARK(add_layer_norm_op)->Apply(rows_by_columns);
BENCHMARK(batch_norm_op)->Apply(channels);
BENCHMARK(group_norm_op)->Apply(channels);
