// Values of ops that have no gradient, shapes and indices that do not fit, and empty operands. Numbers in
// names are those of the robustness checklist.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "autograd/ops.h"
#include "tests/messages.h"

using namespace norma;

namespace {

using Values = std::vector<double>;
using Whole = std::vector<std::int64_t>;
using Truth = std::vector<bool>;

Tensor whole(const Whole& values) { return tensor(values, {static_cast<std::int64_t>(values.size())}); }
Tensor count(const Shape& shape) {
  return arange(0, static_cast<double>(shape.numel()), 1, f64).reshape({shape.begin(), shape.end()});
}

}  // namespace

TEST_SUITE_BEGIN("op values");

TEST_CASE("R6 of an op with two outputs, places have no gradient and values have the whole one") {
  const Tensor x = tensor({1, 5, 3}, f64).set_requires_grad();
  for (const auto& found : {x.max(0), x.min(0)}) {
    CHECK(found.first.requires_grad());
    CHECK_FALSE(found.second.requires_grad());
    CHECK_THROWS_MESSAGE_HAS(found.second.backward(), "gradient");
  }
  x.max(0).first.backward();
  CHECK(x.grad().to_vector<double>() == Values{0, 1, 0});
}

TEST_CASE("comparisons and logic give booleans without history") {
  const Tensor a = tensor({1, 2, 3}).set_requires_grad(), b = tensor({3, 2, 1});
  CHECK((a == b).to_vector<bool>() == Truth{false, true, false});
  CHECK((a != b).to_vector<bool>() == Truth{true, false, true});
  CHECK((a < b).to_vector<bool>() == Truth{true, false, false});
  CHECK((a <= b).to_vector<bool>() == Truth{true, true, false});
  CHECK((a > 2).to_vector<bool>() == Truth{false, false, true});
  CHECK((a >= 2).to_vector<bool>() == Truth{false, true, true});
  CHECK((a == 2).to_vector<bool>() == Truth{false, true, false});
  CHECK((whole({1, 2}) != 2).to_vector<bool>() == Truth{true, false});
  CHECK_FALSE((a < b).requires_grad());
  const Tensor yes = a > 0, some = a > 2;
  CHECK(logical_and(yes, some).to_vector<bool>() == Truth{false, false, true});
  CHECK(logical_or(logical_not(some), some).all().item() == 1);
  CHECK(logical_not(yes).any().item() == 0);
  CHECK(some.any().item() == 1);
  CHECK(some.sum().item() == 1);
  CHECK_THROWS_MESSAGE_HAS(logical_not(a), "needs boolean tensors, got f32");
}

TEST_CASE("NaN and infinities are seen") {
  const Tensor x = tensor({0, std::nan(""), INFINITY, -INFINITY});
  CHECK(x.isnan().to_vector<bool>() == Truth{false, true, false, false});
  CHECK(x.isfinite().to_vector<bool>() == Truth{true, false, false, false});
  CHECK(std::isnan(x.max().item()));
  CHECK(x.argmax().item() == 1);
}

TEST_CASE("R34 subnormal numbers are not flushed to zero") {
  const Tensor x = tensor(std::vector<float>{1e-40f, -3e-39f}, {2});
  CHECK((x * 1.0).to_vector<float>() == x.to_vector<float>());
  CHECK((x + x).to_vector<float>() == std::vector<float>{1e-40f + 1e-40f, -3e-39f - 3e-39f});
  CHECK(logical_and(x != 0, x.isfinite()).all().item() == 1);
}

TEST_CASE("argmax and argmin name the first of equals") {
  const Tensor x = tensor(Values{1, 3, 3, 2, 0, 0}, {2, 3});
  CHECK(x.argmax().to_vector<std::int64_t>() == Whole{1, 0});
  CHECK(x.argmin(-1).to_vector<std::int64_t>() == Whole{0, 1});
  CHECK(x.argmax(0, keepdim).shape() == Shape{1, 3});
  const auto [values, places] = x.max(1);
  CHECK(values.to_vector<double>() == Values{3, 2});
  CHECK(places.to_vector<std::int64_t>() == Whole{1, 0});
}

TEST_CASE("among equals, max(axis) gives the gradient to the first, amax to all") {
  const Tensor x = tensor(Values{3, 3, 1}, {1, 3}).set_requires_grad();
  x.max(1).first.sum().backward();
  CHECK(x.grad().to_vector<double>() == Values{1, 0, 0});
  x.zero_grad();
  x.amax(1).sum().backward();
  CHECK(x.grad().to_vector<double>() == Values{0.5, 0.5, 0});
  x.zero_grad();
  maximum(x, tensor(Values{3, 1, 3}, {1, 3})).sum().backward();
  CHECK(x.grad().to_vector<double>() == Values{0.5, 1, 0});
}

TEST_CASE("randperm holds each number once, follows from the seed, and prefers no order") {
  Generator a(3), b(3);
  for (const std::int64_t n : {0, 1, 2, 17, 18, 5000}) {
    Whole order = randperm(n, cpu, &a).to_vector<std::int64_t>();
    CHECK(order == randperm(n, cpu, &b).to_vector<std::int64_t>());
    std::sort(order.begin(), order.end());
    CHECK(order == arange(0, static_cast<double>(n)).to_vector<std::int64_t>());
  }
  CHECK(a.state().offset == b.state().offset);
  int counts[6] = {};  // of the orders of three
  for (int i = 0; i < 6000; ++i) {
    const Whole order = randperm(3, cpu, &a).to_vector<std::int64_t>();
    ++counts[2 * order[0] + (order[1] > order[2])];
  }
  for (const int count : counts) CHECK(std::abs(count - 1000) < 150);  // 5 standard deviations
}

TEST_CASE("one_hot, and R88 for its indices") {
  CHECK(one_hot(whole({2, 0}), 3).to_vector<std::int64_t>() == Whole{0, 0, 1, 1, 0, 0});
  CHECK(one_hot(whole({1}), 2, f32).to_vector<float>() == std::vector<float>{0, 1});
  CHECK(one_hot(whole({1}), 2, boolean).to_vector<bool>() == Truth{false, true});
  CHECK(one_hot(tensor(Whole{0, 1, 1, 0}, {2, 2}), 2).shape() == Shape{2, 2, 2});
  for (const std::int64_t bad : {-1, 3}) {
    const std::string message = tests::message_of([&] { one_hot(whole({0, bad}), 3); });
    CAPTURE(message);
    CHECK(message.find("one_hot") != std::string::npos);
    CHECK(message.find(std::to_string(bad)) != std::string::npos);
    CHECK(message.find("[0, 3)") != std::string::npos);
  }
}

TEST_CASE("R88 embedding and gather indices out of range throw with value and range, both ways") {
  const Tensor table = count({4, 2}).set_requires_grad();
  const auto check = [&](const char* name) {
    for (const std::int64_t bad : {-1, 4}) {
      const std::string message = tests::message_of([&] { embedding(whole({0, bad}), table); });
      CAPTURE(message);
      CHECK(message.find(name) != std::string::npos);
      CHECK(message.find(std::to_string(bad)) != std::string::npos);
      CHECK(message.find("[0, 4)") != std::string::npos);
    }
  };
  check("embedding");
  CHECK_THROWS_AS(table.index_select(0, whole({4})), Error);
  CHECK_THROWS_AS(scatter_add(ones({1, 2}), 0, tensor(Whole{3, 0}, {1, 2}), {3, 2}), Error);
  const DefinitionsOnly definitions;
  check("gather");
}

TEST_CASE("embedding adds the gradients of equal indices") {
  const Tensor table = count({3, 2}).set_requires_grad();
  const Tensor y = embedding(tensor(Whole{2, 0, 2, 2}, {2, 2}), table);
  CHECK(y.shape() == Shape{2, 2, 2});
  CHECK(y[1][0].to_vector<double>() == Values{4, 5});
  y.sum().backward();
  CHECK(table.grad().to_vector<double>() == Values{1, 1, 0, 0, 3, 3});
  CHECK_THROWS_MESSAGE_HAS(embedding(tensor({1, 2}), table), "embedding: index must be i64, got f32");
  CHECK_THROWS_MESSAGE_HAS(embedding(whole({0}), ones({3})), "table must be a floating matrix");
  CHECK(embedding(Tensor(Array::full({}, 1, i64)), table).to_vector<double>() == Values{2, 3});
}

TEST_CASE("tril and triu") {
  const Tensor x = count({3, 3});
  CHECK(x.tril().to_vector<double>() == Values{0, 0, 0, 3, 4, 0, 6, 7, 8});
  CHECK(x.triu(1).to_vector<double>() == Values{0, 1, 2, 0, 0, 5, 0, 0, 0});
  CHECK((x.tril(-1) + x.triu()).to_vector<double>() == x.to_vector<double>());
  CHECK((x >= 0).tril().to_vector<bool>() == Truth{1, 0, 0, 1, 1, 0, 1, 1, 1});
  CHECK_THROWS_MESSAGE_HAS(tensor({1}).tril(), "tril: x must have at least two axes");
}

TEST_CASE("split, chunk and stack") {
  const Tensor x = count({7, 2});
  CHECK(x.split(3).size() == 3);
  CHECK(x.split(3)[2].shape() == Shape{1, 2});
  CHECK(x.chunk(4).size() == 4);
  CHECK(x.chunk(4)[3].to_vector<double>() == Values{12, 13});
  CHECK(x.chunk(3, 1).size() == 2);
  CHECK_THROWS_MESSAGE_HAS(x.split(0), "split: size must be at least 1");
  CHECK(stack({x, x}, -1).shape() == Shape{7, 2, 2});
  CHECK(stack({x, -1 * x, x * x}, -1).select(-1, 1).to_vector<double>() == (-1 * x).to_vector<double>());
  CHECK(stack({tensor({1}).reshape({}), tensor({2}).reshape({})}).to_vector<float>() ==
        std::vector<float>{1, 2});
  CHECK_THROWS_MESSAGE_HAS(stack({x, x.to(f32)}),
                           "stack: operands must have one dtype and device, got f64 [7, 2] on cpu");
  CHECK_THROWS_MESSAGE_HAS(stack({x, tensor({1})}), "stack: all tensors must have one shape");
  CHECK_THROWS_MESSAGE_HAS(stack({}), "stack: needs at least one tensor");
}

TEST_CASE("einsum: equations that make no sense throw") {
  const Tensor a = count({2, 3}), b = count({3, 4});
  CHECK(einsum("ij,jk->ik", a, b).to_vector<double>() == matmul(a, b).to_vector<double>());
  CHECK(einsum("ij,jk", a, b).shape() == Shape{2, 4});
  CHECK(einsum("ij,jk->", a, b).item() == doctest::Approx(matmul(a, b).sum().item()));
  CHECK_THROWS_MESSAGE_HAS(einsum("ij", a, b), "needs two operands");
  CHECK_THROWS_MESSAGE_HAS(einsum("ii,jk", a, b), "is repeated");
  CHECK_THROWS_MESSAGE_HAS(einsum("i.,jk", a, b), "must be letters, got '.'");
  CHECK_THROWS_MESSAGE_HAS(einsum("ij,jk->il", a, b), "output index 'l' is in neither operand");
  CHECK_THROWS_MESSAGE_HAS(einsum("ijk,jk->i", a, b), "must have 3 axes, got shape [2, 3]");
  CHECK_THROWS_MESSAGE_HAS(einsum("ij,ik->jk", a, b), "index 'i' of \"ij,ik->jk\" has two extents");
}

TEST_CASE("linear and its messages") {
  const Tensor x = tensor(Values{1, 2, 3, 4}, {2, 2}), weight = tensor(Values{1, 0, 0, 1, 1, 1}, {3, 2});
  const Tensor bias = tensor({10, 20, 30}, f64);
  CHECK(linear(x, weight, bias).to_vector<double>() == Values{11, 22, 33, 13, 24, 37});
  CHECK(linear(x, weight).to_vector<double>() == Values{1, 2, 3, 3, 4, 7});
  CHECK_THROWS_MESSAGE_HAS(linear(x, ones({3, 4}, f64)), "linear: weight must be [out, in]");
  CHECK_THROWS_MESSAGE_HAS(linear(x, weight, ones({2}, f64)), "linear: bias must have shape [3]");
  CHECK_THROWS_MESSAGE_HAS(linear(x.to(f32), weight), "linear: weight must be f32 on cpu, got f64 on cpu");
  CHECK_THROWS_MESSAGE_HAS(linear(x, Tensor()), "linear: weight is an undefined tensor");
}

TEST_CASE("dropout: mean, the same mask on the way back, and off in evaluation") {
  Generator generator(4);
  const Tensor x = ones({10000}, f64).set_requires_grad();
  const Tensor y = dropout(x, 0.25, true, &generator);
  CHECK(y.mean().item() == doctest::Approx(1).epsilon(0.02));
  CHECK((y == 0).to(f64).mean().item() == doctest::Approx(0.25).epsilon(0.05));
  CHECK(logical_or(y == 0, y == 1 / 0.75).all().item() == 1);
  y.sum().backward();
  CHECK(x.grad().to_vector<double>() == y.to_vector<double>());
  CHECK(dropout(x, 0.25, false).is_same(x));
  CHECK(dropout(x, 0).is_same(x));
  CHECK(dropout(x, 0.25, true, &generator).to_vector<double>() != y.to_vector<double>());
  CHECK_THROWS_MESSAGE_HAS(dropout(x, 1), "dropout: p must lie in [0, 1), got 1");
  CHECK_THROWS_MESSAGE_HAS(dropout(x, -0.1), "dropout: p must lie in [0, 1)");
}

TEST_CASE("R90 tensors of rank 0, one element, and products with an empty axis") {
  const Tensor scalar = Tensor::scalar(3, f64).set_requires_grad();
  (scalar * scalar).backward();
  CHECK(scalar.grad().item() == 6);
  CHECK(scalar.sum().item() == 3);
  CHECK(scalar.mean().item() == 3);
  CHECK(scalar.reshape({1, 1}).shape() == Shape{1, 1});
  CHECK(matmul(empty({0, 3}), empty({3, 2})).shape() == Shape{0, 2});
  const Tensor a = empty({2, 0}).set_requires_grad(), b = empty({0, 3}).set_requires_grad();
  const Tensor y = matmul(a, b);
  CHECK(y.to_vector<float>() == std::vector<float>(6, 0));
  y.sum().backward();
  CHECK(a.grad().shape() == Shape{2, 0});
  CHECK(matmul(empty({2, 3, 0}), empty({0, 4})).to_vector<float>() == std::vector<float>(24, 0));
  CHECK(matmul(empty({2, 3, 0}), empty({2, 0, 4})).to_vector<float>() == std::vector<float>(24, 0));
  CHECK(linear(empty({2, 3, 0}), empty({4, 0}), ones({4})).to_vector<float>() == std::vector<float>(24, 1));
  CHECK(linear(empty({0, 3}), ones({4, 3})).shape() == Shape{0, 4});
  CHECK(einsum("ij,jk", empty({2, 0}), empty({0, 3})).to_vector<float>() == std::vector<float>(6, 0));
  CHECK(empty({0}).sum().item() == 0);
}

TEST_CASE("R92 shapes that do not broadcast throw with both; gradients sum to the right shape") {
  CHECK_THROWS_MESSAGE_HAS(randn({2, 3}) + randn({4}), "[2, 3]");
  CHECK_THROWS_MESSAGE_HAS(randn({2, 3}) * randn({4}), "[4]");
  CHECK_THROWS_MESSAGE_HAS(randn({2, 3}).masked_fill(randn({4, 2, 3}) > 0, 1),
                           "must broadcast to the shape of x");
  const Tensor row = tensor({1, 2}, f64).set_requires_grad();
  const Tensor column = tensor(Values{1, 2, 3}, {3, 1}).set_requires_grad();
  const Tensor one = tensor(Values{5}, {1, 1}).set_requires_grad();
  (row * column * one).sum().backward();
  CHECK(row.grad().to_vector<double>() == Values{30, 30});
  CHECK(column.grad().to_vector<double>() == Values{15, 15, 15});
  CHECK(one.grad().to_vector<double>() == Values{18});
  CHECK(one.grad().shape() == Shape{1, 1});
}

TEST_CASE("R93 tensors of different dtypes do not mix") {
  const Tensor a = tensor({1, 2}), b = tensor({1, 2}, f64);
  CHECK_THROWS_MESSAGE_HAS(a + b, "convert with to()");
  CHECK_THROWS_MESSAGE_HAS(matmul(a, b), "convert with to()");
  CHECK_THROWS_MESSAGE_HAS(a * whole({1, 2}), "i64");
  CHECK_THROWS_MESSAGE_HAS(cat({a, b}), "got f32 [2] on cpu and f64 [2] on cpu");
  CHECK((a.to(f64) + b).to_vector<double>() == Values{2, 4});
  CHECK((whole({1, 2}) + 1.0).to_vector<std::int64_t>() == Whole{2, 3});
}

TEST_CASE("to() converts and passes the gradient back") {
  const Tensor x = tensor({1.5, -2}).set_requires_grad();
  (x.to(f64) * 3.0).to(f32).sum().backward();
  CHECK(x.grad().to_vector<float>() == std::vector<float>{3, 3});
  CHECK(x.to(i64).to_vector<std::int64_t>() == Whole{1, -2});
  CHECK_FALSE(x.to(i64).requires_grad());
  const Tensor moved = x.to(reference);
  CHECK(moved.device() == reference);
  (moved * 2).sum().backward();
  CHECK(x.grad().to_vector<float>() == std::vector<float>{5, 5});
  CHECK(x.to(f32).is_same(x));
}

TEST_CASE("sin, cos and their gradients at arguments of any size") {
  std::vector<float> points;
  for (int i = 0; i < 2000; ++i) points.push_back(static_cast<float>(i < 1000 ? i : i * 1000) * 0.37f);
  for (const DType dtype : {f32, f64}) {
    const double limit = dtype == f32 ? 2e-7 : 3e-16;
    const Tensor x = tensor(points, {2, 1000}).to(dtype).set_requires_grad();
    for (const bool transposed : {false, true}) {
      for (const bool sine : {true, false}) {
        const Tensor v = transposed ? x.t() : x, y = sine ? v.sin() : v.cos();
        x.zero_grad();
        y.sum().backward();
        const Values values = (transposed ? y.t() : y).detach().to(f64).to_vector<double>();
        const Values slopes = x.grad().to(f64).to_vector<double>();
        for (std::size_t i = 0; i < points.size(); ++i) {
          const double at = static_cast<double>(points[i]);
          CHECK(std::fabs(values[i] - (sine ? std::sin(at) : std::cos(at))) < limit);
          CHECK(std::fabs(slopes[i] - (sine ? std::cos(at) : -std::sin(at))) < limit);
        }
      }
    }
  }
}

TEST_CASE("R140 undefined tensors throw with the name of the op") {
  const Tensor none, x = tensor({1, 2});
  CHECK_THROWS_MESSAGE_HAS(x + none, "add: the second operand is an undefined tensor");
  CHECK_THROWS_MESSAGE_HAS(softmax(none), "softmax: x is an undefined tensor");
  CHECK_THROWS_MESSAGE_HAS(gelu(none), "gelu: x is an undefined tensor");
  CHECK_THROWS_MESSAGE_HAS(dropout(none, 0.5), "dropout: x is an undefined tensor");
  CHECK_THROWS_MESSAGE_HAS(x.masked_fill(none, 0), "masked_fill: mask is an undefined tensor");
  CHECK_THROWS_MESSAGE_HAS(mse_loss(x, none), "mse_loss: target is an undefined tensor");
  CHECK_THROWS_MESSAGE_HAS(scaled_dot_product_attention(x, none, x), "k is an undefined tensor");
  CHECK_THROWS_MESSAGE_HAS(stack({x, none}), "stack: an element is an undefined tensor");
  CHECK_THROWS_AS(none.mean(), Error);
  CHECK_THROWS_AS(none.split(1), Error);
}

TEST_SUITE_END();
