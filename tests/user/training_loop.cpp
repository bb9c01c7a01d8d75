// What a user writes: a model of their own and a training loop. `make user-compile-time` times its
// compilation.
#include <cstdio>
#include <vector>

#include "nn/norma.h"

using namespace norma;

// Predicts the next token of a row. index [batch, length] -> logits [batch, length, tokens].
struct TinyTransformer : nn::Module {
  TinyTransformer(std::int64_t tokens, std::int64_t width, int depth)
      : embedding(tokens, width), norm(width), head(width, tokens) {
    for (int i = 0; i < depth; ++i)
      blocks.emplace_back(nn::BlockOptions{
          .attention = {.embed_dim = width, .num_heads = 2, .causal = true, .rotary = true}});
  }

  Tensor operator()(const Tensor& index) {
    Tensor x = embedding(index);
    for (nn::PreNormBlock& block : blocks) x = block(x);
    return head(norm(x));
  }

  nn::Embedding embedding;
  std::vector<nn::PreNormBlock> blocks;
  nn::LayerNorm norm;
  nn::Linear head;
  NORMA_PARTS(embedding, blocks, norm, head)
};

// Rows that count upwards from a random start, modulo `tokens`. [rows, length + 1]
Tensor counting_rows(std::int64_t rows, std::int64_t length, std::int64_t tokens) {
  std::vector<std::int64_t> values;
  const std::vector<std::int64_t> starts = randint(0, tokens, {rows}).to_vector<std::int64_t>();
  for (std::int64_t start : starts)
    for (std::int64_t i = 0; i <= length; ++i) values.push_back((start + i) % tokens);
  return tensor(values, {rows, length + 1});
}

int main() {
  manual_seed(1);
  const std::int64_t tokens = 11, length = 8;
  TinyTransformer model(tokens, 32, 2);
  nn::AdamW optimizer(nn::decay_groups(model, 0.01), {.lr = 3e-3});

  double first = 0, last = 0;
  for (int step = 0; step < 60; ++step) {
    const Tensor rows = counting_rows(16, length, tokens);
    optimizer.zero_grad();
    Tensor loss = cross_entropy(model(rows.narrow(1, 0, length)), rows.narrow(1, 1, length));
    loss.backward();
    nn::clip_grad_norm_(model.parameters(), 1.0);
    optimizer.step();
    last = loss.item();
    if (step == 0) first = last;
    if (step % 20 == 0) std::printf("step %d, loss %.4f\n", step, last);
  }
  std::printf("loss %.4f -> %.4f\n", first, last);
  return last < first / 2 ? 0 : 1;
}
