#include "tests/bench/peers/work.h"

#include <sstream>

#include "autograd/ops.h"

namespace norma::peers {
namespace {

Device present_device = cpu;

std::uint64_t seed_of(std::string_view name) {  // FNV-1a
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// The finalizer of splitmix64.
std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

template <class T, class F>
Tensor filled(std::string_view name, const Shape& shape, F value) {
  const std::uint64_t seed = seed_of(name);
  const Tensor x = empty(shape, dtype_of<T>());
  T* const data = x.array().data<T>();
  for (std::int64_t i = 0; i < x.numel(); ++i) data[i] = value(mixed(seed + static_cast<std::uint64_t>(i)));
  return x.to(present_device);
}

}  // namespace

void set_device(Device device) { present_device = device; }
Device device() { return present_device; }

Tensor numbers(std::string_view name, const Shape& shape, float scale, float shift) {
  return filled<float>(name, shape, [=](std::uint64_t hash) {
    const float u = static_cast<float>(hash >> 40) * 0x1p-23F - 1;  // exact
    const float product = u * scale;
    return product + shift;
  });
}

Tensor indices(std::string_view name, const Shape& shape, std::int64_t limit) {
  return filled<std::int64_t>(name, shape, [=](std::uint64_t hash) {
    return static_cast<std::int64_t>((hash >> 33) % static_cast<std::uint64_t>(limit));
  });
}

Tensor leaf(std::string_view name, const Shape& shape, float scale, float shift) {
  return numbers(name, shape, scale, shift).set_requires_grad();
}

Work forward_and_backward(std::vector<nn::NamedTensor> leaves, std::function<Tensor()> f) {
  const Tensor y = f();
  const Tensor dy = y.numel() == 1 ? Tensor() : numbers("dy", y.shape());
  const auto step = [leaves, f, dy] {
    for (const auto& [name, x] : leaves) x.zero_grad();
    const Tensor result = f();
    result.backward(dy);
    return result;
  };
  return {[step] { step(); },
          [step, leaves] {
            nn::StateDict results{{"y", step().detach()}};
            for (const auto& [name, x] : leaves) results.emplace_back("d" + name, x.grad());
            return results;
          }};
}

Work make_work(const std::string& name) {
  const std::size_t slash = name.find('/');
  const std::string op = name.substr(0, slash);
  Extents extents;
  if (slash != std::string::npos) {
    std::istringstream text(name.substr(slash + 1));
    for (std::string number; std::getline(text, number, ',');) extents.push_back(std::stoll(number));
  }
  for (const auto make : {make_op, make_norm, make_training, make_tiny, make_basic}) {
    if (Work work = make(op, extents); work.run) return work;
  }
  throw Error("no work is called " + name);
}

}  // namespace norma::peers
