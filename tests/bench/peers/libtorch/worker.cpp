// libtorch's side of `make bench-peers`, for the works of tiny.cpp; the commands are worker.cpp's.
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <sstream>

namespace {

using torch::Tensor;
using Results = std::vector<Tensor>;
using Clock = std::chrono::steady_clock;

struct Work {
  std::function<void()> run;
  std::function<Results()> results;
};

// work.h says what these are.
Tensor numbers(const std::string& name, std::vector<int64_t> shape, float scale = 1) {
  uint64_t seed = 0xcbf29ce484222325;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  const Tensor x = torch::empty(shape);
  for (int64_t i = 0; i < x.numel(); ++i) {
    uint64_t z = seed + static_cast<uint64_t>(i);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    x.data_ptr<float>()[i] = (static_cast<float>((z ^ (z >> 31)) >> 40) * 0x1p-23F - 1) * scale;
  }
  return x;
}

Work add() {
  const Tensor a = numbers("a", {4, 4}).requires_grad_(), b = numbers("b", {4, 4}).requires_grad_();
  return {[=] { const Tensor y = a + b; }, [=] { return Results{(a + b).detach()}; }};
}

Work chain(int64_t length) {
  const Tensor x = numbers("x", {4, 4}).requires_grad_(), b = numbers("b", {4, 4}, 0.01F),
               dy = numbers("dy", {4, 4});
  const auto step = [=] {
    x.mutable_grad() = Tensor();
    Tensor y = x;
    for (int64_t i = 0; i < length; ++i) y = y + b;
    y.backward(dy);
    return y;
  };
  return {[=] { step(); }, [=] { return Results{step().detach(), x.grad()}; }};
}

Work mlp() {
  const auto up = std::make_shared<torch::nn::LinearImpl>(16, 16),
             down = std::make_shared<torch::nn::LinearImpl>(16, 1);
  std::vector<Tensor> parameters;
  for (const auto& [name, layer] : {std::pair("up", up), std::pair("down", down)}) {
    for (const auto& item : layer->named_parameters()) {
      const torch::NoGradGuard guard;
      item.value().copy_(numbers(std::string(name) + "." + item.key(), item.value().sizes().vec(), 0.25F));
      parameters.push_back(item.value());
    }
  }
  const auto optimizer = std::make_shared<torch::optim::SGD>(parameters, 1e-3);
  const Tensor x = numbers("x", {32, 16}), y = numbers("y", {32, 1});
  const auto step = [=] {
    const Tensor loss = (down->forward(torch::relu(up->forward(x))) - y).pow(2).mean();
    optimizer->zero_grad();
    loss.backward();
    optimizer->step();
    return loss;
  };
  return {[=] { step(); },
          [=] {
            Results results{step().detach().reshape({1})};
            for (const Tensor& parameter : parameters) {
              results.push_back(parameter.grad());
              results.push_back(parameter.detach());
            }
            return results;
          }};
}

Work make_work(const std::string& name) {
  if (name == "add") return add();
  if (name == "mlp") return mlp();
  if (name.rfind("chain/", 0) == 0) return chain(std::stoll(name.substr(6)));
  throw std::runtime_error("no work is called " + name);
}

double seconds_of(const Work& work, int calls) {
  const auto start = Clock::now();
  for (int i = 0; i < calls; ++i) work.run();
  return std::chrono::duration<double>(Clock::now() - start).count() / calls;
}

double median_seconds(const Work& work, double seconds, size_t least) {
  std::vector<double> times{seconds_of(work, 1)};
  const int calls = std::max(1, static_cast<int>(20e-6 / times[0]));
  if (calls > 1) times.clear();
  const auto end = Clock::now() + std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9));
  while (times.size() < least || Clock::now() < end) times.push_back(seconds_of(work, calls));
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

std::string answer(const std::string& line, Work& work) {
  std::istringstream words(line);
  std::ostringstream text;
  std::string command, name;
  double seconds = 0;
  size_t least = 1;
  words >> command;
  if (command == "prepare" && words >> name) {
    work = make_work(name);
    return "ready";
  }
  if (command == "values") {
    text.precision(9);
    for (const Tensor& x : work.results()) {
      for (int64_t i = 0; i < x.numel(); ++i) text << x.contiguous().data_ptr<float>()[i] << ' ';
    }
    return text.str();
  }
  if (command != "run" || !(words >> seconds >> least)) throw std::runtime_error("no such command: " + line);
  return std::to_string(1e9 * median_seconds(work, seconds, least));
}

}  // namespace

int main() {
  torch::set_num_threads(std::stoi(std::getenv("OMP_NUM_THREADS")));
  Work work;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::cout << answer(line, work) << std::endl;
    } catch (const std::exception& error) {
      std::cout << "error " << error.what() << std::endl;
    }
  }
}
