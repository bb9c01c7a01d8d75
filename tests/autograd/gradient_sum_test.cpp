// Gradients of parts of a tensor: whatever parts are taken, in whatever order, their gradients add up to what
// one gets by embedding each in zeros.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"

using namespace norma;

namespace {

struct Taken {
  int axis;
  Slice range;
};

/// Sums of weights of small integers are exact, in any order.
Tensor weights(const Shape& shape, int seed) {
  Tensor w = zeros(shape, f64);
  double* const out = w.array().data<double>();
  for (std::int64_t i = 0; i < w.numel(); ++i) out[i] = static_cast<double>((i * 7 + seed * 5) % 11 + 1);
  return w;
}

Tensor loss_of(const Tensor& x, const std::vector<Taken>& parts) {
  Tensor loss = zeros({}, f64);
  for (std::size_t k = 0; k < parts.size(); ++k) {
    const Tensor part = x.slice(parts[k].axis, parts[k].range);
    loss = loss + (part * weights(part.shape(), static_cast<int>(k))).sum();
  }
  return loss;
}

Tensor expected(const Shape& shape, const std::vector<Taken>& parts) {
  const Tensor sum = zeros(shape, f64);
  for (std::size_t k = 0; k < parts.size(); ++k) {
    const Tensor part = sum.slice(parts[k].axis, parts[k].range);
    part.add_(weights(part.shape(), static_cast<int>(k)));
  }
  return sum;
}

bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.array().to_vector<double>() == b.array().to_vector<double>();
}

constexpr std::int64_t all = Slice::end;
const std::vector<std::vector<Taken>> choices = {
    {{0, {0, 3}}},
    {{1, {2, 4}}},
    {{1, {0, 2}}, {1, {2, 4}}, {1, {4, 7}}},                      // a split
    {{1, {4, 7}}, {1, {0, 2}}, {1, {2, 4}}},                      // in another order
    {{1, {0, 2}}, {1, {5, 6}}},                                   // with gaps
    {{1, {3, 4}}, {1, {1, 2}}, {1, {5, 6}}},                      //
    {{1, {0, 4}}, {1, {3, 7}}, {1, {6, 7}}},                      // that meet
    {{0, {1, 3}}, {1, {1, 3}}},                                   // of two axes
    {{1, {0, all, 2}}, {1, {1, all, 2}}},                         // every second
    {{1, {2, all, 3}}, {1, {0, all, 3}}},                         // every third but one
    {{1, {1, 6, 3}}, {1, {0, 5, 3}}, {1, {4, all, 3}}},           // some of them twice
    {{1, {0, all, 2}}, {1, {0, all, 3}}},                         // two steps
    {{1, {-1, all, INT64_MAX}}, {1, {0, 1, 9}}, {1, {1, 3, 2}}},  // single elements
    {{0, {}}, {1, {2, 3}}},                                       // the whole
    {{1, {2, 3}}, {0, {}}},                                       //
    {{1, {4, 2}}, {1, {7, 9}}},                                   // nothing
    {{1, {0, 7}}, {1, {3, 3}}},                                   //
};

}  // namespace

TEST_SUITE_BEGIN("gradient sums");

TEST_CASE("gradients of parts add up, at a leaf and at a node") {
  const Shape shape{5, 7};
  for (std::size_t k = 0; k < choices.size(); ++k) {
    CAPTURE(k);
    const Tensor x = ones(shape, f64).set_requires_grad();
    const Tensor wanted = expected(shape, choices[k]);
    loss_of(x, choices[k]).backward();
    CHECK(equal(x.grad(), wanted));
    CHECK(equal(grad({loss_of(x * 2, choices[k])}, {x})[0], wanted * 2));
    const Tensor node = x * 1;
    CHECK(equal(grad({loss_of(node, choices[k])}, {node})[0], wanted));
    loss_of(x, choices[k]).backward();  // into a gradient that is there
    CHECK(equal(x.grad(), wanted * 2));
  }
}

TEST_CASE("and so they do beside other gradients, before and after") {
  const Shape shape{5, 7};
  for (std::size_t k = 0; k < choices.size(); ++k) {
    CAPTURE(k);
    const Tensor x = ones(shape, f64).set_requires_grad(), wanted = expected(shape, choices[k]) + 3;
    ((x * 3).sum() + loss_of(x, choices[k])).backward();
    CHECK(equal(x.grad(), wanted));
    CHECK(equal(grad({loss_of(x, choices[k]) + (x * 3).sum()}, {x})[0], wanted));
    // One that somebody else holds as well, and that is not to change.
    const Tensor y = x * 1, seed = full(shape, 3, f64);
    const Tensor other = loss_of(y, choices[k]);
    CHECK(equal(grad({y, other}, {x}, {seed, ones({}, f64)})[0], wanted));
    CHECK(equal(seed, full(shape, 3, f64)));
  }
}

TEST_CASE("gradients of parts can be differentiated") {
  const Shape shape{5, 7};
  for (std::size_t k = 0; k < choices.size(); ++k) {
    CAPTURE(k);
    const Tensor x = ones(shape, f64).set_requires_grad(), wanted = expected(shape, choices[k]);
    const Tensor first = grad({loss_of(x.square(), choices[k])}, {x}, {}, {.create_graph = true})[0];
    CHECK(equal(first, wanted * 2));
    CHECK(equal(grad({first.sum()}, {x})[0], wanted * 2));
  }
}

TEST_CASE("hooks see the whole sum, once") {
  const Tensor x = ones({4}, f64).set_requires_grad();
  int calls = 0;
  x.register_hook([&](const Tensor& gradient) {
    ++calls;
    return gradient * 2;
  });
  (x.slice(0, {0, 2}).sum() + x.slice(0, {2, 3}).sum() * 5).backward();
  CHECK(calls == 1);
  CHECK(equal(x.grad(), tensor({2, 2, 10, 0}, f64)));
}

TEST_CASE("NaNs stay in their part, and so does the sign of a zero") {
  const Tensor x = ones({4}, f64).set_requires_grad();
  const Tensor a = x.slice(0, {0, 2}), b = x.slice(0, {2, 3});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto found = grad({a, b}, {x}, {tensor({-0.0, 1}, f64), tensor({nan}, f64)})[0].array();
  CHECK(std::signbit(found.at({0})));
  CHECK(found.at({0}) == 0);
  CHECK(found.at({1}) == 1);
  CHECK(std::isnan(found.at({2})));
  CHECK(found.at({3}) == 0);
  CHECK_FALSE(std::signbit(found.at({3})));
}

TEST_SUITE_END();
