// Ops added from outside the tree, with the same tools that the library uses.
#include <cmath>

#include "autograd/fused.h"
#include "autograd/gradcheck_doctest.h"
#include "autograd/ops.h"

using namespace norma;

namespace user {

// A primitive: a value, and a rule written in ops.
Tensor cube(const Tensor& x) {
  const Array value = (x.detach() * x.detach() * x.detach()).array();
  return record("cube", value, {x},
                [x = Saved(x)](const Backward& b) -> Gradients { return {b.dy * 3 * x.get() * x.get()}; });
}

// A fused op: a definition, and loops that are its faster twins.
struct ScaledTanh {
  static constexpr const char* name = "scaled_tanh";
  double scale;

  Tensor definition(const Tensor& x) const { return (x * scale).tanh(); }
  std::optional<Array> forward(Kept& kept, const Array& x) const {
    if (x.dtype() != f64 || !is_host(x.device())) return std::nullopt;
    Array y = x.clone();
    for (double* p = y.data<double>(); p != y.data<double>() + y.numel(); ++p) *p = std::tanh(scale * *p);
    kept = {y};
    return y;
  }
  std::vector<Array> backward(const Kept& kept, const Wanted&, const Array& dy, const Array& x) const {
    Array dx = Array::empty(x.shape(), f64, x.device());
    const double *y = kept[0].data<double>(), *g = dy.data<double>();
    for (std::int64_t i = 0; i < x.numel(); ++i) dx.data<double>()[i] = g[i] * scale * (1 - y[i] * y[i]);
    return {dx};
  }
};
Tensor scaled_tanh(const Tensor& x, double scale) { return apply(ScaledTanh{scale}, x); }

}  // namespace user

TEST_SUITE_BEGIN("user ops");

TEST_CASE("a primitive from outside the tree, to the third derivative") {
  const Tensor x = tensor({1, -2, 0.5}, f64).set_requires_grad();
  const Tensor y = user::cube(x);
  CHECK(y.op_name() == std::string("cube"));
  CHECK_GRADIENT(user::cube, x);
  const Tensor first = grad({y.sum()}, {x}, {}, {.create_graph = true})[0];
  const Tensor second = grad({first.sum()}, {x}, {}, {.create_graph = true})[0];
  const Tensor third = grad({second.sum()}, {x})[0];
  CHECK(second.to_vector<double>() == std::vector<double>{6, -12, 3});
  CHECK(third.to_vector<double>() == std::vector<double>{6, 6, 6});
}

TEST_CASE("a fused op from outside the tree: kernel, definition, derivatives") {
  const auto op = [](const Tensor& x) { return user::scaled_tanh(x, 1.7); };
  const Tensor x = tensor({0.3, -0.8, 1.1}, f64).set_requires_grad();
  CHECK(op(x).op_name() == std::string("scaled_tanh"));
  CHECK_GRADIENT(op, x);
  const Tensor narrow = x.detach().to(f32).set_requires_grad();
  CHECK(op(narrow).op_name() == std::string("tanh"));  // no kernel for f32: the definition runs
  const DefinitionsOnly definitions;
  CHECK(op(x).op_name() == std::string("tanh"));
  CHECK_GRADIENT(op, x);
}

TEST_CASE("R69 an array kept by a kernel and changed in place is noticed") {
  const Tensor x = tensor({0.3, -0.8}, f64).set_requires_grad();
  const Tensor y = user::scaled_tanh(x, 2);
  y.add_(1);
  CHECK_THROWS_WITH_AS(y.sum().backward(), doctest::Contains("changed in place"), Error);
}

TEST_SUITE_END();
