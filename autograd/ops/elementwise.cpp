// Elementwise primitives: the value by one kernel, the derivative in ops, side by side.
#include <cmath>
#include <numbers>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/ops/internal.h"
#include "autograd/ops/kernels.h"

namespace norma {
namespace {

using detail::binary_gradient;
using detail::unary_gradient;
using kernels::binary;
using kernels::unary;

void check_floating(const char* op, const Tensor& x) {
  check_defined(op, "x", x);
  NORMA_CHECK(is_floating(x.dtype()), op, ": needs a floating dtype, got ", x.dtype());
}

/// y = f(x) whose derivative is a function of y.
template <class Derivative>
Tensor from_output(const char* name, Unary op, const Tensor& x, Derivative derivative) {
  check_floating(name, x);
  return record(name, unary(op, x.array()), {x},
                [op, derivative](const Backward& b) -> Gradients {
                  const Tensor y = b.output();
                  return {unary_gradient(b, op, y, [&] { return derivative(b.dy, y); })};
                },
                {.keep_output = true});
}

/// y = f(x) whose derivative is a function of x.
template <class Derivative>
Tensor from_input(const char* name, Unary op, const Tensor& x, Derivative derivative) {
  check_floating(name, x);
  return record(name, unary(op, x.array()), {x},
                [op, derivative, saved = Saved(x)](const Backward& b) -> Gradients {
                  const Tensor& v = saved.get();
                  return {unary_gradient(b, op, v, [&] { return derivative(b.dy, v); })};
                });
}

/// y = f(x) whose derivative is zero wherever it exists.
Tensor flat(const char* name, Unary op, const Tensor& x) {
  check_defined(name, "x", x);
  return record(name, unary(op, x.array()), {x}, [](const Backward&) { return Gradients(1); });
}

void check_pair(const char* op, const Tensor& a, const Tensor& b) {
  check_defined(op, "the first operand", a);
  check_defined(op, "the second operand", b);
}

Saved save_if(bool condition, const Tensor& x) { return condition ? Saved(x) : Saved(); }

Tensor compare(const char* name, Binary op, const Tensor& a, const Tensor& b) {
  check_pair(name, a, b);
  return Tensor(binary(op, a.array(), b.array(), name));
}
Tensor compare(const char* name, Binary op, const Tensor& a, double b) {
  check_defined(name, "the first operand", a);
  return Tensor(kernels::binary_scalar(op, a.array(), b));
}

/// maximum and minimum: the operand that wins gets the gradient, equals share it.
Tensor choose(const char* name, Binary op, Binary a_wins, const Tensor& a, const Tensor& b) {
  check_pair(name, a, b);
  return record(name, binary(op, a.array(), b.array(), name), {a, b},
                [op, a_wins, a = Saved(a), b = Saved(b)](const Backward& call) -> Gradients {
                  const Tensor first = a.get().detach(), second = b.get().detach();
                  const auto share = [&] {
                    const DType dtype = call.dy.dtype();
                    return Tensor(binary(a_wins, first.array(), second.array(), "maximum")).to(dtype) +
                           (first == second).to(dtype) * 0.5;
                  };
                  return {
                      binary_gradient(call, op, 0, first, second, [&] { return call.dy * share(); }),
                      binary_gradient(call, op, 1, first, second, [&] { return call.dy * (1 - share()); })};
                });
}

}  // namespace

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  std::vector<int> stretched;
  const int added = x.dim() - shape.rank();
  for (int axis = 0; axis < x.dim(); ++axis) {
    if (axis < added || (shape[axis - added] == 1 && x.size(axis) != 1)) stretched.push_back(axis);
  }
  const Tensor summed = stretched.empty() ? x : x.sum(stretched, keepdim);
  return summed.reshape({shape.begin(), shape.end()});
}

Tensor detail::record_add(Array value, const Tensor& a, const Tensor& b) {
  return record("add", std::move(value), {a, b}, [](const Backward& call) -> Gradients {
    return {call.summed(0, call.dy), call.summed(1, call.dy)};
  });
}
Tensor add(const Tensor& a, const Tensor& b) {
  check_pair("add", a, b);
  return detail::record_add(binary(Binary::add, a.array(), b.array(), "add"), a, b);
}

Tensor detail::record_sub(Array value, const Tensor& a, const Tensor& b) {
  return record("sub", std::move(value), {a, b}, [](const Backward& call) -> Gradients {
    return {call.summed(0, call.dy), call.needs(1) ? call.summed(1, -call.dy) : Tensor()};
  });
}
Tensor sub(const Tensor& a, const Tensor& b) {
  check_pair("sub", a, b);
  return detail::record_sub(binary(Binary::sub, a.array(), b.array(), "sub"), a, b);
}

Tensor detail::record_mul(Array value, const Tensor& a, const Tensor& b) {
  return record("mul", std::move(value), {a, b},
                [a = save_if(b.requires_grad(), a),
                 b = save_if(a.requires_grad(), b)](const Backward& call) -> Gradients {
                  return {call.needs(0) ? call.summed(0, call.dy * b.get()) : Tensor(),
                          call.needs(1) ? call.summed(1, call.dy * a.get()) : Tensor()};
                });
}
Tensor mul(const Tensor& a, const Tensor& b) {
  check_pair("mul", a, b);
  return detail::record_mul(binary(Binary::mul, a.array(), b.array(), "mul"), a, b);
}

Tensor detail::record_div(Array value, const Tensor& a, const Tensor& b) {
  return record("div", std::move(value), {a, b},
                [a = save_if(b.requires_grad(), a), b = Saved(b)](const Backward& call) -> Gradients {
                  const Tensor& divisor = b.get();
                  const auto db = [&] { return -(call.dy / divisor) * (a.get() / divisor); };
                  return {
                      call.needs(0) ? call.summed(0, call.dy / divisor) : Tensor(),
                      call.needs(1) ? binary_gradient(call, Binary::div, 1, a.get(), divisor, db) : Tensor()};
                });
}
Tensor div(const Tensor& a, const Tensor& b) {
  check_pair("div", a, b);
  return detail::record_div(binary(Binary::div, a.array(), b.array(), "div"), a, b);
}

Tensor operator/(const Tensor& x, double s) {
  check_defined("div", "x", x);
  return is_floating(x.dtype()) ? affine(x, 1 / s, 0) : div(x, full(Shape{}, s, x.dtype(), x.device()));
}
Tensor operator/(double s, const Tensor& x) { return x.reciprocal() * s; }

Tensor pow(const Tensor& base, const Tensor& exponent) {
  check_pair("pow", base, exponent);
  return record("pow", binary(Binary::power, base.array(), exponent.array(), "pow"), {base, exponent},
                [base = Saved(base), exponent = Saved(exponent)](const Backward& call) -> Gradients {
                  const Tensor &x = base.get(), &p = exponent.get();
                  Gradients gradients(2);
                  const Tensor zero = zeros(Shape{}, x.dtype(), x.device());
                  if (call.needs(0)) {
                    const Tensor slope = where(p == 0, zero, p * pow(x, p - 1));
                    gradients[0] = sum_to(call.dy * slope, x.shape());
                  }
                  if (call.needs(1)) {  // 0 at base 0, where x^p log(x) tends to 0 for p > 0
                    const Tensor one = ones(Shape{}, x.dtype(), x.device());
                    const Tensor slope = pow(x, p) * where(x == 0, one, x).log();
                    gradients[1] = sum_to(call.dy * slope, p.shape());
                  }
                  return gradients;
                });
}

Tensor maximum(const Tensor& a, const Tensor& b) {
  return choose("maximum", Binary::maximum, Binary::greater, a, b);
}
Tensor minimum(const Tensor& a, const Tensor& b) {
  return choose("minimum", Binary::minimum, Binary::less, a, b);
}

Tensor detail::record_affine(Array value, const Tensor& x, double a) {
  return record("affine", std::move(value), {x}, [a](const Backward& call) -> Gradients {
    return {a == 1 ? call.dy : affine(call.dy, a, 0)};
  });
}
Tensor affine(const Tensor& x, double a, double b) {
  check_defined("affine", "x", x);
  return detail::record_affine(unary(Unary::affine, x.array(), a, b), x, a);
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  check_defined("where", "condition", condition);
  check_pair("where", a, b);
  return record(
      "where", kernels::where(condition.array(), a.array(), b.array()), {condition, a, b},
      [condition = Saved(condition), a = a.shape(), b = b.shape()](const Backward& call) -> Gradients {
        const Tensor& mask = condition.get();
        const Tensor zero = zeros(Shape{}, call.dy.dtype(), call.dy.device());
        return {Tensor(), call.needs(1) ? sum_to(where(mask, call.dy, zero), a) : Tensor(),
                call.needs(2) ? sum_to(where(mask, zero, call.dy), b) : Tensor()};
      });
}

Tensor Tensor::operator-() const {
  check_defined("neg", "x", *this);
  return record("neg", unary(Unary::neg, array()), {*this},
                [](const Backward& b) -> Gradients { return {-b.dy}; });
}
Tensor Tensor::exp() const {
  return from_output("exp", Unary::exp, *this, [](const Tensor& dy, const Tensor& y) { return dy * y; });
}
Tensor Tensor::log() const {
  return from_input("log", Unary::log, *this, [](const Tensor& dy, const Tensor& x) { return dy / x; });
}
Tensor Tensor::sqrt() const {
  return from_output("sqrt", Unary::sqrt, *this,
                     [](const Tensor& dy, const Tensor& y) { return dy / (y * 2); });
}
Tensor Tensor::rsqrt() const {
  return from_output("rsqrt", Unary::rsqrt, *this,
                     [](const Tensor& dy, const Tensor& y) { return dy * (y * y * y) * -0.5; });
}
Tensor Tensor::reciprocal() const {
  return from_output("reciprocal", Unary::reciprocal, *this,
                     [](const Tensor& dy, const Tensor& y) { return -(dy * y * y); });
}
Tensor Tensor::tanh() const {
  return from_output("tanh", Unary::tanh, *this,
                     [](const Tensor& dy, const Tensor& y) { return dy * (1 - y * y); });
}
Tensor Tensor::sigmoid() const {
  return from_output("sigmoid", Unary::sigmoid, *this,
                     [](const Tensor& dy, const Tensor& y) { return dy * (y * (1 - y)); });
}
Tensor Tensor::erf() const {
  return from_input("erf", Unary::erf, *this, [](const Tensor& dy, const Tensor& x) {
    return dy * ((-(x * x)).exp() * (2 * std::numbers::inv_sqrtpi));
  });
}
Tensor Tensor::sin() const {
  return from_input("sin", Unary::sin, *this, [](const Tensor& dy, const Tensor& x) { return dy * x.cos(); });
}
Tensor Tensor::cos() const {
  return from_input("cos", Unary::cos, *this,
                    [](const Tensor& dy, const Tensor& x) { return -(dy * x.sin()); });
}
Tensor expm1(const Tensor& x) {
  return from_output("expm1", Unary::expm1, x,
                     [](const Tensor& dy, const Tensor& y) { return dy * (y + 1); });
}
Tensor log1p(const Tensor& x) {
  return from_input("log1p", Unary::log1p, x, [](const Tensor& dy, const Tensor& v) { return dy / (v + 1); });
}
Tensor Tensor::abs() const {
  check_defined("abs", "x", *this);
  return record("abs", unary(Unary::abs, array()), {*this},
                [saved = Saved(*this)](const Backward& b) -> Gradients {
                  const Tensor x = saved.get().detach();
                  return {unary_gradient(b, Unary::abs, x, [&] { return b.dy * x.sign(); })};
                });
}
Tensor Tensor::square() const {
  check_defined("square", "x", *this);
  return record("square", binary(Binary::mul, array(), array(), "square"), {*this},
                [saved = Saved(*this)](const Backward& b) -> Gradients {
                  const Tensor& x = saved.get();
                  return {unary_gradient(
                      b, Unary::power, x, [&] { return b.dy * x * 2; }, 2)};
                });
}
Tensor Tensor::sign() const { return flat("sign", Unary::sign, *this); }
Tensor floor(const Tensor& x) { return flat("floor", Unary::floor, x); }

Tensor Tensor::pow(double exponent) const {
  check_defined("pow", "x", *this);
  if (exponent == 2) return square();
  return record("pow", unary(Unary::power, array(), exponent), {*this},
                [exponent, saved = Saved(*this)](const Backward& b) -> Gradients {
                  if (exponent == 0) return Gradients(1);
                  if (exponent == 1) return {b.dy};
                  const Tensor& x = saved.get();
                  const auto definition = [&] { return b.dy * x.pow(exponent - 1) * exponent; };
                  return {unary_gradient(b, Unary::power, x, definition, exponent)};
                });
}
Tensor Tensor::pow(const Tensor& exponent) const { return norma::pow(*this, exponent); }

Tensor Tensor::clamp(double low, double high) const {
  check_defined("clamp", "x", *this);
  NORMA_CHECK(low <= high, "clamp: low must not be above high, got ", low, " and ", high);
  return record("clamp", unary(Unary::clamp, array(), low, high), {*this},
                [low, high, saved = Saved(*this)](const Backward& b) -> Gradients {
                  const Tensor x = saved.get().detach();
                  const auto definition = [&] {
                    const Tensor zero = zeros(Shape{}, b.dy.dtype(), b.dy.device());
                    return norma::where(logical_and(x >= low, x <= high), b.dy, zero);
                  };
                  return {unary_gradient(b, Unary::clamp, x, definition, low, high)};
                });
}

Tensor Tensor::isnan() const {
  check_floating("isnan", *this);
  return Tensor(unary(Unary::is_nan, array()));
}
Tensor Tensor::isfinite() const {
  check_floating("isfinite", *this);
  return Tensor(unary(Unary::is_finite, array()));
}

Tensor operator==(const Tensor& a, const Tensor& b) { return compare("equal", Binary::equal, a, b); }
Tensor operator!=(const Tensor& a, const Tensor& b) { return compare("not_equal", Binary::not_equal, a, b); }
Tensor operator<(const Tensor& a, const Tensor& b) { return compare("less", Binary::less, a, b); }
Tensor operator<=(const Tensor& a, const Tensor& b) {
  return compare("less_equal", Binary::less_equal, a, b);
}
Tensor operator>(const Tensor& a, const Tensor& b) { return compare("greater", Binary::greater, a, b); }
Tensor operator>=(const Tensor& a, const Tensor& b) {
  return compare("greater_equal", Binary::greater_equal, a, b);
}
Tensor operator==(const Tensor& a, double b) { return compare("equal", Binary::equal, a, b); }
Tensor operator!=(const Tensor& a, double b) { return compare("not_equal", Binary::not_equal, a, b); }
Tensor operator<(const Tensor& a, double b) { return compare("less", Binary::less, a, b); }
Tensor operator<=(const Tensor& a, double b) { return compare("less_equal", Binary::less_equal, a, b); }
Tensor operator>(const Tensor& a, double b) { return compare("greater", Binary::greater, a, b); }
Tensor operator>=(const Tensor& a, double b) { return compare("greater_equal", Binary::greater_equal, a, b); }

namespace {
void check_boolean(const char* op, const Tensor& x) {
  check_defined(op, "an operand", x);
  NORMA_CHECK(x.dtype() == boolean, op, ": needs boolean tensors, got ", x.dtype());
}
}  // namespace

Tensor logical_and(const Tensor& a, const Tensor& b) {
  check_boolean("logical_and", a);
  check_boolean("logical_and", b);
  return Tensor(binary(Binary::logical_and, a.array(), b.array(), "logical_and"));
}
Tensor logical_or(const Tensor& a, const Tensor& b) {
  check_boolean("logical_or", a);
  check_boolean("logical_or", b);
  return Tensor(binary(Binary::logical_or, a.array(), b.array(), "logical_or"));
}
Tensor logical_not(const Tensor& x) {
  check_boolean("logical_not", x);
  return Tensor(unary(Unary::logical_not, x.array()));
}

}  // namespace norma
