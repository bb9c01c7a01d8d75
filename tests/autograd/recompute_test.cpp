// checkpoint(): the same values and gradients as without it, and less memory.
#include "autograd/recompute.h"

#include <doctest/doctest.h>

#include "autograd/gradcheck_doctest.h"
#include "autograd/normalization.h"
#include "autograd/ops.h"
#include "core/allocator.h"
#include "core/random.h"
#include "nn/linear.h"
#include "nn/norm/batch_norm.h"
#include "nn/norm/batch_renorm.h"
#include "nn/norm/spectral_norm.h"
#include "tests/messages.h"

namespace norma::tests {
namespace {

using Inputs = std::vector<Tensor>;

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.defined() && b.defined() && a.shape() == b.shape() &&
         a.to_vector<double>() == b.to_vector<double>();
}

Tensor leaf(const Shape& shape) { return randn(shape, f64).set_requires_grad(); }

TEST_SUITE_BEGIN("engine recomputation");

TEST_CASE("checkpoint: the bits of values and gradients, dropout included") {
  const Tensor x = leaf({5, 6}), w = leaf({6, 6}), dy = randn({5, 6}, f64);
  const auto fn = [&](const Inputs& in) {
    return dropout(layer_norm(matmul(in[0], w).tanh(), {}, {}), 0.4) * in[0];
  };
  manual_seed(3);
  fn({x}).backward(dy);
  const double next = rand({1}, f64).item();
  const Tensor dx = x.grad(), dw = w.grad();
  x.zero_grad(), w.zero_grad();
  manual_seed(3);
  const Tensor y = checkpoint(fn, {x});
  CHECK(std::string(y.op_name()) == "checkpoint");
  const RandomKey before = default_generator().state();
  y.backward(dy);
  CHECK(default_generator().state().offset == before.offset);
  CHECK(rand({1}, f64).item() == next);
  CHECK(same_bits(x.grad(), dx));
  CHECK(same_bits(w.grad(), dw));
  CHECK_FALSE(Recomputation::active());
}

TEST_CASE("checkpoint: derivatives of any order, through arguments and parameters") {
  const auto plain = [](const Tensor& a, const Tensor& b, const Tensor& w) {
    return matmul(a, w).tanh() * b.exp() * a;
  };
  const auto again = [&plain](const Tensor& a, const Tensor& b, const Tensor& w) {
    return checkpoint([plain, w](const Inputs& in) { return plain(in[0], in[1], w); }, {a, b});
  };
  CHECK_GRADIENT(again, randn({2, 3}, f64), randn({2, 3}, f64), randn({3, 3}, f64));
  const Tensor a = leaf({2, 3}), b = leaf({2, 3}), w = leaf({3, 3});
  const auto third = [&](const auto& fn) {
    const Tensor first = grad({fn(a, b, w).sum()}, {a}, {}, {.create_graph = true})[0];
    const Tensor second = grad({first.square().sum()}, {w}, {}, {.create_graph = true})[0];
    return grad({second.sin().sum()}, {b})[0];
  };
  CHECK((third(plain) - third(again)).abs().max().item() < 1e-12 * third(plain).abs().max().item());
}

TEST_CASE("checkpoint: an argument made from another argument, and from a parameter that fn uses") {
  const Tensor w = leaf({4, 4}), dy = randn({3, 4}, f64);
  const Tensor x = leaf({3, 4});
  const auto run = [&](bool again, bool create_graph) {
    const Tensor a = matmul(x, w), b = a.sin();
    const auto fn = [&](const Inputs& in) { return matmul(in[0] * in[1], w) + in[0]; };
    const Tensor y = again ? checkpoint(fn, {a, b}) : fn({a, b});
    return grad({y}, {x, w, a}, {dy}, {.create_graph = create_graph});
  };
  for (const bool create_graph : {false, true}) {
    const auto plain = run(false, create_graph), kept = run(true, create_graph);
    for (std::size_t i = 0; i < plain.size(); ++i) {
      CAPTURE(i);
      CHECK((plain[i] - kept[i]).abs().max().item() < 1e-13);
    }
  }
}

TEST_CASE("checkpoint: arguments without gradients, undefined ones, the same one twice") {
  const Tensor x = leaf({3}), still = randn({3}, f64);
  const auto fn = [](const Inputs& in) {
    return in[0] * in[1] * in[2] + (in[3].defined() ? in[3] : zeros_like(in[0]));
  };
  checkpoint(fn, {x, still, x, Tensor()}).sum().backward();
  CHECK((x.grad() - 2 * x.detach() * still).abs().max().item() < 1e-15);
  CHECK_FALSE(still.grad().defined());
  CHECK(checkpoint(fn, {still, still, still, Tensor()}).is_leaf());
  CHECK(checkpoint([](const Inputs& in) { return in[0]; }, {x}).requires_grad());
  const NoGrad no_grad;
  CHECK_FALSE(checkpoint(fn, {x, still, x, Tensor()}).requires_grad());
}

TEST_CASE("checkpoint: what throws") {
  const Tensor x = leaf({3}), outside = x * 2;
  CHECK_THROWS_MESSAGE_HAS(checkpoint([&](const Inputs& in) { return in[0] * outside; }, {x}),
                           "pass it in inputs");
  CHECK_THROWS_MESSAGE_HAS(checkpoint({}, {x}), "fn is empty");
  CHECK_THROWS_MESSAGE_HAS(checkpoint([](const Inputs&) { return Tensor(); }, {x}), "the result of fn");
  const Tensor w = leaf({3});
  const Tensor y = checkpoint([&](const Inputs& in) { return in[0] * w; }, {x});
  {
    const NoGrad no_grad;
    w.add_(1);
  }
  CHECK_THROWS_MESSAGE_HAS(y.sum().backward(), "was changed in place");
  int calls = 0;
  const Tensor other = checkpoint(
      [&](const Inputs& in) {
        return ++calls == 1 ? in[0] : cat({in[0], in[0]}, 0);
      },
      {x});
  CHECK_THROWS_MESSAGE_HAS(other.sum().backward(), "something else now");
  CHECK_FALSE(Recomputation::active());
}

TEST_CASE("checkpoint: layers move their own state once") {
  nn::BatchNorm1d norm(4);
  const Tensor x = randn({8, 4}).set_requires_grad();
  checkpoint([&](const Inputs& in) { return norm(in[0]); }, {x}).sum().backward();
  CHECK(norm.num_batches_tracked.item() == 1);
  nn::BatchNorm1d once(4);
  once(x);
  CHECK(norm.running_mean.to_vector<float>() == once.running_mean.to_vector<float>());

  nn::SpectralNorm spectral(nn::Linear(4, 4));
  const auto fn = [&](const Inputs& in) { return spectral(in[0]); };
  const Tensor y = checkpoint(fn, {x});
  const std::vector<float> u = spectral.weight_u.to_vector<float>();
  y.sum().backward();
  CHECK(spectral.weight_u.to_vector<float>() == u);

  nn::BatchRenorm1d renorm(4);
  const Tensor z = checkpoint([&](const Inputs& in) { return renorm(in[0]); }, {x});
  CHECK_THROWS_MESSAGE_HAS(z.sum().backward(), "cannot be computed again");
}

TEST_CASE("checkpoint: what fn saves is freed") {
  const Tensor x = randn({64, 1024}).set_requires_grad();
  const auto fn = [](const Inputs& in) {
    Tensor y = in[0];
    for (int i = 0; i < 8; ++i) y = y.sin();
    return y;
  };
  const auto kept_by = [&](bool again) {
    release_cached_memory(cpu);  // a cached block may be larger than what is asked for
    const std::int64_t before = memory_stats(cpu).live_bytes;
    const Tensor y = again ? checkpoint(fn, {x}) : fn({x});
    return static_cast<double>(memory_stats(cpu).live_bytes - before) / (64 * 1024 * 4);
  };
  CHECK(kept_by(false) > 7.9);
  CHECK(kept_by(true) < 1.5);
}

TEST_CASE("linear does not keep the result of an activation, and computes with the same bits") {
  const Tensor x = leaf({64, 64}), w = leaf({64, 64});
  const auto gradients = [&](bool kept, bool retain) {
    x.zero_grad(), w.zero_grad();
    const std::int64_t before = memory_stats(cpu).live_bytes;
    Tensor h = gelu(x);
    if (kept) h = h.clone();  // not cheap: it is kept
    const Tensor y = linear(h, w);
    h = Tensor();
    const std::int64_t matrices = (memory_stats(cpu).live_bytes - before) / (64 * 64 * 8);
    CHECK(matrices == (kept ? 2 : 1));
    y.backward(ones({64, 64}, f64), {.retain_graph = retain});
    if (retain) y.backward(ones({64, 64}, f64));
    return std::vector<Tensor>{x.grad(), w.grad()};
  };
  const std::vector<Tensor> kept = gradients(true, false), again = gradients(false, false);
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK(same_bits(kept[i], again[i]));
  const std::vector<Tensor> twice = gradients(false, true);
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK(same_bits(kept[i] + kept[i], twice[i]));

  const Tensor h = silu(x), y = linear(h, w);
  const auto feed_forward = [](const Tensor& v, const Tensor& m) { return linear(silu(v), m); };
  CHECK_GRADIENT(feed_forward, randn({2, 3}, f64), randn({4, 3}, f64));
  h.sum().backward();
  CHECK_THROWS_MESSAGE_HAS(y.sum().backward(), "freed by an earlier backward");
}

TEST_SUITE_END();

}  // namespace
}  // namespace norma::tests
