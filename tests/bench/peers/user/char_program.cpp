// A user's program that trains the `char` GPT, every layer of the model written out: compiled and started
// beside libtorch/char_program.cpp, which says the same with libtorch's front end. usage: char_program
// [STEPS]
#include <cstdio>
#include <cstdlib>

#include "nn/norma.h"
using namespace norma;

constexpr std::int64_t batch = 16, length = 128, layers = 6, heads = 6, width = 192, vocabulary = 128;

struct Block : nn::Module {
  Tensor operator()(const Tensor& x) {
    const auto parts = qkv(norm1(x)).split(width, 2);
    const auto by_head = [](const Tensor& t) {
      return t.view({batch, length, heads, width / heads}).transpose(1, 2);
    };
    const Tensor context = scaled_dot_product_attention(by_head(parts[0]), by_head(parts[1]),
                                                        by_head(parts[2]), {.causal = true});
    const Tensor y = x + proj(context.transpose(1, 2).reshape({batch, length, width}));
    return y + down(gelu(up(norm2(y)), Gelu::tanh));
  }
  NORMA_PARTS(norm1, norm2, qkv, proj, up, down)
  nn::LayerNorm norm1{width}, norm2{width};
  nn::Linear qkv{width, 3 * width}, proj{width, width}, up{width, 4 * width}, down{4 * width, width};
};

struct Gpt : nn::Module {
  Tensor operator()(const Tensor& tokens, const Tensor& targets) {
    Tensor x = token_embedding(tokens) + position_embedding(arange(0, length));
    for (Block& block : blocks) x = block(x);
    return cross_entropy(head(norm(x)), targets);
  }
  NORMA_PARTS(token_embedding, position_embedding, blocks, norm, head)
  nn::Embedding token_embedding{vocabulary, width}, position_embedding{length, width};
  std::vector<Block> blocks{layers};
  nn::LayerNorm norm{width};
  nn::Linear head{width, vocabulary, false};
};

int main(int argc, char** argv) {
  const int steps = argc > 1 ? std::atoi(argv[1]) : 20;
  manual_seed(0);
  Gpt model;
  for (const Tensor& parameter : model.parameters()) {
    if (parameter.dim() > 1) nn::init::normal_(parameter, 0, 0.02);
  }
  nn::AdamW optimizer(model.parameters(), {.lr = 3e-4, .weight_decay = 0.1});
  const Tensor tokens = randint(0, vocabulary, {batch, length}),
               targets = randint(0, vocabulary, {batch, length});
  for (int step = 0; step < steps; ++step) {
    const Tensor loss = model(tokens, targets);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    std::printf("step %d: loss %.4f\n", step, loss.item());
  }
}
