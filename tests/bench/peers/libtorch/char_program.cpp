// The twin of user/char_program.cpp in libtorch's C++ front end. usage: char_program [STEPS]
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
using torch::Tensor;

constexpr int64_t batch = 16, length = 128, layers = 6, heads = 6, width = 192, vocabulary = 128;

struct BlockImpl : torch::nn::Module {
  BlockImpl()
      : norm1(torch::nn::LayerNormOptions({width})),
        norm2(torch::nn::LayerNormOptions({width})),
        qkv(width, 3 * width),
        proj(width, width),
        up(width, 4 * width),
        down(4 * width, width) {
    register_module("norm1", norm1);
    register_module("norm2", norm2);
    register_module("qkv", qkv);
    register_module("proj", proj);
    register_module("up", up);
    register_module("down", down);
    hidden = register_buffer("hidden", torch::ones({length, length}).tril().logical_not());
  }
  Tensor forward(Tensor x) {
    const auto parts = qkv(norm1(x)).split(width, 2);
    const auto by_head = [](const Tensor& t) {
      return t.view({batch, length, heads, width / heads}).transpose(1, 2);
    };
    const Tensor scores = torch::matmul(by_head(parts[0]), by_head(parts[1]).transpose(-2, -1)) *
                          (1 / std::sqrt(static_cast<double>(width / heads)));
    const Tensor weights = torch::softmax(scores.masked_fill(hidden, -INFINITY), -1);
    x = x + proj(torch::matmul(weights, by_head(parts[2])).transpose(1, 2).reshape({batch, length, width}));
    return x + down(torch::gelu(up(norm2(x)), "tanh"));
  }
  torch::nn::LayerNorm norm1, norm2;
  torch::nn::Linear qkv, proj, up, down;
  Tensor hidden;
};
TORCH_MODULE(Block);

struct GptImpl : torch::nn::Module {
  GptImpl()
      : token_embedding(vocabulary, width),
        position_embedding(length, width),
        norm(torch::nn::LayerNormOptions({width})),
        head(torch::nn::LinearOptions(width, vocabulary).bias(false)) {
    register_module("token_embedding", token_embedding);
    register_module("position_embedding", position_embedding);
    for (int64_t i = 0; i < layers; ++i)
      blocks.push_back(register_module("block" + std::to_string(i), Block()));
    register_module("norm", norm);
    register_module("head", head);
  }
  Tensor forward(Tensor tokens, Tensor targets) {
    Tensor x = token_embedding(tokens) + position_embedding(torch::arange(length));
    for (Block& block : blocks) x = block(x);
    return torch::nn::functional::cross_entropy(head(norm(x)).view({-1, vocabulary}), targets.reshape(-1));
  }
  torch::nn::Embedding token_embedding, position_embedding;
  std::vector<Block> blocks;
  torch::nn::LayerNorm norm;
  torch::nn::Linear head;
};
TORCH_MODULE(Gpt);

int main(int argc, char** argv) {
  const int steps = argc > 1 ? std::atoi(argv[1]) : 20;
  torch::set_num_threads(std::stoi(std::getenv("OMP_NUM_THREADS")));
  torch::manual_seed(0);
  Gpt model;
  for (Tensor& parameter : model->parameters()) {
    torch::NoGradGuard guard;
    if (parameter.dim() > 1) parameter.normal_(0, 0.02);
  }
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(3e-4).weight_decay(0.1));
  const Tensor tokens = torch::randint(0, vocabulary, {batch, length}, torch::kLong);
  const Tensor targets = torch::randint(0, vocabulary, {batch, length}, torch::kLong);
  for (int step = 0; step < steps; ++step) {
    const Tensor loss = model(tokens, targets);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    std::printf("step %d: loss %.4f\n", step, loss.item<double>());
  }
}
