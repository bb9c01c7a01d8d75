// Attention: masks, alignment, sizes that are no multiple of a block, and values that must have no influence.
// Numbers in names are those of the robustness checklist.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "tests/messages.h"

using namespace norma;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Tensor draw(const Shape& shape, std::uint64_t seed, DType dtype = f64) {
  Generator generator(seed);
  return randn(shape, dtype, cpu, &generator).set_requires_grad();
}

struct Triple {
  Tensor q, k, v;
  Triple(std::int64_t heads, std::int64_t queries, std::int64_t keys, std::int64_t d, DType dtype = f64)
      : q(draw({2, heads, queries, d}, 1, dtype)),
        k(draw({2, heads, keys, d}, 2, dtype)),
        v(draw({2, heads, keys, d}, 3, dtype)) {}
  Tensor attend(const SdpaOptions& options = {}) const {
    return scaled_dot_product_attention(q, k, v, options);
  }
  std::vector<Tensor> gradients(const Tensor& y) const {
    Generator generator(9);
    return grad({y}, {q, k, v}, {randn(y.shape(), y.dtype(), cpu, &generator)});
  }
};

double largest_difference(const Tensor& a, const Tensor& b) {
  return a.numel() == 0 ? 0 : (a.detach().to(f64) - b.detach().to(f64)).abs().max().item();
}

bool all_finite(const Tensor& x) { return x.isfinite().all().item() == 1; }

/// True where query i may see key j in [queries, keys].
Tensor mask_of(std::int64_t queries, std::int64_t keys, bool (*allowed)(std::int64_t, std::int64_t)) {
  std::vector<bool> values;
  for (std::int64_t i = 0; i < queries; ++i) {
    for (std::int64_t j = 0; j < keys; ++j) values.push_back(allowed(i, j));
  }
  return tensor(values, {queries, keys});
}

template <class Body>
void both_ways(Body&& body) {
  {
    INFO("kernel");
    body();
  }
  INFO("definition");
  const DefinitionsOnly definitions;
  body();
}

}  // namespace

TEST_SUITE_BEGIN("attention");

TEST_CASE("two keys, worked out by hand") {
  both_ways([] {
    const Tensor q = tensor(std::vector<double>{1, 0}, {1, 1, 2});
    const Tensor k = tensor(std::vector<double>{std::log(3.0), 5, 0, -5}, {1, 2, 2});
    const Tensor v = tensor(std::vector<double>{1, 10, 5, 30}, {1, 2, 2});
    const Tensor y = scaled_dot_product_attention(q, k, v, {.scale = 1.0});
    CHECK(y.shape() == Shape{1, 1, 2});
    CHECK(y.at({0, 0, 0}) == doctest::Approx(0.75 * 1 + 0.25 * 5));
    CHECK(y.at({0, 0, 1}) == doctest::Approx(0.75 * 10 + 0.25 * 30));
  });
}

TEST_CASE("R56 a query that sees no key gives 0, finite gradients, and leaves other rows alone") {
  both_ways([] {
    const Triple t(2, 4, 5, 3);
    const Tensor open = mask_of(4, 5, [](std::int64_t, std::int64_t) { return true; });
    const Tensor closed = mask_of(4, 5, [](std::int64_t i, std::int64_t) { return i != 1; });
    const Tensor expected = t.attend({.mask = open}), y = t.attend({.mask = closed});
    CHECK(y.select(2, 1).abs().max().item() == 0);
    for (const int row : {0, 2, 3}) CHECK(largest_difference(y.select(2, row), expected.select(2, row)) == 0);
    const auto gradients = t.gradients(y), others = t.gradients(expected);
    for (const Tensor& gradient : gradients) CHECK(all_finite(gradient));
    CHECK(gradients[0].select(2, 1).abs().max().item() == 0);
    for (const int row : {0, 2, 3})
      CHECK(largest_difference(gradients[0].select(2, row), others[0].select(2, row)) == 0);
    const Tensor added = zeros({4, 5}, f64).masked_fill(logical_not(closed), -infinity);
    CHECK(largest_difference(t.attend({.mask = added}), y) < 1e-14);
  });
}

TEST_CASE("R57 NaN and infinite masked keys and values have no influence, on the gradients neither") {
  both_ways([] {
    for (const double value : {std::nan(""), infinity}) {
      const Triple clean(2, 3, 4, 3);
      Triple dirty = clean;
      dirty.k = clean.k.detach().clone();
      dirty.v = clean.v.detach().clone();
      dirty.k.select(2, 3).fill_(value);
      dirty.v.select(2, 3).fill_(value);
      dirty.k.set_requires_grad();
      dirty.v.set_requires_grad();
      const Tensor mask = mask_of(3, 4, [](std::int64_t, std::int64_t j) { return j < 3; });
      const Tensor expected = clean.attend({.mask = mask}), y = dirty.attend({.mask = mask});
      CHECK(largest_difference(y, expected) < 1e-14);
      const auto gradients = dirty.gradients(y), others = clean.gradients(expected);
      for (std::size_t i = 0; i < 3; ++i) CHECK(largest_difference(gradients[i], others[i]) < 1e-14);
    }
  });
}

TEST_CASE("R57 a NaN key and value reach the queries that see them only") {
  both_ways([] {
    Triple t(1, 4, 4, 2);
    const Tensor expected = t.attend({.causal = true});
    const NoGrad no_grad;
    t.k.select(2, 2).fill_(std::nan(""));
    t.v.select(2, 2).fill_(std::nan(""));
    const Tensor y = t.attend({.causal = true});
    CHECK(largest_difference(y.narrow(2, 0, 2), expected.narrow(2, 0, 2)) < 1e-14);
    CHECK(y.narrow(2, 2, 2).isnan().all().item() == 1);
  });
}

TEST_CASE("R58 what is masked gets exactly no weight") {
  both_ways([] {
    Triple t(1, 2, 3, 2);
    const Tensor mask = mask_of(2, 3, [](std::int64_t, std::int64_t j) { return j != 1; });
    const Tensor before = t.attend({.mask = mask});
    const NoGrad no_grad;
    t.k.select(2, 1).fill_(1e30);
    t.v.select(2, 1).fill_(1e30);
    CHECK(largest_difference(t.attend({.mask = mask}), before) == 0);
  });
}

TEST_CASE("R59 the cap comes before the mask: the future does not leak") {
  both_ways([] {
    Triple t(2, 5, 5, 3, f32);
    const SdpaOptions options{.causal = true, .cap = 1};
    const Tensor before = t.attend(options);
    CHECK(largest_difference(before, t.attend({.causal = true})) > 1e-3);
    const NoGrad no_grad;
    t.k.select(2, 4).fill_(7);
    t.v.select(2, 4).fill_(-9);
    const Tensor after = t.attend(options);
    CHECK(largest_difference(after.narrow(2, 0, 4), before.narrow(2, 0, 4)) == 0);
    CHECK(largest_difference(after.narrow(2, 4, 1), before.narrow(2, 4, 1)) > 1e-3);
  });
}

TEST_CASE("R60 the kernel against its definition, for awkward lengths") {
  for (const DType dtype : {f64, f32}) {
    for (const std::int64_t queries : {1, 2, 7, 49, 64, 65}) {
      for (const std::int64_t keys : {1, 7, 64, 65}) {
        for (const std::int64_t d : {1, 3, 32, 33}) {
          const bool causal = (queries + keys + d) % 2 == 0;
          CAPTURE(queries);
          CAPTURE(keys);
          CAPTURE(d);
          CAPTURE(causal);
          const Triple t(1, queries, keys, d, dtype);
          const Tensor y = t.attend({.causal = causal});
          const auto gradients = t.gradients(y);
          const DefinitionsOnly definitions;
          const Tensor expected = t.attend({.causal = causal});
          CHECK(largest_difference(y, expected) < (dtype == f64 ? 1e-12 : 1e-5));
          const auto others = t.gradients(expected);
          for (std::size_t i = 0; i < 3; ++i)
            CHECK(largest_difference(gradients[i], others[i]) < (dtype == f64 ? 1e-11 : 2e-5));
        }
      }
    }
  }
}

TEST_CASE("R61 with fewer queries than keys, the last query sees all keys; with more, the first see none") {
  both_ways([] {
    const Triple few(1, 2, 5, 3);
    const Tensor aligned = mask_of(2, 5, [](std::int64_t i, std::int64_t j) { return j <= i + 3; });
    CHECK(largest_difference(few.attend({.causal = true}), few.attend({.mask = aligned})) < 1e-14);
    const Tensor all = few.attend();
    CHECK(largest_difference(few.attend({.causal = true}).select(2, 1), all.select(2, 1)) < 1e-14);
    const Triple many(1, 5, 2, 3);
    const Tensor y = many.attend({.causal = true});
    CHECK(y.narrow(2, 0, 3).abs().max().item() == 0);
    CHECK(y.narrow(2, 3, 2).abs().max().item() > 0);
  });
}

TEST_CASE("R62 one query at a time with a growing cache equals one call") {
  const Triple t(2, 6, 6, 4);
  const Tensor whole = t.attend({.causal = true});
  for (std::int64_t i = 0; i < 6; ++i) {
    const Tensor y = scaled_dot_product_attention(t.q.narrow(2, i, 1), t.k.narrow(2, 0, i + 1),
                                                  t.v.narrow(2, 0, i + 1), {.causal = true});
    CHECK(largest_difference(y.select(2, 0), whole.select(2, i)) < 1e-13);
  }
}

TEST_CASE("R63 second derivatives through the kernel") {
  const Triple t(1, 3, 4, 2);
  const auto attend = [](const std::vector<Tensor>& in) {
    return scaled_dot_product_attention(in[0], in[1], in[2], {.causal = true, .cap = 2});
  };
  const GradCheckReport report = gradgradcheck(attend, {t.q, t.k, t.v}, {.random_direction = true});
  CHECK_MESSAGE(report.passed, report.message);
}

TEST_CASE("grouped heads equal repeated ones, and an added mask gets its gradient") {
  const Tensor q = draw({1, 4, 3, 2}, 1), k = draw({1, 2, 5, 2}, 2), v = draw({1, 2, 5, 3}, 3);
  const auto repeat = [](const Tensor& x) {
    return cat({x[0][0], x[0][0], x[0][1], x[0][1]}).reshape({1, 4, 5, -1});
  };
  CHECK(largest_difference(scaled_dot_product_attention(q, k, v),
                           scaled_dot_product_attention(q, repeat(k), repeat(v))) < 1e-14);
  const Tensor bias = draw({3, 5}, 4);
  const auto attend = [&](const std::vector<Tensor>& in) {
    return scaled_dot_product_attention(q.detach(), k.detach(), v.detach(), {.mask = in[0]});
  };
  const GradCheckReport report = gradcheck(attend, {bias});
  CHECK_MESSAGE(report.passed, report.message);
}

TEST_CASE("dropout drops weights and keeps their mean") {
  const Tensor q = zeros({1, 1, 200, 1}), k = zeros({1, 1, 50, 1}), v = ones({1, 1, 50, 1});
  manual_seed(1);
  const Tensor y = scaled_dot_product_attention(q, k, v, {.dropout = 0.5});
  CHECK(y.mean().item() == doctest::Approx(1).epsilon(0.05));
  CHECK(y.var().item() == doctest::Approx(1.0 / 50).epsilon(0.3));
}

TEST_CASE("no queries, and no keys") {
  both_ways([] {
    CHECK(Triple(1, 0, 3, 2).attend().shape() == Shape{2, 1, 0, 2});
    const Triple t(1, 3, 0, 2);
    const Tensor y = t.attend();
    CHECK(y.abs().max().item() == 0);
    CHECK(t.gradients(y)[0].abs().max().item() == 0);
  });
}

TEST_CASE("R64 extents and options that do not fit throw") {
  const Tensor q = randn({1, 4, 3, 2}), k = randn({1, 3, 3, 2});
  const auto attend = [&](const Tensor& a, const Tensor& b, const SdpaOptions& options = {}) {
    return scaled_dot_product_attention(a, b, b, options);
  };
  CHECK_THROWS_MESSAGE_HAS(attend(q, k), "the heads of q must be a multiple of those of k");
  CHECK_THROWS_MESSAGE_HAS(attend(q, randn({1, 0, 3, 2})), "neither may be 0");
  CHECK_THROWS_MESSAGE_HAS(attend(q, randn({1, 4, 3, 3})), "one last extent");
  CHECK_THROWS_MESSAGE_HAS(attend(q, randn({2, 4, 3, 2})), "leading axes must be equal");
  CHECK_THROWS_MESSAGE_HAS(attend(randn({3, 2}), randn({3, 2})), "of one rank >= 3");
  CHECK_THROWS_MESSAGE_HAS(attend(q, randn({1, 4, 3, 2}, f64)), "k must be f32 on cpu, got f64 on cpu");
  CHECK_THROWS_MESSAGE_HAS(scaled_dot_product_attention(q, q, randn({1, 4, 5, 2})), "equal heads and length");
  CHECK_THROWS_MESSAGE_HAS(attend(q, q, {.cap = -1}), "cap must be finite and >= 0");
  CHECK_THROWS_MESSAGE_HAS(attend(q, q, {.scale = infinity}), "scale must be finite");
  CHECK_THROWS_MESSAGE_HAS(attend(q, q, {.dropout = 1}), "dropout must lie in [0, 1)");
  CHECK_THROWS_MESSAGE_HAS(attend(q, q, {.mask = arange(0, 3)}), "mask must be boolean or f32 on cpu");
  CHECK_THROWS_AS(attend(q, q, {.mask = randn({4, 4})}), Error);
}

TEST_SUITE_END();
