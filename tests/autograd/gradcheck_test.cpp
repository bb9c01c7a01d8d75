// The gradient checker: rules 1 to 14 of the robustness checklist, how a gradient is checked.
#include "autograd/gradcheck.h"

#include "autograd/gradcheck_doctest.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "tests/messages.h"

using namespace norma;

namespace {

Tensor random_leaf(const Shape& shape, std::uint64_t seed = 1) {
  Generator generator(seed);
  return randn(shape, f64, cpu, &generator).set_requires_grad();
}

/// x * 3 whose backward rule is wrong by the factor.
Tensor wrong_by(const Tensor& x, double factor) {
  return record("wrong_by", (x.detach() * 3).array(), {x},
                [factor](const Backward& b) -> Gradients { return {b.dy * (3 * factor)}; });
}

}  // namespace

TEST_SUITE_BEGIN("gradcheck");

TEST_CASE("a right function passes, with small error") {
  const auto function = [](const std::vector<Tensor>& in) {
    return (in[0] * in[1]).tanh().matmul(in[1].t());
  };
  const std::vector<Tensor> inputs = {random_leaf({3, 4}),
                                      random_leaf({4}, 2).detach().expand({3, 4}).clone()};
  const GradCheckReport report = gradcheck(function, inputs);
  CHECK(report);
  CHECK(report.message == "");
  CHECK(report.worst_error < 1e-7);
  CHECK(gradgradcheck(function, inputs));
  CHECK(gradcheck(function, inputs, {.random_direction = true}));
  CHECK(gradgradcheck(function, inputs, {.random_direction = true}));
}

TEST_CASE("R1 an f32 input throws") {
  const auto function = [](const std::vector<Tensor>& in) { return in[0] * 2; };
  CHECK_THROWS_MESSAGE_HAS(gradcheck(function, {randn({2, 3}).set_requires_grad()}),
                           "gradcheck: input 0 [2, 3] is f32; differences need f64");
}

TEST_CASE("inputs none of which requires a gradient throw") {
  const auto function = [](const std::vector<Tensor>& in) { return in[0] * 2; };
  CHECK_THROWS_MESSAGE_HAS(gradcheck(function, {randn({2}, f64)}),
                           "none of the 1 inputs requires a gradient");
}

TEST_CASE("a function of f32 result, or none, throws") {
  const Tensor x = random_leaf({2});
  const auto narrows = [](const std::vector<Tensor>& in) { return in[0].to(f32); };
  CHECK_THROWS_MESSAGE_HAS(gradcheck(narrows, {x}), "must return an f64 tensor, got f32");
  const auto nothing = [](const std::vector<Tensor>&) { return Tensor(); };
  CHECK_THROWS_MESSAGE_HAS(gradcheck(nothing, {x}), "must return an f64 tensor, got an undefined tensor");
}

TEST_CASE("R5 a wrong second derivative is found") {
  // The first derivative, 3 x^2, is right; its own derivative is lost because the rule uses a detached value.
  const auto cube = [](const std::vector<Tensor>& in) {
    const Tensor x = in[0];
    return record(
        "cube", (x.detach() * x.detach() * x.detach()).array(), {x},
        [x = Saved(x)](const Backward& b) -> Gradients { return {b.dy * x.get().detach().square() * 3}; });
  };
  const Tensor x = random_leaf({3});
  CHECK(gradcheck(cube, {x}));
  const GradCheckReport report = gradgradcheck(cube, {x});
  CHECK_FALSE(report);
  CHECK(report.message.find("second derivative, gradcheck: input 0") == 0);
}

TEST_CASE("R10 an input that overlaps itself throws and says why") {
  const Tensor x = Tensor(randn({1, 3}, f64).array().expand({2, 3})).set_requires_grad();
  const auto function = [](const std::vector<Tensor>& in) { return in[0] * 2; };
  CHECK_THROWS_MESSAGE_HAS(gradcheck(function, {x}), "overlaps itself in memory");
}

TEST_CASE("two inputs that share memory are told apart") {
  const Tensor x = random_leaf({3});
  const auto function = [](const std::vector<Tensor>& in) { return in[0] * in[1]; };
  CHECK(gradcheck(function, {x, x}));
}

TEST_CASE("R9 the layout of an input is kept") {
  const Tensor x = Tensor(random_leaf({4, 3}).array().transpose(0, 1)).set_requires_grad();
  bool contiguous = true;
  const auto function = [&](const std::vector<Tensor>& in) {
    contiguous = in[0].array().is_contiguous();
    return in[0].exp();
  };
  const auto before = x.to_vector<double>();
  CHECK(gradcheck(function, {x}));
  CHECK_FALSE(contiguous);
  CHECK(x.to_vector<double>() == before);
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("R11 nondeterminism is its own failure") {
  const Tensor x = random_leaf({4});
  int calls = 0;
  const auto forward = [&](const std::vector<Tensor>& in) { return in[0] * (1 + 1e-9 * ++calls); };
  CHECK(gradcheck(forward, {x}).message ==
        "gradcheck: nondeterministic: two evaluations at the same inputs gave "
        "different results");
  const auto backward = [&](const std::vector<Tensor>& in) {
    return record("restless", in[0].array().clone(), {in[0]},
                  [&calls](const Backward& b) -> Gradients { return {b.dy * (1 + 1e-12 * ++calls)}; });
  };
  CHECK(gradcheck(backward, {x}).message ==
        "gradcheck: nondeterministic: two backward passes gave different gradients for input 0");
}

TEST_CASE("R12 an undefined gradient is zero") {
  const auto halves = [](const std::vector<Tensor>& in) {
    return record("forgets", (in[0].detach() * 2).array(), {in[0]},
                  [](const Backward&) { return Gradients(1); });
  };
  const GradCheckReport report = gradcheck(halves, {random_leaf({2})});
  CHECK_FALSE(report);
  CHECK(report.message.find("analytical 0, numerical ") != std::string::npos);
}

TEST_CASE("R13 at a kink the difference is meaningless: the caller must avoid it") {
  const Tensor x = tensor({0.0, 1.0}, f64).set_requires_grad();
  CHECK_FALSE(gradcheck([](const std::vector<Tensor>& in) { return relu(in[0]); }, {x}));
}

TEST_CASE("R14 a backward wrong by 1 percent is found, with its place and both numbers") {
  const auto function = [](const std::vector<Tensor>& in) { return in[0] + wrong_by(in[1], 1.01); };
  const std::vector<Tensor> inputs = {random_leaf({2}), random_leaf({2}, 2)};
  const GradCheckReport report = gradcheck(function, inputs);
  CHECK_FALSE(report);
  CAPTURE(report.message);
  CHECK(report.message.find("gradcheck: input 1, element ") == 0);
  CHECK(report.message.find("output element ") != std::string::npos);
  CHECK(report.message.find("analytical 3.03") != std::string::npos);
  const bool three = report.message.find(", numerical 2.99999") != std::string::npos ||
                     report.message.find(", numerical 3.00000") != std::string::npos;
  CHECK(three);
  CHECK(report.worst_error == doctest::Approx(0.03).epsilon(1e-4));
  const GradCheckReport direction = gradcheck(function, inputs, {.random_direction = true});
  CHECK_FALSE(direction);
  CHECK(direction.message.find("gradcheck: input 1 along a random direction") == 0);
  CHECK(gradcheck([](const std::vector<Tensor>& in) { return wrong_by(in[0], 1); }, {random_leaf({2})}));
}

TEST_CASE("a NaN in the gradient fails") {
  const auto function = [](const std::vector<Tensor>& in) {
    return record("nan_back", in[0].array().clone(), {in[0]},
                  [](const Backward& b) -> Gradients { return {(b.dy - b.dy) / 0.0}; });
  };
  const GradCheckReport report = gradcheck(function, {random_leaf({2})});
  CHECK_FALSE(report);
  CHECK(report.message.find("nan") != std::string::npos);
}

TEST_CASE("a function that throws leaves the inputs as they were") {
  const Tensor x = random_leaf({3});
  const auto before = x.to_vector<double>();
  int calls = 0;
  const auto function = [&](const std::vector<Tensor>& in) {
    NORMA_CHECK(++calls < 4, "enough");
    return in[0] * 2;
  };
  CHECK_THROWS_MESSAGE_HAS(gradcheck(function, {x}), "enough");
  CHECK(x.to_vector<double>() == before);
}

TEST_CASE("CHECK_GRADIENT checks first and second derivatives of a function of tensors") {
  const auto attend = [](const Tensor& index, const Tensor& table, const Tensor& scale) {
    return embedding(index, table).sigmoid() * scale;
  };
  const Tensor index = Tensor(Array::from(std::vector<std::int64_t>{2, 0, 2}, {3}));
  const auto wrong = [](const Tensor& x) { return wrong_by(x, 1.01); };
  CHECK_FALSE(detail::check_gradient(wrong, random_leaf({2})).first);
  CHECK_GRADIENT(attend, index, random_leaf({3, 2}), random_leaf({2}, 5).detach());
}

TEST_SUITE_END();
