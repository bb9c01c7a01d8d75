// The engine: walking, accumulating, freeing. Numbers are those of the robustness checklist.
#include <doctest/doctest.h>

#include <thread>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "tests/messages.h"

using namespace norma;

namespace {

Tensor leaf(std::initializer_list<double> values, DType dtype = f64) {
  Tensor x = tensor(values, dtype);
  x.set_requires_grad();
  return x;
}

/// An op whose backward rule throws.
Tensor thrower(const Tensor& x) {
  return record("thrower", x.array().clone(), {x},
                [](const Backward&) -> Gradients { throw std::runtime_error("from the rule"); });
}

}  // namespace

TEST_SUITE_BEGIN("engine");

TEST_CASE("a product and a sum give the textbook gradients") {
  const Tensor x = leaf({1, 2, 3}), y = leaf({4, 5, 6});
  (x * y + x * 2 - y / x).sum().backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{4 + 2 + 4, 5 + 2 + 5.0 / 4, 6 + 2 + 6.0 / 9});
  CHECK(y.grad().at({0}) == doctest::Approx(1 - 1.0));
  CHECK(y.grad().at({2}) == doctest::Approx(3 - 1.0 / 3));
}

TEST_CASE("R7 an input used twice in one op gets the sum of both gradients") {
  const Tensor x = leaf({3, -2});
  mul(x, x).sum().backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{6, -4});
  const Tensor m = Tensor(Array::from(std::vector<double>{1, 2, 3, 4}, {2, 2})).set_requires_grad();
  matmul(m, m).sum().backward();
  CHECK(m.grad().to_vector<double>() == std::vector<double>{7, 11, 9, 13});
}

TEST_CASE("R8 paths of different length: a node waits for all its consumers") {
  const Tensor x = leaf({2});
  const Tensor a = x * 3;
  const Tensor b = ((a + 1).square() + a).exp() * 0 + a.square();  // the long path adds nothing
  (a + b).sum().backward();
  CHECK(x.grad().item() == doctest::Approx(3 + 2 * 6 * 3));
}

TEST_CASE("R65 a chain of a million ops on a small stack") {
  std::exception_ptr failure;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  pthread_t thread;
  const auto body = [](void* out) -> void* {
    try {
      const Tensor x = leaf({1});
      Tensor y = x;
      for (int i = 0; i < 1'000'000; ++i) y = y + 1e-6;
      y.sum().backward({}, {.retain_graph = true});
      if (x.grad().item() != 1) throw std::runtime_error("wrong gradient");
    } catch (...) {
      *static_cast<std::exception_ptr*>(out) = std::current_exception();
    }
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, body, &failure) == 0);
  pthread_join(thread, nullptr);
  CHECK(failure == nullptr);
}

TEST_CASE("R66 a second backward needs retain_graph, and then adds up") {
  const Tensor x = leaf({2, 3});
  const Tensor y = x.square().sum();
  y.backward({}, {.retain_graph = true});
  y.backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{8, 12});
  CHECK_THROWS_MESSAGE_HAS(y.backward(), "retain_graph");
  CHECK(x.grad().to_vector<double>() == std::vector<double>{8, 12});
}

TEST_CASE("R67 R68 backward says what it needs") {
  const Tensor x = leaf({2, 3});
  CHECK_THROWS_MESSAGE_HAS((x * 2).backward(), "[2]");
  CHECK_THROWS_MESSAGE_HAS((x * 2).backward(ones({3}, f64)), "[3]");
  CHECK_THROWS_MESSAGE_HAS(tensor({1}).backward(), "requires one");
  CHECK_THROWS_MESSAGE_HAS(Tensor().backward(), "undefined");
  const Tensor unrecorded = [&] {
    const NoGrad guard;
    return (x * 2).sum();
  }();
  CHECK_THROWS_MESSAGE_HAS(unrecorded.backward(), "no_grad");
}

TEST_CASE("R69 a saved value changed in place stops backward with op, shape and versions") {
  const Tensor x = leaf({1, 2});
  const Tensor y = x.exp();
  const Tensor z = y.sum();
  y.add_(1);
  const std::string message = tests::message_of([&] { z.backward(); });
  CHECK(message.find("the result of exp, shape [2], was changed in place") != std::string::npos);
  CHECK(message.find("saved at version 0, now at version 1") != std::string::npos);
  CHECK_FALSE(x.grad().defined());

  const Tensor a = x * 1, b = leaf({5, 6});
  const Tensor product = (a * b).sum();
  a.add_(1);
  CHECK_THROWS_MESSAGE_HAS(product.backward(), "[2]");
}

TEST_CASE("R70 an in-place change of what nobody saved is fine") {
  const Tensor x = leaf({1, 2});
  const Tensor y = x + 1;
  y.mul_(2);
  y.sum().backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{2, 2});
  CHECK(y.to_vector<double>() == std::vector<double>{4, 6});
}

TEST_CASE("R70 an in-place product has a gradient by its recorded operand") {
  const Tensor w = leaf({2, 4}), x = tensor({3, 5}, f64);
  const Tensor product = x.clone(), quotient = x.clone();
  product.mul_(w);
  quotient.div_(w);
  CHECK(grad({product.sum()}, {w})[0].to_vector<double>() == std::vector<double>{3, 5});
  CHECK(grad({quotient.sum()}, {w})[0].to_vector<double>() == std::vector<double>{-3.0 / 4, -5.0 / 16});
}

TEST_CASE("recorded in-place ops have the values and gradients of those out of place") {
  using T = const Tensor&;
  const auto check = [](const char* name, auto in_place, auto out_of_place) {
    CAPTURE(name);
    for (const Shape& shape : {Shape{3, 4}, Shape{4}, Shape{}, Shape{3, 1}}) {
      for (const bool wants : {false, true}) {
        CAPTURE(shape);
        const Tensor x = randn({3, 4}, f64).set_requires_grad();
        const Tensor y = (randn(shape, f64) + 3).set_requires_grad(wants);
        const Tensor changed = x.square();
        in_place(changed, y);
        const Tensor want = out_of_place(x.square(), y);
        CHECK(changed.to_vector<double>() == want.to_vector<double>());
        std::vector<Tensor> inputs{x};
        if (wants) inputs.push_back(y);
        const auto found = grad({changed.square().sum()}, inputs, {}, {.create_graph = true});
        const auto expected = grad({want.square().sum()}, inputs, {}, {.create_graph = true});
        for (std::size_t i = 0; i < inputs.size(); ++i) {
          CHECK(found[i].to_vector<double>() == expected[i].to_vector<double>());
          const auto twice = [&x](T first) {
            return grad({first.square().sum()}, {x}, {}, {.retain_graph = true})[0].to_vector<double>();
          };
          CHECK(twice(found[i]) == twice(expected[i]));
        }
      }
    }
  };
  check(
      "add_", [](T x, T y) { x.add_(y); }, [](T x, T y) { return x + y; });
  check(
      "sub_", [](T x, T y) { x.sub_(y); }, [](T x, T y) { return x - y; });
  check(
      "mul_", [](T x, T y) { x.mul_(y); }, [](T x, T y) { return x * y; });
  check(
      "div_", [](T x, T y) { x.div_(y); }, [](T x, T y) { return x / y; });
  check(
      "numbers", [](T x, T y) { x.mul_(2).add_(3).add_(y); }, [](T x, T y) { return x * 2 + 3 + y; });
  check(
      "its own source", [](T x, T y) { x.mul_(y).add_(y).div_(y); },
      [](T x, T y) { return (x * y + y) / y; });
}

TEST_CASE("a recorded in-place op needs no memory of its own") {
  const Tensor x = leaf({1, 2, 3}), y = leaf({4, 5, 6});
  const Tensor z = x * 2;
  reset_peak_memory(cpu);
  const std::int64_t before = memory_stats(cpu).peak_bytes;
  z.add_(y).sub_(y).mul_(3);
  CHECK(memory_stats(cpu).peak_bytes == before);
  z.backward(ones({3}, f64));
  CHECK(x.grad().to_vector<double>() == std::vector<double>{6, 6, 6});
  CHECK(y.grad().to_vector<double>() == std::vector<double>{0, 0, 0});
}

TEST_CASE("R70 copy_ passes the gradient on to a leaf of the target's shape") {
  const Tensor w = leaf({2, 4});
  const Tensor y = (w * 3).copy_(w);
  CHECK(grad({y.square().sum()}, {w})[0].to_vector<double>() == std::vector<double>{4, 8});
}

TEST_CASE("R71 a change through a view of a saved tensor is noticed") {
  const Tensor x = leaf({1, 2, 3});
  const Tensor y = x * 1;
  const Tensor z = y.square().sum();
  const auto change = [&] {
    const NoGrad guard;
    y.slice(0, {1, 2}).fill_(7);
  };
  CHECK_THROWS_MESSAGE_HAS(y.slice(0, {0, 1}).fill_(7), "view");
  change();
  CHECK_THROWS_MESSAGE_HAS(z.backward(), "changed in place");
  CHECK_THROWS_MESSAGE_HAS(y.transpose(0, 0).add_(1), "view");
}

TEST_CASE("a view taken before a recorded in-place change of its base is stale") {
  const Tensor x = leaf({1, 2, 3});
  const Tensor y = x * 1;
  const Tensor part = y.slice(0, {0, 2});
  y.add_(x);
  CHECK_THROWS_MESSAGE_HAS(part.sum(), "stale");
  y.slice(0, {0, 2}).sum().backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{2, 2, 0});
}

TEST_CASE("fill_ cuts the history of what it overwrites") {
  const Tensor x = leaf({1, 2});
  const Tensor y = x * 3;
  y.fill_(5);
  CHECK_FALSE(y.requires_grad());
  (y * x).sum().backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{5, 5});
}

TEST_CASE("R73 a leaf that requires a gradient is not changed while recording") {
  const Tensor x = leaf({1, 2});
  CHECK_THROWS_MESSAGE_HAS(x.add_(1), "leaf");
  const NoGrad guard;
  x.add_(1);
  CHECK(x.at({0}) == 2);
}

TEST_CASE("R74 in-place with overlapping operands reads first, then writes") {
  const Tensor x = tensor({1, 2, 3, 4});
  x.slice(0, {1}).add_(x.slice(0, {0, -1}));
  CHECK(x.to_vector<float>() == std::vector<float>{1, 3, 5, 7});
  const Tensor y = full({100000}, 3);
  y.mul_(y.slice(0, {0, 1}));  // the address and strides of y, but one element, which is written first
  CHECK(y.to_vector<float>() == std::vector<float>(100000, 9));
  const Tensor z = tensor({1, 2, 3, 4}).reshape({2, 2});
  z.add_(z.slice(0, {0, 1}));
  CHECK(z.to_vector<float>() == std::vector<float>{2, 4, 4, 6});
  CHECK_THROWS_MESSAGE_HAS(tensor({1}).expand({3}).add_(1), "several elements");
}

TEST_CASE(
    "an unrecorded in-place op computes in the target's memory, with the values of the op out of place") {
  const Tensor base = tensor({1, -2, 3, 4}), other = tensor({2, 0.5, -4, 8}), number = full({}, 0.5);
  const auto check = [&](const char* name, const Tensor& x, auto change, const Tensor& want) {
    CAPTURE(name);
    const std::int64_t version = x.array().version();
    reset_peak_memory(cpu);
    const std::int64_t before = memory_stats(cpu).peak_bytes;
    change(x);
    CHECK(memory_stats(cpu).peak_bytes == before);
    CHECK(x.array().version() == version + 1);
    CHECK(x.to_vector<float>() == want.to_vector<float>());
  };
  check(
      "add_", base.clone(), [&](const Tensor& x) { x.add_(other); }, base + other);
  check(
      "sub_", base.clone(), [&](const Tensor& x) { x.sub_(other); }, base - other);
  check(
      "mul_", base.clone(), [&](const Tensor& x) { x.mul_(other); }, base * other);
  check(
      "div_", base.clone(), [&](const Tensor& x) { x.div_(other); }, base / other);
  check(
      "a number as a tensor", base.clone(), [&](const Tensor& x) { x.mul_(number); }, base * 0.5);
  check(
      "numbers", base.clone(), [&](const Tensor& x) { x.mul_(3); }, base * 3);
  check(
      "itself", base.clone(), [&](const Tensor& x) { x.mul_(x); }, base * base);
  check(
      "fill_", base.clone(), [&](const Tensor& x) { x.fill_(7); }, full({4}, 7));
  check(
      "copy_", base.clone(), [&](const Tensor& x) { x.copy_(other); }, other);
  const Tensor doubles = other.to(f64);
  check(
      "copy_ of another dtype", base.clone(), [&](const Tensor& x) { x.copy_(doubles); }, other);
  const Tensor rows = base.reshape({2, 2}), row = tensor({5, 6}), column = tensor({5, 6}).reshape({2, 1});
  check(
      "a row for all", rows.clone(), [&](const Tensor& x) { x.add_(row); }, rows + row);
  check(
      "a column for all", rows.clone(), [&](const Tensor& x) { x.sub_(column); }, rows - column);
  check(
      "copy_ of a row for all", rows.clone(), [&](const Tensor& x) { x.copy_(row); }, row.expand({2, 2}));
  const Tensor parts = base.clone();  // halves of one array
  check(
      "another part", parts.slice(0, {0, 2}), [&](const Tensor& x) { x.add_(parts.slice(0, {2})); },
      tensor({4, 2}));
}

TEST_CASE("copy_ reads a source that overlaps the target before it writes") {
  const Tensor x = tensor({1, 2, 3, 4}).reshape({2, 2}), want = x.t().clone();
  x.copy_(x.t());
  CHECK(x.to_vector<float>() == want.to_vector<float>());
  CHECK_THROWS_AS(x.copy_(ones({3, 2, 2})), Error);
  CHECK_THROWS_AS(tensor({1, 2}).expand({3, 2}).copy_(x.slice(0, {0, 1})), Error);
}

TEST_CASE("R75 detach shares memory and version, not history") {
  const Tensor x = leaf({1, 2});
  const Tensor y = x * 2;
  const Tensor d = y.detach();
  CHECK_FALSE(d.requires_grad());
  CHECK(d.array().shares_storage(y.array()));
  d.fill_(9);
  CHECK(y.at({0}) == 9);
  CHECK(y.array().version() == 1);
}

TEST_CASE("R76 gradients of interior tensors start from zero in each pass") {
  const Tensor x = leaf({3});
  const Tensor y = x.square();
  y.retain_grad();
  const Tensor z = (y * 2).sum();
  z.backward({}, {.retain_graph = true});
  z.backward({}, {.retain_graph = true});
  CHECK(y.grad().item() == 2);
  CHECK(x.grad().item() == 24);
}

TEST_CASE("R77 an exception in a rule reaches the caller and nothing has changed") {
  const Tensor x = leaf({1}), w = leaf({1});
  CHECK_THROWS_WITH_AS((thrower(x) * w).sum().backward(), "from the rule", std::runtime_error);
  CHECK_FALSE(w.grad().defined());
  (x * w).sum().backward();
  CHECK(w.grad().item() == 1);
}

TEST_CASE("R78 recording is per thread and survives an exception") {
  CHECK(grad_enabled());
  try {
    const NoGrad guard;
    CHECK_FALSE(grad_enabled());
    bool elsewhere = false;
    std::thread([&] { elsewhere = grad_enabled(); }).join();
    CHECK(elsewhere);
    const EnableGrad inner;
    CHECK(grad_enabled());
    throw std::runtime_error("out");
  } catch (const std::runtime_error&) {
  }
  CHECK(grad_enabled());
}

TEST_CASE("R79 two threads share parameters") {
  const Tensor w = leaf({2});
  const auto work = [&] {
    for (int i = 0; i < 200; ++i) (w * 3).square().sum().backward();
  };
  std::thread other(work);
  work();
  other.join();
  CHECK(w.grad().item() == doctest::Approx(400 * 2 * 9 * 2.0).epsilon(1e-12));
}

TEST_CASE("R80 the last reference may go in another thread") {
  Tensor y = leaf({1});
  for (int i = 0; i < 1000; ++i) y = y * 1.001;
  std::thread([y = std::move(y)]() mutable { y = Tensor(); }).join();
}

TEST_CASE("R82 a step leaves no memory behind") {
  const Tensor w = randn({16, 16}, f64).set_requires_grad();
  const Tensor x = randn({8, 16}, f64);
  std::int64_t live = -1;
  for (int step = 0; step < 1000; ++step) {
    w.zero_grad();
    x.matmul(w).tanh().square().sum().backward();
    const std::int64_t now = memory_stats(cpu).live_bytes;
    if (step > 0) CHECK(now == live);
    live = now;
  }
}

TEST_CASE("R12 R133 an undefined gradient is zero, an unused leaf has none") {
  const Tensor x = leaf({1, 2}), unused = leaf({3});
  const auto found = grad({x * 2, x.square()}, {x}, {Tensor(), ones({2}, f64)});
  CHECK(found[0].to_vector<double>() == std::vector<double>{2, 4});
  x.sum().backward();
  CHECK_FALSE(unused.grad().defined());
}

TEST_SUITE_END();
