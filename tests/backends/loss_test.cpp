// The kernels of losses against plain double loops: one by one, summed, and their gradients.
#include <cmath>

#include "core/parallel.h"
#include "tests/backends/arrays.h"

namespace norma::tests {
namespace {

using Values = std::vector<double>;

double plain_loss(Loss kind, double x, double t) {
  if (kind == Loss::squared) return (x - t) * (x - t);
  return std::fmax(x, 0.0) - x * t + std::log1p(std::exp(-std::fabs(x)));
}
double plain_slope(Loss kind, double x, double t) {
  return kind == Loss::squared ? 2 * (x - t) : 1 / (1 + std::exp(-x)) - t;
}
double plain_target_slope(Loss kind, double x, double t) { return kind == Loss::squared ? 2 * (t - x) : -x; }

template <class F>
Values map(const Array& x, const Array& t, F f) {
  Values result, a = values(x), b = values(t);
  for (std::size_t i = 0; i < a.size(); ++i) result.push_back(f(a[i], b[i], i));
  return result;
}

Array run(Loss kind, const Array& x, const Array& t, const Shape& shape, double scale) {
  Array y = Array::empty(shape, x.dtype());
  REQUIRE(backend(cpu).loss(kind, y.view(), x.view(), t.view(), scale));
  return y;
}

void check_gradients(Loss kind, const Array& x, const Array& t, const Array& dy, double scale,
                     double tolerance) {
  const Array dx = Array::empty(x.shape(), x.dtype()), dt = Array::empty(x.shape(), x.dtype());
  const Values g = values(dy);
  const auto dy_at = [&](std::size_t i) { return scale * (g.size() == 1 ? g[0] : g[i]); };
  REQUIRE(backend(cpu).loss_backward(kind, dx.view(), dt.view(), dy.view(), x.view(), t.view(), scale));
  check_close(dx, map(x, t, [&](double a, double b, auto i) { return dy_at(i) * plain_slope(kind, a, b); }),
              tolerance, scale);
  check_close(
      dt, map(x, t, [&](double a, double b, auto i) { return dy_at(i) * plain_target_slope(kind, a, b); }),
      tolerance, scale);
  const Array alone = Array::empty(x.shape(), x.dtype());
  REQUIRE(backend(cpu).loss_backward(kind, View{}, alone.view(), dy.view(), x.view(), t.view(), scale));
  CHECK(same_bits(alone, dt));
}

TEST_SUITE("kernels losses") {
  TEST_CASE("losses and their gradients equal the formulas") {
    for (const Loss kind : {Loss::squared, Loss::logistic}) {
      for (const DType dtype : {f32, f64}) {
        const double tolerance = dtype == f32 ? 1e-6 : 1e-14;
        for (const std::int64_t n : {0, 1, 7, 64, 1000, 8193, 70001}) {
          CAPTURE(n);
          const Shape shape{n, 1};
          const Array x = normal(shape, dtype, 1, 0, 5), t = normal(shape, dtype, 2, 0.5, 0.2);
          const Values want = map(x, t, [=](double a, double b, auto) { return plain_loss(kind, a, b); });
          check_close(run(kind, x, t, shape, 1), want, tolerance, 10);
          double sum = 0;
          for (const double loss : want) sum += loss;
          const double scale = n == 0 ? 1 : 1 / static_cast<double>(n);
          check_close(run(kind, x, t, {}, scale), {scale * sum}, tolerance, 10);
          check_gradients(kind, x, t, normal(shape, dtype, 3), 1, tolerance * 10);
          check_gradients(kind, x, t, Array::full({}, 3, dtype), scale, tolerance * 10);
        }
      }
    }
  }
  TEST_CASE("the sum of a million f32 losses keeps its digits, whatever the number of threads") {
    const Shape shape{1000003};
    const Array x = normal(shape, f32, 4, 100, 1), t = normal(shape, f32, 5, 0, 1);
    for (const Loss kind : {Loss::squared, Loss::logistic}) {
      double sum = 0;
      for (const double loss : map(x, t, [=](double a, double b, auto) { return plain_loss(kind, a, b); }))
        sum += loss;
      const Array y = run(kind, x, t, {}, 1);
      check_close(y, {sum}, 3e-7, 0);
      const int before = num_threads();
      for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        CHECK(same_bits(run(kind, x, t, {}, 1), y));
      }
      set_num_threads(before);
    }
  }
  TEST_CASE("losses of infinities and NaN") {
    const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
    for (const DType dtype : {f32, f64}) {
      const Array x = Array::from(Values{nan, 1, inf, -inf}, {4}).to(dtype),
                  t = Array::from(Values{0, nan, 0, 1}, {4}).to(dtype);
      for (const Loss kind : {Loss::squared, Loss::logistic}) {
        const Values y = values(run(kind, x, t, {4}, 1));
        CHECK(std::isnan(y[0]));
        CHECK(std::isnan(y[1]));
        CHECK((std::isnan(y[2]) || y[2] == inf));
        CHECK(y[3] == inf);
      }
    }
  }
}

}  // namespace
}  // namespace norma::tests
