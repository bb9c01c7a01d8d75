// Functional grad, higher orders, hooks, modes.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/fused.h"
#include "autograd/ops.h"
#include "core/allocator.h"
#include "tests/messages.h"

using namespace norma;

namespace {

Tensor leaf(std::initializer_list<double> values) { return tensor(values, f64).set_requires_grad(); }

}  // namespace

TEST_SUITE_BEGIN("engine grad");

TEST_CASE("grad leaves grad() alone and reaches interior tensors") {
  const Tensor x = leaf({2});
  const Tensor y = x.square();
  const Tensor z = y * 3 + x;
  const auto found = grad({z}, {x, y});
  CHECK(found[0].item() == 13);
  CHECK(found[1].item() == 3);
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("grad of a tensor with respect to itself is one") {
  const Tensor x = leaf({2});
  CHECK(grad({x}, {x})[0].item() == 1);
  const Tensor y = x * 2;
  CHECK(grad({y}, {y})[0].item() == 1);
}

TEST_CASE("grad says which input was not used") {
  const Tensor x = leaf({2}), other = leaf({1, 2, 3});
  CHECK_THROWS_MESSAGE_HAS(grad({x * 2}, {other}), "[3]");
  CHECK_THROWS_MESSAGE_HAS(grad({x * 2}, {other}), "allow_unused");
  const auto found = grad({x * 2}, {x, other}, {}, {.allow_unused = true});
  CHECK(found[0].item() == 2);
  CHECK_FALSE(found[1].defined());
  CHECK_THROWS_MESSAGE_HAS(grad({x * 2}, {tensor({1})}), "requires no gradient");
  CHECK(grad({x.sign()}, {x})[0].item() == 0);
}

TEST_CASE("derivatives of any order") {
  const Tensor x = leaf({0.7});
  Tensor y = x.sin();
  const double expected[] = {std::cos(0.7), -std::sin(0.7), -std::cos(0.7), std::sin(0.7), std::cos(0.7)};
  for (const double value : expected) {
    y = grad({y}, {x}, {}, {.create_graph = true})[0];
    CHECK(y.item() == doctest::Approx(value).epsilon(1e-14));
  }
}

TEST_CASE("backward with create_graph records the gradient") {
  const Tensor x = leaf({3});
  x.pow(3).sum().backward({}, {.create_graph = true});
  const Tensor first = x.grad();
  CHECK(first.item() == doctest::Approx(27));
  CHECK(grad({first}, {x})[0].item() == doctest::Approx(18));
  x.zero_grad();
}

TEST_CASE("grad inside a backward rule") {
  // y = d(t^3)/dt at t = x, computed by an inner walk on the way back as well
  const Tensor x = leaf({2});
  const Tensor y =
      record("inner", (x.detach() * 3).array(), {x}, [x = Saved(x)](const Backward& b) -> Gradients {
        const EnableGrad guard;
        const Tensor t = x.get().detach().clone().set_requires_grad();
        return {b.dy * grad({t.pow(3)}, {t})[0]};
      });
  y.sum().backward();
  CHECK(x.grad().item() == doctest::Approx(12));
}

TEST_CASE("hooks see the whole gradient and may replace it") {
  const Tensor x = leaf({1});
  const Tensor y = x * 2;
  double seen = 0;
  y.register_hook([&](const Tensor& g) {
    seen = g.item();
    return g * 10;
  });
  (y * 3 + y).sum().backward();
  CHECK(seen == 4);
  CHECK(x.grad().item() == 80);
  x.zero_grad();
  int calls = 0;
  x.register_hook([&](const Tensor& g) {
    ++calls;
    return g * 0.5;
  });
  (x * 3 + x.square()).sum().backward();
  CHECK(calls == 1);
  CHECK(x.grad().item() == 2.5);
  x.register_hook([](const Tensor&) { return ones({2}, f64); });
  CHECK_THROWS_MESSAGE_HAS((x * 1).sum().backward(), "[2]");
}

TEST_CASE("R81 a hook that holds only what it needs leaves no memory behind") {
  const std::int64_t before = memory_stats(cpu).live_bytes;
  {
    const Tensor x = randn({64}, f64).set_requires_grad();
    const Tensor y = x * 2;
    y.register_hook([scale = y.detach()](const Tensor& g) { return g * scale; });
    y.sum().backward();
    CHECK(x.grad().at({3}) == 4 * x.at({3}));
  }
  CHECK(memory_stats(cpu).live_bytes == before);
}

TEST_CASE("a rule with a wrong shape or number of gradients is named") {
  const Tensor x = leaf({1, 2});
  const Tensor bad = record("bad_shape", x.array().clone(), {x},
                            [](const Backward&) -> Gradients { return {ones({3}, f64)}; });
  CHECK_THROWS_MESSAGE_HAS(bad.sum().backward(), "bad_shape");
  const Tensor none =
      record("bad_count", x.array().clone(), {x}, [](const Backward&) { return Gradients(2); });
  CHECK_THROWS_MESSAGE_HAS(none.sum().backward(), "returned 2 gradients for 1 inputs");
}

TEST_CASE("anomaly mode names the op that made the first NaN") {
  const Tensor x = leaf({-1});
  {
    const AnomalyMode guard;
    CHECK_THROWS_MESSAGE_HAS((x.log() * 2).sum(), "forward pass of log");
    const Tensor zero = leaf({0});
    const Tensor y = (zero.sqrt() * 0).sum();  // 0 * inf on the way back
    CHECK_THROWS_MESSAGE_HAS(y.backward(), "backward pass of sqrt");
  }
  CHECK(std::isnan(x.log().item()));
}

TEST_CASE("gradients keep the dtype through to()") {
  const Tensor x = tensor({1, 2}).set_requires_grad();
  (x.to(f64) * 2).sum().backward();
  CHECK(x.grad().dtype() == f32);
  CHECK_THROWS_MESSAGE_HAS(x + x.to(f64), "convert with to()");
  CHECK_THROWS_MESSAGE_HAS(tensor({1}, i64).set_requires_grad(), "i64");
}

TEST_CASE("a gradient of a leaf is its own memory") {
  const Tensor x = leaf({1, 2}), y = leaf({3, 4});
  (x + y).sum().backward();
  CHECK(x.grad().array().is_contiguous());
  CHECK_FALSE(x.grad().array().shares_storage(y.grad().array()));
  const NoGrad guard;
  x.grad().mul_(5);
  CHECK(y.grad().at({0}) == 1);
}

TEST_CASE("tied weights: the gradient of a second use is added where the first one lies") {
  manual_seed(3);
  const Tensor w = randn({4096, 64}).set_requires_grad(), index = tensor({5, 0, 5, 4095}).to(i64);
  const auto loss = [&] { return linear(linear(embedding(index, w), w).square(), w.t() * 2).square().sum(); };
  const Tensor expected = [&] {
    const DefinitionsOnly definitions;
    return grad({loss()}, {w})[0];
  }();
  const auto differs_by = [&](const Tensor& found) {
    return ((found - expected).abs().max() / expected.abs().max()).item();
  };
  CHECK(differs_by(grad({loss()}, {w})[0]) < 1e-5);
  CHECK(differs_by(grad({loss()}, {w}, {}, {.create_graph = true})[0]) < 1e-5);

  const Tensor y = linear(embedding(index, w), w).sum();
  release_cached_memory(cpu);
  reset_peak_memory(cpu);
  const std::int64_t before = memory_stats(cpu).live_bytes, of_gradient = w.numel() * 4;
  y.backward();
  const std::int64_t room = memory_stats(cpu).peak_bytes - before;
  CHECK(room >= of_gradient);
  CHECK(room < of_gradient * 3 / 2);
}

TEST_CASE("tied weights: what others hold of a gradient stays as it was") {
  manual_seed(3);
  const Tensor w = randn({8, 8}, f64).set_requires_grad(), x = randn({3, 8}, f64);
  const auto y = [&] { return linear(linear(x, w), w).sum(); };
  const Tensor once = grad({y()}, {w})[0], again = grad({y()}, {w})[0];
  y().backward();
  const Tensor first = w.grad().clone();
  CHECK((first - once).abs().max().item() == 0);
  linear(x, w).sum().backward();  // to what is in grad() from before
  CHECK((again - once).abs().max().item() == 0);
  const Tensor step = w.grad() - first;
  CHECK((step - x.sum(0).expand({8, 8})).abs().max().item() < 1e-12);
}

TEST_SUITE_END();
