// layer_norm of rows whose statistics are hard: every length around the lanes and blocks of the sums, values
// far from the first ones, infinities. Against plain sums in long double.
#include "tests/backends/arrays.h"

namespace norma::tests {
namespace {

using Values = std::vector<double>;
using Wide = long double;
constexpr double eps = 1e-5;

struct Run {
  Array x, weight, bias, dy, y, mean, rstd, dx, dweight, dbias;

  explicit Run(Array in) : x(std::move(in)) {
    const DType dtype = x.dtype();
    const Shape rows{x.shape()[0]}, columns{x.shape()[1]};
    weight = normal(columns, dtype, 11, 1), bias = normal(columns, dtype, 12),
    dy = normal(x.shape(), dtype, 13);
    y = Array::empty(x.shape(), dtype), dx = Array::empty(x.shape(), dtype);
    mean = Array::empty(rows, f64), rstd = Array::empty(rows, f64);
    dweight = Array::empty(columns, dtype), dbias = Array::empty(columns, dtype);
    Backend& kernels = backend(cpu);
    REQUIRE(
        kernels.layer_norm(y.view(), mean.view(), rstd.view(), x.view(), weight.view(), bias.view(), eps));
    REQUIRE(kernels.layer_norm_backward(dx.view(), dweight.view(), dbias.view(), dy.view(), x.view(),
                                        mean.view(), rstd.view(), weight.view(), {}));
  }

  /// tolerance: for numbers near 1. The mean is held to it in units of the deviation.
  void check(double tolerance) const {
    const std::int64_t rows = x.shape()[0], d = x.shape()[1];
    const Values in = values(x), w = values(weight), b = values(bias), g = values(dy);
    Values want_y(in.size()), want_dx(in.size()), want_dweight(w.size()), want_dbias(w.size());
    double largest = 1;
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto at = [&](std::int64_t j) { return static_cast<std::size_t>(r * d + j); };
      const auto column = [](std::int64_t j) { return static_cast<std::size_t>(j); };
      const auto mean_over = [&](auto term) {
        Wide sum = 0;
        for (std::int64_t j = 0; j < d; ++j) sum += term(j);
        return sum / static_cast<Wide>(d);
      };
      const Wide centre = mean_over([&](std::int64_t j) { return Wide(in[at(j)]); });
      const Wide var = mean_over([&](std::int64_t j) { return (in[at(j)] - centre) * (in[at(j)] - centre); });
      const Wide scale = 1 / std::sqrt(var + Wide(eps));
      CHECK(close(rstd.at({r}) / static_cast<double>(scale), 1, tolerance));
      CHECK(close((mean.at({r}) - static_cast<double>(centre)) * static_cast<double>(scale), 0, tolerance));
      const auto x_hat = [&](std::int64_t j) { return (in[at(j)] - centre) * scale; };
      const auto slope = [&](std::int64_t j) { return Wide(g[at(j)]) * w[column(j)]; };
      const Wide mean_g = mean_over(slope);
      const Wide mean_gx = mean_over([&](std::int64_t j) { return slope(j) * x_hat(j); });
      for (std::int64_t j = 0; j < d; ++j) {
        want_y[at(j)] = static_cast<double>(x_hat(j) * w[column(j)] + b[column(j)]);
        want_dx[at(j)] = static_cast<double>(scale * (slope(j) - mean_g - x_hat(j) * mean_gx));
        want_dweight[column(j)] += static_cast<double>(g[at(j)] * x_hat(j));
        want_dbias[column(j)] += g[at(j)];
        largest = std::max(largest, std::abs(static_cast<double>(x_hat(j))));
      }
      largest = std::max(largest, static_cast<double>(scale));
    }
    check_close(y, want_y, tolerance, 4 * largest);
    check_close(dx, want_dx, tolerance, 4 * largest);
    check_close(dweight, want_dweight, tolerance, 4 * largest * std::sqrt(static_cast<double>(rows)));
    check_close(dbias, want_dbias, tolerance, 4 * std::sqrt(static_cast<double>(rows)));
  }
};

double tolerance_of(DType dtype) { return dtype == f32 ? 1e-6 : 1e-14; }

TEST_SUITE("kernels moments of rows") {
  TEST_CASE("layer_norm of every length around the lanes and the blocks of its sums") {
    std::vector<std::int64_t> lengths;
    for (std::int64_t d = 2; d <= 130; ++d) lengths.push_back(d);
    for (const std::int64_t d : {255, 257, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 8193})
      lengths.push_back(d);
    for (const DType dtype : {f32, f64}) {
      for (const std::int64_t d : lengths) {
        CAPTURE(d);
        Run(normal({6, d}, dtype, 1, 0.5)).check(tolerance_of(dtype));
      }
    }
  }
  TEST_CASE("layer_norm of any number of rows") {
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 36, 67}) {
      CAPTURE(rows);
      Run(normal({rows, 40}, f32, 1, 0.5)).check(2e-6);
      Run(normal({rows, 600}, f32, 1, 0.5)).check(2e-6);
    }
  }
  TEST_CASE("R17 layer_norm of a large mean: no digit of x is lost") {
    for (const double mean : {1e2, 1e4, -1e6}) {
      for (const std::int64_t d : {5, 16, 64, 300, 3000}) {
        CAPTURE(mean);
        CAPTURE(d);
        Run(normal({5, d}, f32, 1, mean)).check(1e-6);
        Run(normal({5, d}, f64, 1, mean)).check(1e-15 * (10 + std::abs(mean)));  // x and mean are f64
      }
    }
  }
  TEST_CASE("layer_norm of rows whose first values are far from the rest") {
    for (const DType dtype : {f32, f64}) {
      for (const double far : {30.0, 1e3, -1e6, 1e30}) {
        for (const std::int64_t outliers : {1, 16, 64}) {
          CAPTURE(far);
          CAPTURE(outliers);
          Array x = normal({5, 1000}, f64, 1, 0.5);
          for (std::int64_t r = 0; r < 4; ++r) {
            for (std::int64_t j = 0; j < outliers; ++j) x.data<double>()[r * 1000 + j] += far;
          }
          Run(x.to(dtype)).check(tolerance_of(dtype));
        }
      }
    }
  }
  TEST_CASE("R23 an infinity or a NaN anywhere makes its row NaN, and no other") {
    for (const DType dtype : {f32, f64}) {
      for (const double value : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
        for (const std::int64_t place : {0, 1, 17, 63, 64, 99}) {
          CAPTURE(value);
          CAPTURE(place);
          const Array clean = normal({6, 100}, f64, 1), dirty = clean.clone();
          dirty.data<double>()[2 * 100 + place] = value;
          const Run a(clean.to(dtype)), b(dirty.to(dtype));
          for (std::int64_t r = 0; r < 6; ++r) {
            for (std::int64_t j = 0; j < 100; ++j) {
              CHECK((r == 2 ? std::isnan(b.y.at({r, j})) : b.y.at({r, j}) == a.y.at({r, j})));
              CHECK((r == 2 ? std::isnan(b.dx.at({r, j})) : b.dx.at({r, j}) == a.dx.at({r, j})));
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace norma::tests
