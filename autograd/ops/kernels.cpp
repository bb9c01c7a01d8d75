#include "autograd/ops/kernels.h"

#include "core/profile.h"

namespace norma::kernels {
namespace {

// Names of the kernels in a profile, where no op bears one. In the order of the enumerations.
constexpr const char* unary_names[] = {
    "neg",      "exp",  "log",    "sqrt",  "rsqrt",      "tanh",        "erf",    "abs",
    "sign",     "sin",  "cos",    "floor", "reciprocal", "sigmoid",     "expm1",  "log1p",
    "softplus", "relu", "affine", "power", "clamp",      "logical_not", "is_nan", "is_finite"};
constexpr const char* binary_names[] = {
    "add",       "sub",  "mul",        "div",     "power",         "maximum",     "minimum",   "equal",
    "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or"};
constexpr const char* reduce_names[] = {"sum", "max", "min", "any", "all"};
static_assert(std::size(unary_names) == static_cast<std::size_t>(Unary::is_finite) + 1);
static_assert(std::size(binary_names) == static_cast<std::size_t>(Binary::logical_or) + 1);
static_assert(std::size(reduce_names) == static_cast<std::size_t>(Reduce::all) + 1);

}  // namespace

void check_same_kind(const char* op, const Array& a, const Array& b) {
  NORMA_CHECK(a.dtype() == b.dtype() && a.device() == b.device(), op,
              ": operands must have one dtype and device, got ", a.dtype(), " ", a.shape(), " on ",
              a.device(), " and ", b.dtype(), " ", b.shape(), " on ", b.device(), "; convert with to()");
}

Array unary(Unary op, const Array& x, double a, double b) {
  const bool test = op == Unary::is_nan || op == Unary::is_finite;
  Array y = Array::empty(x.shape(), test ? boolean : x.dtype(), x.device());
  const detail::ProfileSpan span(unary_names[static_cast<std::size_t>(op)], y);
  backend(x.device()).unary(op, y.view(), x.view(), a, b);
  return y;
}

namespace {
bool gives_boolean(Binary op) { return op >= Binary::equal; }
}  // namespace

Array binary(Binary op, const Array& a, const Array& b, const char* name) {
  check_same_kind(name, a, b);
  const bool same = a.shape() == b.shape();
  const Shape shape = same ? a.shape() : broadcast_shapes(a.shape(), b.shape(), name);
  Array y = Array::empty(shape, gives_boolean(op) ? boolean : a.dtype(), a.device());
  const detail::ProfileSpan span(name, y);
  if (same) {
    backend(a.device()).binary(op, y.view(), a.view(), b.view());
  } else {
    backend(a.device()).binary(op, y.view(), a.expand(shape).view(), b.expand(shape).view());
  }
  return y;
}

Array binary_scalar(Binary op, const Array& x, double s, bool scalar_first) {
  Array y = Array::empty(x.shape(), gives_boolean(op) ? boolean : x.dtype(), x.device());
  const detail::ProfileSpan span(binary_names[static_cast<std::size_t>(op)], y);
  backend(x.device()).binary_scalar(op, y.view(), x.view(), s, scalar_first);
  return y;
}

Array unary_gradient(Unary op, const Array& dy, const Array& v, double a, double b) {
  Array dx = Array::empty(dy.shape(), dy.dtype(), dy.device());
  return backend(dy.device()).unary_gradient(op, dx.view(), dy.view(), v.view(), a, b) ? dx : Array();
}

Array binary_gradient(Binary op, int operand, const Array& dy, const Array& a, const Array& b) {
  Array d = Array::empty(dy.shape(), dy.dtype(), dy.device());
  const Array x = a.expand(dy.shape()), y = b.expand(dy.shape());
  return backend(dy.device()).binary_gradient(op, operand, d.view(), dy.view(), x.view(), y.view()) ? d
                                                                                                    : Array();
}

Array where(const Array& condition, const Array& a, const Array& b) {
  check_same_kind("where", a, b);
  NORMA_CHECK(condition.dtype() == boolean && condition.device() == a.device(),
              "where: condition must be boolean on ", a.device(), ", got ", condition.dtype(), " on ",
              condition.device());
  const Shape shape =
      broadcast_shapes(condition.shape(), broadcast_shapes(a.shape(), b.shape(), "where"), "where");
  Array y = Array::empty(shape, a.dtype(), a.device());
  const detail::ProfileSpan span("where", y);
  backend(a.device())
      .where(y.view(), condition.expand(shape).view(), a.expand(shape).view(), b.expand(shape).view());
  return y;
}

Array reduce(Reduce op, const Array& x, const Shape& kept_shape) {
  Array y = Array::empty(kept_shape, x.dtype(), x.device());
  const detail::ProfileSpan span(reduce_names[static_cast<std::size_t>(op)], y);
  backend(x.device()).reduce(op, y.view(), x.view());
  return y;
}

Array reduce_all(Reduce op, const Array& x) {
  return reduce(op, x, kept_shape(x.shape(), {}, "reduce")).reshape(Shape{});
}

Array matmul(const Array& a, const Array& b) {
  check_same_kind("matmul", a, b);
  NORMA_CHECK(is_floating(a.dtype()), "matmul: needs a floating dtype, got ", a.dtype());
  NORMA_CHECK(a.rank() >= 2 && b.rank() >= 2 && a.shape()[-1] == b.shape()[-2],
              "matmul: the last axis of a must equal the one before the last of b, got ", a.shape(), " and ",
              b.shape());
  const auto batch = [](const Array& x) {
    return Shape(x.shape().extents().first(static_cast<std::size_t>(x.rank() - 2)));
  };
  const Shape shared = broadcast_shapes(batch(a), batch(b), "matmul");
  const auto full = [&](std::int64_t rows, std::int64_t columns) {
    return shared.inserted(shared.rank(), rows).inserted(shared.rank() + 1, columns);
  };
  Array c = Array::empty(full(a.shape()[-2], b.shape()[-1]), a.dtype(), a.device());
  const detail::ProfileSpan span("matmul", c);
  backend(a.device())
      .matmul(c.view(), a.expand(full(a.shape()[-2], a.shape()[-1])).view(),
              b.expand(full(b.shape()[-2], b.shape()[-1])).view(), 1, 0);
  return c;
}

void binary_in_place(Binary op, const Array& x, const Array& y, const char* name) {
  check_same_kind(name, x, y);
  const View operand = x.shape() == y.shape() ? y.view() : y.expand(x.shape()).view();
  const detail::ProfileSpan span(name, x);
  backend(x.device()).binary(op, x.view(), x.view(), operand);
  x.bump_version();
}

void affine_in_place(const Array& x, double a, double b, const char* name) {
  const detail::ProfileSpan span(name, x);
  backend(x.device()).unary(Unary::affine, x.view(), x.view(), a, b);
  x.bump_version();
}

Shape kept_shape(const Shape& shape, const Axes& axes, const char* op) {
  Shape kept = shape;
  if (axes.all()) {
    for (int axis = 0; axis < shape.rank(); ++axis) kept = kept.with(axis, 1);
    return kept;
  }
  bool seen[max_rank] = {};
  for (const int raw : axes.list()) {
    const int axis = normalize_axis(raw, shape.rank(), op);
    NORMA_CHECK(!seen[axis], op, ": axis ", raw, " is given twice");
    seen[axis] = true;
    kept = kept.with(axis, 1);
  }
  return kept;
}

std::int64_t reduced_rows(const Shape& shape, const Shape& kept) {
  int axis = 0;
  while (axis < shape.rank() && shape[axis] == kept[axis]) ++axis;
  for (int rest = axis; rest < shape.rank(); ++rest) {
    if (kept[rest] != 1) return 0;
  }
  return shape.numel() == 0 ? 0 : kept.numel();
}

Array as_rows(const Array& x, std::int64_t rows) {
  return x.contiguous().reshape(Shape{rows, x.numel() / rows});
}

Shape dropped_shape(const Shape& shape, const Axes& axes, const char* op) {
  if (axes.all()) return Shape{};
  bool dropped[max_rank] = {};
  for (const int raw : axes.list()) dropped[normalize_axis(raw, shape.rank(), op)] = true;
  Shape out = shape;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (dropped[axis]) out = out.removed(axis);
  }
  return out;
}

}  // namespace norma::kernels
