// Whole training steps of a GPT: forward, backward, AdamW. The floor is the time of the products (causal
// attention: half of the square; backward: twice the forward) and of AdamW's traffic.
#include "autograd/ops.h"
#include "models/gpt.h"
#include "nn/optim/optimizer.h"
#include "tests/bench/floor.h"

using namespace norma;
using namespace norma::bench;

namespace {

void gpt_step(benchmark::State& state, const char* placement) {
  const std::int64_t batch = state.range(0), length = state.range(1), layers = state.range(2),
                     width = state.range(4), vocabulary = state.range(5);
  models::Gpt model({.vocabulary = vocabulary,
                     .context = length,
                     .layers = layers,
                     .heads = state.range(3),
                     .width = width,
                     .placement = nn::make_placement(placement),
                     .activation = "gelu_tanh",
                     .tied = vocabulary > 1000});
  nn::AdamW optimizer(model.parameters(), {.lr = 3e-4});
  const Tensor tokens = randint(0, vocabulary, {batch, length}),
               targets = randint(0, vocabulary, {batch, length});

  const std::int64_t weights = 12 * layers * width * width + vocabulary * width;
  const std::int64_t attention = layers * 2 * length * width;  // multiplications for a token
  const auto products = static_cast<double>(3 * 2 * batch * length * (weights + attention / 2));
  measure(state, computing(products) + moving(7 * 4 * model.parameter_count()), [&] {
    optimizer.zero_grad();
    cross_entropy(model(tokens), targets).backward();
    optimizer.step();
  });
  state.SetItemsProcessed(state.iterations() * batch * length);  // tokens
}

void sizes(benchmark::internal::Benchmark* row) {
  row->ArgNames({"batch", "length", "layers", "heads", "width", "vocabulary"})
      ->Args({16, 128, 6, 6, 192, 128})
      ->Args({8, 256, 4, 6, 384, 256})
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

}  // namespace

BENCHMARK_CAPTURE(gpt_step, pre, "pre")->Apply(sizes)->Args({2, 256, 12, 12, 768, 50257});
BENCHMARK_CAPTURE(gpt_step, post, "post")->Apply(sizes);
BENCHMARK_CAPTURE(gpt_step, sandwich, "sandwich")->Apply(sizes);
BENCHMARK_CAPTURE(gpt_step, qkv, "qkv")->Apply(sizes);
BENCHMARK_CAPTURE(gpt_step, hybrid, "hybrid")->Apply(sizes);
