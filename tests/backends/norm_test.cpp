// layer_norm and rms_norm kernels against plain double loops, and the numbers of the robustness checklist.
#include "tests/backends/arrays.h"

namespace norma::tests {
namespace {

using Values = std::vector<double>;
Backend& kernels() { return backend(cpu); }

/// The formula, in plain double loops. Absent weight or bias: empty.
Values plain_layer_norm(const Values& x, const Values& weight, const Values& bias, std::int64_t d,
                        double eps) {
  Values y(x.size());
  const std::size_t n = static_cast<std::size_t>(d);
  for (std::size_t row = 0; row < x.size(); row += n) {
    double mean = 0, variance = 0;
    for (std::size_t j = 0; j < n; ++j) mean += x[row + j] / static_cast<double>(d);
    for (std::size_t j = 0; j < n; ++j)
      variance += (x[row + j] - mean) * (x[row + j] - mean) / static_cast<double>(d);
    for (std::size_t j = 0; j < n; ++j) {
      const double x_hat = (x[row + j] - mean) / std::sqrt(variance + eps);
      y[row + j] = x_hat * (weight.empty() ? 1 : weight[j]) + (bias.empty() ? 0 : bias[j]);
    }
  }
  return y;
}

Values plain_rms_norm(const Values& x, const Values& weight, std::int64_t d, double eps, bool inside) {
  Values y(x.size());
  const std::size_t n = static_cast<std::size_t>(d);
  for (std::size_t row = 0; row < x.size(); row += n) {
    double square = 0;
    for (std::size_t j = 0; j < n; ++j) square += x[row + j] * x[row + j] / static_cast<double>(d);
    const double root = inside ? std::sqrt(square + eps) : std::sqrt(square) + eps;
    for (std::size_t j = 0; j < n; ++j) y[row + j] = x[row + j] / root * (weight.empty() ? 1 : weight[j]);
  }
  return y;
}

struct LayerNormRun {
  Array y, mean, rstd, dx, dweight, dbias;

  LayerNormRun(const Array& x, const Array& weight, const Array& bias, double eps, const Array& dy = {}) {
    const Shape rows{x.shape()[0]};
    y = Array::empty(x.shape(), x.dtype()), mean = Array::empty(rows, f64), rstd = Array::empty(rows, f64);
    REQUIRE(kernels().layer_norm(y.view(), mean.view(), rstd.view(), x.view(), weight.view_or_none(),
                                 bias.view_or_none(), eps));
    if (!dy.defined()) return;
    dx = Array::empty(x.shape(), x.dtype());
    dweight = Array::empty({x.shape()[1]}, x.dtype()), dbias = Array::empty({x.shape()[1]}, x.dtype());
    REQUIRE(kernels().layer_norm_backward(dx.view(), dweight.view(), dbias.view(), dy.view(), x.view(),
                                          mean.view(), rstd.view(), weight.view_or_none(), {}));
  }
};

struct RmsNormRun {
  Array y, rstd, dx, dweight;

  RmsNormRun(const Array& x, const Array& weight, double eps, bool inside, const Array& dy = {}) {
    y = Array::empty(x.shape(), x.dtype()), rstd = Array::empty({x.shape()[0]}, f64);
    REQUIRE(kernels().rms_norm(y.view(), rstd.view(), x.view(), weight.view_or_none(), eps, inside,
                               x.shape()[1]));
    if (!dy.defined()) return;
    dx = Array::empty(x.shape(), x.dtype()), dweight = Array::empty({x.shape()[1]}, x.dtype());
    REQUIRE(kernels().rms_norm_backward(dx.view(), dweight.view(), dy.view(), x.view(), rstd.view(),
                                        weight.view_or_none(), eps, inside, x.shape()[1]));
  }
};

TEST_SUITE("kernels norms") {
  TEST_CASE("layer_norm equals the formula; its gradients equal central differences") {
    for (const Shape& shape : {Shape{1, 1}, Shape{1, 5}, Shape{3, 8}, Shape{37, 33}}) {
      for (int affine = 0; affine < 4; ++affine) {
        const std::int64_t d = shape[1];
        const Array x = normal(shape, f64, 1, 0.5), dy = normal(shape, f64, 2);
        const Array weight = affine & 1 ? normal({d}, f64, 3) : Array(),
                    bias = affine & 2 ? normal({d}, f64, 4) : Array();
        const Values w = affine & 1 ? values(weight) : Values(), b = affine & 2 ? values(bias) : Values();
        const double eps = 0.1;
        const LayerNormRun run(x, weight, bias, eps, dy);
        check_close(run.y, plain_layer_norm(values(x), w, b, d, eps), 1e-12);
        if (shape.numel() > 100) continue;
        check_close(run.dx,
                    numeric_gradient(values(x), values(dy),
                                     [&](const Values& v) { return plain_layer_norm(v, w, b, d, eps); }),
                    1e-7);
        const Values ones = w.empty() ? Values(static_cast<std::size_t>(d), 1) : w;
        check_close(
            run.dweight,
            numeric_gradient(ones, values(dy),
                             [&](const Values& v) { return plain_layer_norm(values(x), v, b, d, eps); }),
            1e-7);
        check_close(
            run.dbias,
            numeric_gradient(Values(static_cast<std::size_t>(d)), values(dy),
                             [&](const Values& v) { return plain_layer_norm(values(x), w, v, d, eps); }),
            1e-7);
      }
    }
  }
  TEST_CASE("rms_norm equals the formula; its gradients equal central differences") {
    for (const Shape& shape : {Shape{1, 1}, Shape{3, 8}, Shape{37, 33}}) {
      for (const bool inside : {true, false}) {
        for (const bool affine : {true, false}) {
          const std::int64_t d = shape[1];
          const Array x = normal(shape, f64, 1, 0.5), dy = normal(shape, f64, 2);
          const Array weight = affine ? normal({d}, f64, 3) : Array();
          const Values w = affine ? values(weight) : Values();
          const RmsNormRun run(x, weight, 0.3, inside, dy);
          check_close(run.y, plain_rms_norm(values(x), w, d, 0.3, inside), 1e-12);
          if (shape.numel() > 100) continue;
          check_close(run.dx,
                      numeric_gradient(values(x), values(dy),
                                       [&](const Values& v) { return plain_rms_norm(v, w, d, 0.3, inside); }),
                      1e-7);
          const Values ones = w.empty() ? Values(static_cast<std::size_t>(d), 1) : w;
          check_close(
              run.dweight,
              numeric_gradient(ones, values(dy),
                               [&](const Values& v) { return plain_rms_norm(values(x), v, d, 0.3, inside); }),
              1e-7);
        }
      }
    }
  }
  TEST_CASE("f32 norms follow the f64 ones on larger shapes") {
    for (const Shape& shape : {Shape{300, 96}, Shape{70, 2049}, Shape{5000, 7}}) {
      const Array x = normal(shape, f32, 5, 1), dy = normal(shape, f32, 6), w = normal({shape[1]}, f32, 7),
                  b = normal({shape[1]}, f32, 8);
      const LayerNormRun got(x, w, b, 1e-5, dy), want(x.to(f64), w.to(f64), b.to(f64), 1e-5, dy.to(f64));
      check_close(got.y, want.y, 1e-5), check_close(got.dx, want.dx, 1e-5);
      check_close(got.dweight, want.dweight, 1e-5, 10), check_close(got.dbias, want.dbias, 1e-5, 10);
      for (const bool inside : {true, false}) {
        const RmsNormRun r(x, w, 1e-5, inside, dy), s(x.to(f64), w.to(f64), 1e-5, inside, dy.to(f64));
        check_close(r.y, s.y, 1e-5), check_close(r.dx, s.dx, 1e-5),
            check_close(r.dweight, s.dweight, 1e-5, 10);
      }
    }
  }
  TEST_CASE("R16 layer norm of large neighbouring integers") {
    const LayerNormRun run(Array::from(std::vector<float>{40000, 40001, 40002, 40003}, {1, 4}), {}, {}, 1e-5);
    check_close(run.y, {-1.34164, -0.44721, 0.44721, 1.34164}, 1e-5);
  }
  TEST_CASE("R17 layer norm of a large mean and small steps") {
    for (const double mean : {0.0, 100.0, 1000.0, 10000.0}) {
      std::vector<float> row;
      for (int i = 0; i < 16; ++i) row.push_back(static_cast<float>(mean + i * 0.001));
      const Values want = plain_layer_norm(Values(row.begin(), row.end()), {}, {}, 16, 1e-5);
      const LayerNormRun run(Array::from(row, {1, 16}), {}, {}, 1e-5);
      const Values got = values(run.y);
      for (std::size_t i = 0; i < 16; ++i) CHECK(std::fabs(got[i] - want[i]) < 1e-5);
    }
  }
  TEST_CASE("R18 the output variance is v / (v + eps) at mean 100") {
    const Array x = normal({64, 4096}, f32, 9, 100, 0.01);
    const LayerNormRun run(x, {}, {}, 1e-5);
    const Values in = values(x), out = values(run.y);
    for (std::size_t row = 0; row < in.size(); row += 4096) {
      const auto variance = [&](const Values& v) {
        double mean = 0, sum = 0;
        for (std::size_t j = 0; j < 4096; ++j) mean += v[row + j] / 4096;
        for (std::size_t j = 0; j < 4096; ++j) sum += (v[row + j] - mean) * (v[row + j] - mean) / 4096;
        return sum;
      };
      CHECK(std::fabs(variance(out) - variance(in) / (variance(in) + 1e-5)) < 1e-3);
    }
  }
  TEST_CASE("R19 constant rows give the bias, with a finite gradient") {
    for (const DType dtype : {f32, f64}) {
      for (const double constant : {0.0, 0.1, 100.0, 1e7}) {
        const Array x = Array::full({3, 1000}, constant, dtype), bias = normal({1000}, dtype, 1);
        const LayerNormRun run(x, normal({1000}, dtype, 2), bias, 1e-12, normal({3, 1000}, dtype, 3));
        for (std::int64_t r = 0; r < 3; ++r) {
          for (std::int64_t j = 0; j < 1000; ++j) REQUIRE(run.y.at({r, j}) == bias.at({j}));
        }
        CHECK((all_finite(run.dx) && all_finite(run.dweight) && all_finite(run.dbias)));
      }
    }
  }
  TEST_CASE("R20 rms norm of zeros is zero, with a finite gradient") {
    for (const DType dtype : {f32, f64}) {
      for (const bool inside : {true, false}) {
        const Array weight = normal({5}, dtype, 1), dy = normal({2, 5}, dtype, 2);
        const RmsNormRun run(Array::zeros({2, 5}, dtype), weight, 0.5, inside, dy);
        check_close(run.y, Values(10), 0);
        const double rstd = inside ? 1 / std::sqrt(0.5) : 1 / 0.5;
        for (std::int64_t j = 0; j < 5; ++j)
          CHECK(close(run.dx.at({1, j}), weight.at({j}) * dy.at({1, j}) * rstd, 1e-6));
      }
    }
  }
  TEST_CASE("R21 rows of 1e30 in f32") {
    const Array x = Array::from(std::vector<float>{1e30f, -1e30f, 1e30f, -1e30f}, {1, 4});
    const LayerNormRun run(x, {}, {}, 1e-5, normal({1, 4}, f32, 1));
    check_close(run.y, {1, -1, 1, -1}, 1e-6);
    CHECK(all_finite(run.dx));
    const RmsNormRun rms(x, {}, 1e-5, true, normal({1, 4}, f32, 1));
    check_close(rms.y, {1, -1, 1, -1}, 1e-6);
    CHECK(all_finite(rms.dx));
  }
  TEST_CASE("R22 tiny and subnormal rows are dominated by eps") {
    for (const float size : {1e-30f, 1e-40f}) {
      const Array x = Array::from(std::vector<float>{size, -size, 2 * size, 0}, {1, 4});
      const LayerNormRun run(x, {}, {}, 1e-5, normal({1, 4}, f32, 1));
      CHECK((all_finite(run.y) && all_finite(run.dx)));
      CHECK(close(run.y.at({0, 2}), (2 - 0.5) * static_cast<double>(size) / std::sqrt(1e-5), 1e-3, 0));
      CHECK(RmsNormRun(x, {}, 1e-5, true).y.at({0, 0}) > 0);
    }
    // Without eps the size cancels: the squares underflow in f32 but not in f64.
    const Array x = Array::from(std::vector<float>{1e-30f, -1e-30f, 1e-30f, -1e-30f}, {1, 4});
    check_close(LayerNormRun(x, {}, {}, 0).y, {1, -1, 1, -1}, 1e-6);
    check_close(RmsNormRun(x, {}, 0, true).y, {1, -1, 1, -1}, 1e-6);
  }
  TEST_CASE("R23 a NaN or an infinity stays in its row") {
    for (const double poison : {std::nan(""), static_cast<double>(INFINITY)}) {
      const Array clean = normal({4, 9}, f32, 1), dirty = clean.clone(), dy = normal({4, 9}, f32, 2);
      dirty.data<float>()[2 * 9 + 3] = static_cast<float>(poison);
      const LayerNormRun a(clean, {}, {}, 1e-5, dy), b(dirty, {}, {}, 1e-5, dy);
      const RmsNormRun c(clean, {}, 1e-5, true, dy), d(dirty, {}, 1e-5, true, dy);
      for (const std::int64_t row : {0, 1, 3}) {
        for (std::int64_t j = 0; j < 9; ++j) {
          CHECK((a.y.at({row, j}) == b.y.at({row, j}) && a.dx.at({row, j}) == b.dx.at({row, j})));
          CHECK((c.y.at({row, j}) == d.y.at({row, j}) && c.dx.at({row, j}) == d.dx.at({row, j})));
        }
      }
      CHECK(std::isnan(b.y.at({2, 3})));
      CHECK(!std::isfinite(d.y.at({2, 3})));
    }
  }
  TEST_CASE("R24 statistics of 3.8e7 elements in one row") {
    Generator generator(1);
    const Array x = Array::random(Random::uniform, {1, 38000000}, 0, 1, f32, cpu, generator);
    const Array y = Array::empty(x.shape(), f32), mean = Array::empty({1}, f64),
                rstd = Array::empty({1}, f64);
    kernels().layer_norm(y.view(), mean.view(), rstd.view(), x.view(), {}, {}, 0);
    double sum = 0, squares = 0;
    const float* values = x.data<float>();
    for (std::int64_t i = 0; i < x.numel(); ++i) sum += static_cast<double>(values[i]);
    const double want = sum / static_cast<double>(x.numel());
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      squares += (static_cast<double>(values[i]) - want) * (static_cast<double>(values[i]) - want);
    }
    const double variance = squares / static_cast<double>(x.numel());
    CHECK(std::fabs(mean.item() / want - 1) < 1e-5);
    CHECK(std::fabs(1 / (rstd.item() * rstd.item()) / variance - 1) < 1e-5);
    const Array total = Array::empty({1, 1}, f32);
    kernels().reduce(Reduce::sum, total.view(), x.view());
    CHECK(std::fabs(total.item() / sum - 1) < 1e-6);
  }
  TEST_CASE("R26 eps is added to the variance, unscaled") {
    const Array x = Array::from(std::vector<float>{1, 3}, {1, 2});  // variance 1, mean square 5
    check_close(LayerNormRun(x, {}, {}, 0.5).y, {-1 / std::sqrt(1.5), 1 / std::sqrt(1.5)}, 1e-6);
    check_close(RmsNormRun(x, {}, 0.5, true).y, {1 / std::sqrt(5.5), 3 / std::sqrt(5.5)}, 1e-6);
    check_close(RmsNormRun(x, {}, 0.5, false).y, {1 / (std::sqrt(5) + 0.5), 3 / (std::sqrt(5) + 0.5)}, 1e-6);
  }
  TEST_CASE("zero rows, and gradients of which some are absent") {
    const Array none = Array::empty({0, 4}, f32), dy = Array::empty({0, 4}, f32);
    const LayerNormRun run(none, {}, {}, 1e-5, dy);
    check_close(run.dweight, Values(4), 0);
    check_close(run.dbias, Values(4), 0);
    const Array x = normal({9, 6}, f64, 1), g = normal({9, 6}, f64, 2), w = normal({6}, f64, 3);
    const LayerNormRun full(x, w, {}, 1e-5, g);
    for (int wanted = 1; wanted < 8; ++wanted) {
      const Array dx = wanted & 1 ? Array::empty({9, 6}, f64) : Array(),
                  dw = wanted & 2 ? Array::empty({6}, f64) : Array(),
                  db = wanted & 4 ? Array::empty({6}, f64) : Array();
      kernels().layer_norm_backward(dx.view_or_none(), dw.view_or_none(), db.view_or_none(), g.view(),
                                    x.view(), full.mean.view(), full.rstd.view(), w.view(), {});
      if (wanted & 1) CHECK(same_bits(dx, full.dx));
      if (wanted & 2) CHECK(same_bits(dw, full.dweight));
      if (wanted & 4) CHECK(same_bits(db, full.dbias));
    }
  }
}

}  // namespace
}  // namespace norma::tests
