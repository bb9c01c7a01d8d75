// l2_norm, residual-add norms, partial and detached statistics: kernels against plain double loops; rows so
// long that threads share them.
#include "tests/backends/arrays.h"
#include "tests/threads.h"

namespace norma::tests {
namespace {

using Values = std::vector<double>;
Backend& kernels() { return backend(cpu); }
std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

/// f(row) of every row of x.
template <class Function>
Values by_rows(const Values& x, std::int64_t d, Function&& f) {
  Values y;
  for (std::size_t at = 0; at < x.size(); at += size(d)) {
    const auto first = x.begin() + static_cast<std::ptrdiff_t>(at);
    const Values part = f(Values(first, first + d));
    y.insert(y.end(), part.begin(), part.end());
  }
  return y;
}

Values plain_l2_norm(const Values& x, std::int64_t d, double weight, double eps) {
  return by_rows(x, d, [=](Values row) {
    double squares = 0;
    for (const double value : row) squares += value * value;
    for (double& value : row) value *= weight / std::max(std::sqrt(squares), eps);
    return row;
  });
}

Values plain_rms_norm(const Values& x, const Values& weight, std::int64_t d, double eps, bool inside,
                      std::int64_t counted) {
  return by_rows(x, d, [&](Values row) {
    double square = 0;
    for (std::size_t j = 0; j < size(counted); ++j) square += row[j] * row[j] / static_cast<double>(counted);
    const double root = inside ? std::sqrt(square + eps) : std::sqrt(square) + eps;
    for (std::size_t j = 0; j < row.size(); ++j) row[j] *= (weight.empty() ? 1 : weight[j]) / root;
    return row;
  });
}

struct L2NormRun {
  Array y, norm, dx, dweight;

  L2NormRun(const Array& x, const Array& weight, double eps, const Array& dy) {
    y = Array::empty(x.shape(), x.dtype()), norm = Array::empty({x.shape()[0]}, f64);
    REQUIRE(kernels().l2_norm(y.view(), norm.view(), x.view(), weight.view_or_none(), eps));
    dx = Array::empty(x.shape(), x.dtype());
    if (weight.defined()) dweight = Array::empty({1}, x.dtype());
    REQUIRE(kernels().l2_norm_backward(dx.view(), dweight.view_or_none(), dy.view(), x.view(), norm.view(),
                                       weight.view_or_none(), eps));
  }
  std::vector<Array> all() const { return {y, norm, dx, dweight}; }
};

struct LayerNormRun {
  Array sum, y, mean, rstd, dx, dweight, dbias;

  /// The norm of x, or with a residual of x + residual.
  LayerNormRun(const Array& x, const Array& residual, const Array& weight, const Array& bias, const Array& dy,
               Detached constants = {}) {
    const Shape rows{x.shape()[0]}, columns{x.shape()[1]};
    y = Array::empty(x.shape(), x.dtype()), mean = Array::empty(rows, f64), rstd = Array::empty(rows, f64);
    if (residual.defined()) {
      sum = Array::empty(x.shape(), x.dtype());
      REQUIRE(kernels().add_layer_norm(y.view(), sum.view(), mean.view(), rstd.view(), x.view(),
                                       residual.view(), weight.view_or_none(), bias.view_or_none(), 0.1));
    } else {
      sum = x;
      REQUIRE(kernels().layer_norm(y.view(), mean.view(), rstd.view(), x.view(), weight.view_or_none(),
                                   bias.view_or_none(), 0.1));
    }
    dx = Array::empty(x.shape(), x.dtype());
    dweight = Array::empty(columns, x.dtype()), dbias = Array::empty(columns, x.dtype());
    REQUIRE(kernels().layer_norm_backward(dx.view(), dweight.view(), dbias.view(), dy.view(), sum.view(),
                                          mean.view(), rstd.view(), weight.view_or_none(), constants));
  }
  std::vector<Array> all() const { return {sum, y, mean, rstd, dx, dweight, dbias}; }
};

struct RmsNormRun {
  Array sum, y, rstd, dx, dweight;

  RmsNormRun(const Array& x, const Array& residual, const Array& weight, const Array& dy, bool inside,
             std::int64_t counted = 0) {
    const std::int64_t k = counted == 0 ? x.shape()[1] : counted;
    y = Array::empty(x.shape(), x.dtype()), rstd = Array::empty({x.shape()[0]}, f64);
    if (residual.defined()) {
      sum = Array::empty(x.shape(), x.dtype());
      REQUIRE(kernels().add_rms_norm(y.view(), sum.view(), rstd.view(), x.view(), residual.view(),
                                     weight.view_or_none(), 0.1, inside));
    } else {
      sum = x;
      REQUIRE(kernels().rms_norm(y.view(), rstd.view(), x.view(), weight.view_or_none(), 0.1, inside, k));
    }
    dx = Array::empty(x.shape(), x.dtype()), dweight = Array::empty({x.shape()[1]}, x.dtype());
    REQUIRE(kernels().rms_norm_backward(dx.view(), dweight.view(), dy.view(), sum.view(), rstd.view(),
                                        weight.view_or_none(), 0.1, inside, k));
  }
  std::vector<Array> all() const { return {sum, y, rstd, dx, dweight}; }
};

void check_same(const std::vector<Array>& got, const std::vector<Array>& want) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(got[i], want[i]));
  }
}

TEST_SUITE("kernels norms of rows") {
  TEST_CASE("l2_norm equals the formula; its gradients equal central differences") {
    for (const Shape& shape : {Shape{1, 1}, Shape{3, 8}, Shape{37, 33}}) {
      for (const bool weighted : {false, true}) {
        for (const double eps : {1e-12, 100.0}) {
          const std::int64_t d = shape[1];
          const Array x = normal(shape, f64, 1, 0.5), dy = normal(shape, f64, 2);
          const Array weight = weighted ? normal({1}, f64, 3) : Array();
          const double w = weighted ? values(weight)[0] : 1;
          const L2NormRun run(x, weight, eps, dy);
          check_close(run.y, plain_l2_norm(values(x), d, w, eps), 1e-12);
          if (shape.numel() > 100) continue;
          check_close(run.dx,
                      numeric_gradient(values(x), values(dy),
                                       [&](const Values& v) { return plain_l2_norm(v, d, w, eps); }),
                      1e-7);
          if (!weighted) continue;
          check_close(
              run.dweight,
              numeric_gradient({w}, values(dy),
                               [&](const Values& v) { return plain_l2_norm(values(x), d, v[0], eps); }),
              1e-7);
        }
      }
    }
  }
  TEST_CASE("R31 l2_norm of zeros is zero, with the gradient weight * dy / eps") {
    for (const DType dtype : {f32, f64}) {
      const Array weight = normal({1}, dtype, 1), dy = normal({2, 5}, dtype, 2);
      const L2NormRun run(Array::zeros({2, 5}, dtype), weight, 1e-3, dy);
      check_close(run.y, Values(10), 0);
      for (std::int64_t j = 0; j < 5; ++j)
        CHECK(close(run.dx.at({1, j}), weight.at({0}) * dy.at({1, j}) * 1e3, 1e-6, 1e3));
      CHECK(run.dweight.item() == 0);
      CHECK(all_finite(L2NormRun(Array::zeros({2, 5}, dtype), weight, 1e-12, dy).dx));
    }
  }
  TEST_CASE("R21 R22 R23 l2_norm of huge and tiny values, and of a row with a NaN") {
    for (const float size : {1e30f, 1e-30f}) {
      const Array x = Array::from(std::vector<float>{size, -size, size, -size}, {1, 4});
      check_close(L2NormRun(x, {}, 0, normal({1, 4}, f32, 1)).y, {0.5, -0.5, 0.5, -0.5}, 1e-6);
    }
    const Array clean = normal({4, 9}, f32, 1), dirty = clean.clone(), dy = normal({4, 9}, f32, 2);
    dirty.data<float>()[2 * 9 + 3] = std::nanf("");
    const L2NormRun a(clean, {}, 1e-12, dy), b(dirty, {}, 1e-12, dy);
    for (const std::int64_t row : {0, 1, 3}) {
      for (std::int64_t j = 0; j < 9; ++j)
        CHECK((a.y.at({row, j}) == b.y.at({row, j}) && a.dx.at({row, j}) == b.dx.at({row, j})));
    }
    CHECK((std::isnan(b.y.at({2, 0})) && std::isnan(b.dx.at({2, 0}))));
  }
  TEST_CASE("partial rms_norm equals the formula; its gradients equal central differences") {
    const std::int64_t d = 7;
    const Array x = normal({3, d}, f64, 1, 0.5), dy = normal({3, d}, f64, 2), weight = normal({d}, f64, 3);
    for (const bool inside : {false, true}) {
      for (const std::int64_t counted : {1, 2, 6, 7}) {
        const RmsNormRun run(x, {}, weight, dy, inside, counted);
        const auto plain = [&](const Values& v, const Values& w) {
          return plain_rms_norm(v, w, d, 0.1, inside, counted);
        };
        check_close(run.y, plain(values(x), values(weight)), 1e-12);
        check_close(run.dx,
                    numeric_gradient(values(x), values(dy),
                                     [&](const Values& v) { return plain(v, values(weight)); }),
                    1e-7);
        check_close(run.dweight,
                    numeric_gradient(values(weight), values(dy),
                                     [&](const Values& w) { return plain(values(x), w); }),
                    1e-7);
      }
    }
  }
  TEST_CASE("rms_norm far below an outer eps keeps its gradient") {
    // q is taken from rstd, which has lost the digits of R here; the term it belongs to does not matter then.
    for (const double size : {1e-2, 1e-6, 1e-10, 1e-14, 1e-18}) {
      const Array x = normal({2, 6}, f64, 1, 0, size), dy = normal({2, 6}, f64, 2);
      const RmsNormRun run(x, {}, {}, dy, false);
      const Values in = values(x), g = values(dy);
      for (std::size_t r = 0; r < 2; ++r) {
        double square = 0, product = 0;
        for (std::size_t j = r * 6; j < r * 6 + 6; ++j) {
          square += in[j] * in[j] / 6;
          product += in[j] * g[j] / 6;
        }
        const double root = std::sqrt(square), divisor = root + 0.1;
        for (std::size_t j = r * 6; j < r * 6 + 6; ++j) {
          const double want = (g[j] - in[j] * product / (divisor * root)) / divisor;
          CHECK(close(values(run.dx)[j], want, 1e-14, 10));
        }
      }
    }
  }
  TEST_CASE("detached statistics of layer_norm: the closed forms of Xu et al.") {
    const std::int64_t d = 6;
    const Array x = normal({3, d}, f64, 1, 2), dy = normal({3, d}, f64, 2), weight = normal({d}, f64, 3);
    for (int constants = 0; constants < 4; ++constants) {
      const Detached detached{.mean = (constants & 1) != 0, .std = (constants & 2) != 0};
      const LayerNormRun run(x, {}, weight, {}, dy, detached);
      const LayerNormRun plain(x, {}, weight, {}, dy);
      CHECK(same_bits(run.y, plain.y));
      CHECK(same_bits(run.dweight, plain.dweight));
      CHECK(same_bits(run.dbias, plain.dbias));
      for (std::int64_t r = 0; r < 3; ++r) {
        double mean_g = 0, mean_gx = 0;
        const double mean = run.mean.at({r}), rstd = run.rstd.at({r});
        const auto x_hat = [&](std::int64_t j) { return (x.at({r, j}) - mean) * rstd; };
        const auto g = [&](std::int64_t j) { return dy.at({r, j}) * weight.at({j}); };
        for (std::int64_t j = 0; j < d; ++j) {
          mean_g += g(j) / static_cast<double>(d);
          mean_gx += g(j) * x_hat(j) / static_cast<double>(d);
        }
        if (detached.mean) mean_g = 0;
        if (detached.std) mean_gx = 0;
        for (std::int64_t j = 0; j < d; ++j)
          CHECK(close(run.dx.at({r, j}), rstd * (g(j) - mean_g - x_hat(j) * mean_gx), 1e-12));
      }
    }
  }
  TEST_CASE("a residual is added first: the sum and its norm have the bits of two steps") {
    for (const DType dtype : {f32, f64}) {
      for (const Shape& shape : {Shape{1, 1}, Shape{5, 7}, Shape{64, 64}, Shape{3, 70000}}) {
        const Array x = normal(shape, dtype, 1), residual = normal(shape, dtype, 2, 1);
        const Array weight = normal({shape[1]}, dtype, 3), bias = normal({shape[1]}, dtype, 4);
        const Array dy = normal(shape, dtype, 5), sum = Array::empty(shape, dtype);
        kernels().binary(Binary::add, sum.view(), x.view(), residual.view());
        check_same(LayerNormRun(x, residual, weight, bias, dy).all(),
                   LayerNormRun(sum, {}, weight, bias, dy).all());
        for (const bool inside : {false, true}) {
          check_same(RmsNormRun(x, residual, weight, dy, inside).all(),
                     RmsNormRun(sum, {}, weight, dy, inside).all());
        }
      }
    }
  }
  TEST_CASE("long rows: f32 follows f64, whose gradients follow the formula") {
    for (const Shape& shape : {Shape{1, 300001}, Shape{3, 120000}, Shape{40, 40000}}) {
      const Array x = normal(shape, f32, 1, 1), dy = normal(shape, f32, 2),
                  weight = normal({shape[1]}, f32, 3);
      const Array bias = normal({shape[1]}, f32, 4), gain = normal({1}, f32, 5);
      const auto compare = [](const std::vector<Array>& single, const std::vector<Array>& full) {
        for (std::size_t i = 0; i < single.size(); ++i) {
          CAPTURE(i);
          check_close(single[i], full[i], 1e-5, 10);
        }
      };
      const auto wide = [](const Array& a) { return a.to(f64); };
      const LayerNormRun layer(wide(x), {}, wide(weight), wide(bias), wide(dy));
      compare(LayerNormRun(x, {}, weight, bias, dy).all(), layer.all());
      const RmsNormRun rms(wide(x), {}, wide(weight), wide(dy), false, 33000);
      compare(RmsNormRun(x, {}, weight, dy, false, 33000).all(), rms.all());
      const L2NormRun l2(wide(x), wide(gain), 1e-12, wide(dy));
      compare(L2NormRun(x, gain, 1e-12, dy).all(), l2.all());
      check_close(rms.y, plain_rms_norm(values(x), values(weight), shape[1], 0.1, false, 33000), 1e-11);
      check_close(l2.y, plain_l2_norm(values(x), shape[1], values(gain)[0], 1e-12), 1e-11);
      const Values in = values(layer.y), g = values(dy), w = values(weight), b = values(bias);
      Values dweight(w.size()), dbias(w.size());
      for (std::size_t i = 0; i < in.size(); ++i) {
        const std::size_t j = i % w.size();
        dweight[j] += g[i] * (in[i] - b[j]) / w[j];
        dbias[j] += g[i];
      }
      check_close(layer.dweight, dweight, 1e-9, 10);
      check_close(layer.dbias, dbias, 1e-11);
    }
  }
  TEST_CASE("parameter gradients over very many rows keep their digits in f32") {
    const Array x = normal({200000, 3}, f32, 1), dy = Array::ones({200000, 3}, f32);
    const LayerNormRun run(x, {}, {}, {}, dy);
    check_close(run.dbias, {200000, 200000, 200000}, 0);
    const LayerNormRun full(x.to(f64), {}, {}, {}, dy.to(f64));
    check_close(run.dweight, full.dweight, 1e-6, 200000);
  }
  TEST_CASE("R95 norms of every shape: the same bits for any number of threads") {
    for (const Shape& shape : {Shape{1, 1000000}, Shape{3, 200000}, Shape{100000, 7}, Shape{64, 64}}) {
      const Array x = normal(shape, f32, 1, 1), dy = normal(shape, f32, 2),
                  weight = normal({shape[1]}, f32, 3);
      const Array bias = normal({shape[1]}, f32, 4), gain = normal({1}, f32, 5), residual = dy;
      const auto make = [&] {
        std::vector<Array> all;
        for (const std::vector<Array>& part :
             {LayerNormRun(x, residual, weight, bias, dy).all(),
              RmsNormRun(x, residual, weight, dy, false).all(), L2NormRun(x, gain, 1e-12, dy).all()})
          all.insert(all.end(), part.begin(), part.end());
        return all;
      };
      const Threads restore(1);
      const std::vector<Array> want = make();
      for (const int threads : {2, 3, 4}) {
        set_num_threads(threads);
        check_same(make(), want);
      }
    }
  }
}

}  // namespace
}  // namespace norma::tests
