// The usual row: an op and its gradients.
#pragma once

#include <utility>
#include <vector>

#include "autograd/ops.h"
#include "tests/bench/floor.h"

namespace norma::bench {

inline Tensor leaf(const Shape& shape) { return randn(shape).set_requires_grad(); }

/// Times y = op() and the gradients of the leaves.
template <class Op>
void forward_backward(benchmark::State& state, Floor floor, const std::vector<Tensor>& leaves, Op op) {
  const Tensor y = op();
  const Tensor dy = y.numel() == 1 ? Tensor() : randn(y.shape());
  measure(state, floor, [&] {
    for (const Tensor& x : leaves) x.zero_grad();
    op().backward(dy);
  });
}

inline constexpr std::int64_t f32_bytes = 4;

inline void rows_by_columns(benchmark::internal::Benchmark* row) {
  row->Args({8192, 768})->Args({2048, 256})->Args({512, 4096})->Args({64, 64})->UseRealTime();
}

}  // namespace norma::bench
