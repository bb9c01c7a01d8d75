// softmax, cross-entropy, activations, dropout, embedding, adam and sums of squares against plain double
// loops.
#include "backends/cpu/streaming.h"
#include "tests/backends/arrays.h"
#include "tests/messages.h"

namespace norma::tests {
namespace {

using Values = std::vector<double>;
Backend& kernels() { return backend(cpu); }

Values plain_softmax(const Values& x, std::size_t d, bool log) {
  Values y(x.size());
  for (std::size_t row = 0; row < x.size(); row += d) {
    double largest = x[row], sum = 0;
    for (std::size_t j = 0; j < d; ++j) largest = std::max(largest, x[row + j]);
    for (std::size_t j = 0; j < d; ++j) sum += std::exp(x[row + j] - largest);
    for (std::size_t j = 0; j < d; ++j) {
      const double centred = x[row + j] - largest;
      y[row + j] = log ? centred - std::log(sum) : std::exp(centred) / sum;
    }
  }
  return y;
}

Values plain_cross_entropy(const Values& logits, const std::vector<std::int64_t>& targets,
                           std::size_t classes, std::int64_t ignore, double smoothing) {
  const Values log_p = plain_softmax(logits, classes, true);
  Values losses;
  for (std::size_t r = 0; r < targets.size(); ++r) {
    double mean = 0;
    for (std::size_t j = 0; j < classes; ++j) mean += log_p[r * classes + j] / static_cast<double>(classes);
    const std::int64_t target = targets[r];
    losses.push_back(target == ignore
                         ? 0
                         : -(1 - smoothing) * log_p[r * classes + static_cast<std::size_t>(target)] -
                               smoothing * mean);
  }
  return losses;
}

Array softmax(const Array& x, bool log) {
  const Array y = Array::empty(x.shape(), x.dtype());
  REQUIRE(kernels().softmax(y.view(), x.view(), log));
  return y;
}

struct CrossEntropyRun {
  Array losses, lse, dlogits;

  CrossEntropyRun(const Array& logits, const std::vector<std::int64_t>& targets, std::int64_t ignore,
                  double smoothing, const Array& dlosses) {
    const Shape rows{logits.shape()[0]};
    const Array labels = Array::from(targets, rows);
    losses = Array::empty(rows, logits.dtype()), lse = Array::empty(rows, f64);
    dlogits = Array::empty(logits.shape(), logits.dtype());
    const bool forward =
        kernels().cross_entropy(losses.view(), lse.view(), logits.view(), labels.view(), ignore, smoothing);
    REQUIRE(forward);
    REQUIRE(kernels().cross_entropy_backward(dlogits.view(), dlosses.view(), lse.view(), logits.view(),
                                             labels.view(), ignore, smoothing));
  }
};

/// Value and slope of an activation kernel against the formula and central differences, on values of every
/// size.
template <class Forward, class Backward, class Formula>
void check_activation(Forward&& forward, Backward&& backward, Formula&& formula) {
  Values points;
  for (double x = -30; x <= 30; x += 0.0625) points.push_back(x);
  const Shape shape{static_cast<std::int64_t>(points.size())};
  for (const DType dtype : {f32, f64}) {
    const Array x = Array::from(points, shape).to(dtype), dy = normal(shape, dtype, 1);
    const Array y = Array::empty(shape, dtype), dx = Array::empty(shape, dtype);
    REQUIRE(forward(y.view(), x.view()));
    REQUIRE(backward(dx.view(), x.view(), dy.view()));
    Values want, slopes;
    const Values g = values(dy);
    for (std::size_t i = 0; i < points.size(); ++i) {
      want.push_back(formula(points[i]));
      slopes.push_back(g[i] * (formula(points[i] + 1e-6) - formula(points[i] - 1e-6)) / 2e-6);
    }
    check_close(y, want, dtype == f32 ? 1e-6 : 1e-13);
    check_close(dx, slopes, dtype == f32 ? 2e-6 : 1e-8);
    for (const double far : {1e6, 1e18, 1e30}) {  // beyond, the slope is 0 or 1, and nothing overflows to NaN
      const Array ends = Array::from(Values{-far, far}, {2}).to(dtype), ones = Array::ones({2}, dtype),
                  d = Array::empty({2}, dtype);
      REQUIRE(backward(d.view(), ends.view(), ones.view()));
      check_close(d, {0, 1}, 1e-6);
    }
  }
}

TEST_SUITE("kernels fused") {
  TEST_CASE("softmax and log_softmax equal the formula; their gradients central differences") {
    for (const Shape& shape : {Shape{1, 1}, Shape{3, 7}, Shape{5, 8}}) {
      for (const bool log : {false, true}) {
        const Array x = normal(shape, f64, 1, 0, 3), dy = normal(shape, f64, 2),
                    dx = Array::empty(shape, f64);
        const std::size_t d = static_cast<std::size_t>(shape[1]);
        const Array y = softmax(x, log);
        check_close(y, plain_softmax(values(x), d, log), 1e-12);
        kernels().softmax_backward(dx.view(), y.view(), dy.view(), log);
        check_close(dx,
                    numeric_gradient(values(x), values(dy),
                                     [&](const Values& v) { return plain_softmax(v, d, log); }),
                    1e-7);
        const Array big = normal({100, 3001}, f32, 3, 0, 5);
        check_close(softmax(big, log), plain_softmax(values(big), 3001, log), 2e-6);
      }
    }
  }
  TEST_CASE("R28 log_softmax and cross-entropy of logits 1e4, 0, -1e4") {
    const Array x = Array::from(std::vector<float>{1e4f, 0, -1e4f}, {1, 3});
    check_close(softmax(x, true), {0, -1e4, -2e4}, 1e-6);
    for (const std::int64_t target : {0, 1, 2}) {
      const CrossEntropyRun run(x, {target}, -100, 0, Array::ones({1}, f32));
      CHECK(close(run.losses.item(), 1e4 * static_cast<double>(target), 1e-6));
      Values want = {1, 0, 0};
      want[static_cast<std::size_t>(target)] -= 1;
      check_close(run.dlogits, want, 1e-6);
    }
  }
  TEST_CASE("R28 probabilities keep their digits under a large common offset") {
    const Array x = Array::from(std::vector<float>{10000, 10001, 10002.5f}, {1, 3});
    const CrossEntropyRun run(x, {1}, -100, 0, Array::ones({1}, f32));
    Values want = plain_softmax(values(x), 3, false);
    want[1] -= 1;
    check_close(run.dlogits, want, 1e-6);
  }
  TEST_CASE("R29 softmax of equal huge values is uniform; a row of -inf is NaN, as in PyTorch") {
    check_close(softmax(Array::full({2, 4}, 1e30, f32), false), Values(8, 0.25), 1e-7);
    const Array y = softmax(Array::full({1, 4}, -INFINITY, f32), false);
    for (std::int64_t j = 0; j < 4; ++j) CHECK(std::isnan(y.at({0, j})));
    check_close(softmax(Array::from(std::vector<float>{-INFINITY, 0, 0}, {1, 3}), false), {0, 0.5, 0.5},
                1e-7);
  }
  TEST_CASE("cross-entropy with smoothing and ignored rows") {
    const std::vector<std::int64_t> targets = {2, 0, -7, 4, 3, -7};
    for (const double smoothing : {0.0, 0.1, 1.0}) {
      const Array logits = normal({6, 5}, f64, 1, 0, 2), dlosses = normal({6}, f64, 2);
      const CrossEntropyRun run(logits, targets, -7, smoothing, dlosses);
      const auto plain = [&](const Values& v) { return plain_cross_entropy(v, targets, 5, -7, smoothing); };
      check_close(run.losses, plain(values(logits)), 1e-12);
      check_close(run.dlogits, numeric_gradient(values(logits), values(dlosses), plain), 1e-7);
      const CrossEntropyRun narrow(logits.to(f32), targets, -7, smoothing, dlosses.to(f32));
      check_close(narrow.losses, run.losses, 1e-6), check_close(narrow.dlogits, run.dlogits, 1e-6);
    }
  }
  TEST_CASE("R88 targets and indices out of range throw with value, position and range, in both passes") {
    const Array x = normal({4, 5}, f32, 1), losses = Array::empty({4}, f32), lse = Array::empty({4}, f64);
    const auto pass = [&](std::int64_t bad, bool backward) {
      const Array targets = Array::from(std::vector<std::int64_t>{0, 1, 2, bad}, {4}),
                  dx = Array::empty({4, 5}, f32);
      if (backward) {
        kernels().cross_entropy_backward(dx.view(), losses.view(), lse.view(), x.view(), targets.view(), -100,
                                         0);
      } else {
        kernels().cross_entropy(losses.view(), lse.view(), x.view(), targets.view(), -100, 0);
      }
    };
    for (const bool backward : {false, true}) {
      CHECK_THROWS_MESSAGE_HAS(pass(7, backward), "cross_entropy: target 7 at position 3 is outside [0, 5)");
      CHECK_THROWS_MESSAGE_HAS(pass(5, backward), "target 5 at position 3");
      CHECK_THROWS_MESSAGE_HAS(pass(-1, backward), "target -1 at position 3");
      CHECK_NOTHROW(pass(-100, backward));
    }
    for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{4}, INT64_MIN}) {
      const Array index = Array::from(std::vector<std::int64_t>{0, 3, bad}, {3}),
                  y = Array::empty({3, 5}, f32);
      const std::string message =
          detail::concat("embedding: index ", bad, " at position 2 is outside [0, 4)");
      CHECK_THROWS_MESSAGE_HAS(kernels().embedding(y.view(), x.view(), index.view()), message);
      CHECK_THROWS_MESSAGE_HAS(kernels().embedding_backward(x.view(), y.view(), index.view()), message);
      const Array wide = Array::from(std::vector<std::int64_t>{0, 0, bad, 0, 0}, {1, 5}),
                  row = Array::empty({1, 5}, f32);
      const std::string generic = detail::concat("take: index ", bad, " at position 2 is outside [0, 4)");
      for (const Device device : {cpu, reference}) {
        CHECK_THROWS_MESSAGE_HAS(backend(device).gather(row.view(), x.view(), wide.view(), 0, "take"),
                                 generic);
        CHECK_THROWS_MESSAGE_HAS(backend(device).scatter_add(x.view(), row.view(), wide.view(), 0, "take"),
                                 generic);
      }
    }
  }
  TEST_CASE("R89 the ignored label may lie anywhere; others stay checked") {
    const Array x = normal({2, 3}, f32, 1), ones = Array::ones({2}, f32);
    const CrossEntropyRun all(x, {-1, -1}, -1, 0.1, ones);
    check_close(all.losses, {0, 0}, 0), check_close(all.dlogits, Values(6), 0);
    const CrossEntropyRun inside(x, {2, 1}, 2, 0, ones);
    CHECK((inside.losses.at({0}) == 0 && inside.losses.at({1}) > 0));
    const auto wrong = [&] { CrossEntropyRun(x, {-4, 0}, -1, 0, ones); };
    CHECK_THROWS_MESSAGE_HAS(wrong(), "target -4 at position 0 is outside [0, 3)");
  }
  TEST_CASE("gelu in both forms and silu") {
    check_activation([](View y, View x) { return kernels().gelu(y, x, false); },
                     [](View dx, View x, View dy) { return kernels().gelu_backward(dx, x, dy, false); },
                     [](double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2))); });
    check_activation([](View y, View x) { return kernels().gelu(y, x, true); },
                     [](View dx, View x, View dy) { return kernels().gelu_backward(dx, x, dy, true); },
                     [](double x) {
                       const double u = std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
                       return 0.5 * x * (1 + std::tanh(u));
                     });
    check_activation([](View y, View x) { return kernels().silu(y, x); },
                     [](View dx, View x, View dy) { return kernels().silu_backward(dx, x, dy); },
                     [](double x) { return x / (1 + std::exp(-x)); });
  }
  TEST_CASE("log_softmax of rows that begin with -inf, are -inf alone, or hold NaN or +inf") {
    const double inf = std::numeric_limits<double>::infinity();
    for (const DType dtype : {f32, f64}) {
      const std::int64_t d = 6000;
      Values x(static_cast<std::size_t>(5 * d), -inf);
      std::fill_n(x.begin() + 4100, 1900, 3.0);      // row 0: in the third block of a sum
      x[static_cast<std::size_t>(2 * d)] = NAN;      // row 2: in a block that has nothing else
      x[static_cast<std::size_t>(4 * d - 1)] = inf;  // row 3
      std::fill_n(x.begin() + 4 * d, d, 1e4);        // row 4
      x.back() = 1e4 + 8;
      const Array logits = Array::from(x, {5, d}).to(dtype);
      const Values y = values(softmax(logits, true)), p = values(softmax(logits, false));
      CHECK((y[0] == -inf && close(y[4100], -std::log(1900.0), 1e-6)));
      CHECK((p[0] == 0 && close(p[4100], 1 / 1900.0, 1e-9)));
      for (const std::int64_t row : {1, 2, 3})
        CHECK(std::isnan(y[static_cast<std::size_t>(row * d + d - 1)]));
      CHECK(close(y.back(), 8 - std::log(std::exp(8.0) + 5999), 1e-6));
    }
  }
  TEST_CASE("log_softmax of long rows whose largest values lie early, late, or ever higher") {
    const std::int64_t d = 9001;
    for (const double slope : {0.0, 1e-4, 2e-3, -2e-3, 0.3}) {  // 0.2, 4, .. 600 from block to block of a sum
      for (const double mean : {0.0, 1e4}) {
        const Array noise = normal({2, d}, f32, 1);
        Values x = values(noise);
        for (std::size_t i = 0; i < x.size(); ++i)
          x[i] += mean + slope * static_cast<double>(i % static_cast<std::size_t>(d));
        const Array logits = Array::from(x, {2, d}).to(f32);
        check_close(softmax(logits, true), plain_softmax(values(logits), d, true), 2e-7);
      }
    }
  }
  TEST_CASE("streamed rows of every length and place") {
    for (const std::int64_t n : {0, 1, 15, 16, 17, 255, 256, 300, 1000}) {
      for (std::int64_t place = 0; place < 17; ++place) {
        std::vector<float> y(1100, -1.0f);
        stream_row(n, y.data() + place, [](std::int64_t j) { return static_cast<float>(j); });
        bool right = true;
        for (std::int64_t i = 0; i < 1100; ++i) {
          const std::int64_t j = i - place;
          right &= y[static_cast<std::size_t>(i)] == (j >= 0 && j < n ? static_cast<float>(j) : -1.0f);
        }
        CHECK(right);
      }
    }
  }
  TEST_CASE("dropout is the bernoulli mask of the same key") {
    const Shape shape{100, 1001};
    const RandomKey key{7, 123};
    for (const DType dtype : {f32, f64}) {
      for (const double p : {0.0, 0.1, 0.75, 1.0}) {
        const Array x = normal(shape, dtype, 1), y = Array::empty(shape, dtype),
                    dx = Array::empty(shape, dtype), mask = Array::empty(shape, dtype),
                    bits = Array::empty({(x.numel() + 63) / 64}, i64);
        REQUIRE(kernels().dropout(y.view(), bits.view(), x.view(), key, p));
        REQUIRE(kernels().dropout_backward(dx.view(), x.view(), bits.view(), p));  // linear: x for dy
        CHECK(values(dx) == values(y));
        kernels().random(Random::bernoulli, mask.view(), key, 1 - p, 0);
        Values want = values(x);
        const Values kept = values(mask);
        double count = 0;
        for (std::size_t i = 0; i < want.size(); ++i) {
          want[i] = kept[i] != 0 ? want[i] / (1 - p) : 0;
          count += kept[i];
        }
        check_close(y, want, 1e-6);
        CHECK(close(count / static_cast<double>(want.size()), 1 - p, 0.005));
      }
    }
  }
  TEST_CASE("embedding and its gradient, equal indices in order") {
    for (const Shape& shape : {Shape{5, 3}, Shape{50, 200}}) {
      for (const DType dtype : {f32, f64}) {
        const std::int64_t d = shape[1], rows = 300;
        const Array table = normal(shape, dtype, 1), dy = normal({rows, d}, dtype, 2);
        std::vector<std::int64_t> index;
        for (std::int64_t r = 0; r < rows; ++r) index.push_back(r * r % shape[0]);
        const Array at = Array::from(index, {rows}), y = Array::empty({rows, d}, dtype),
                    dtable = Array::zeros(shape, dtype);
        REQUIRE(kernels().embedding(y.view(), table.view(), at.view()));
        REQUIRE(kernels().embedding_backward(dtable.view(), dy.view(), at.view()));
        const Array want = Array::zeros(shape, dtype);
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t j = 0; j < d; ++j) {
            const std::int64_t entry = index[static_cast<std::size_t>(r)];
            REQUIRE(y.at({r, j}) == table.at({entry, j}));
            for_float(dtype, "add",
                      [&]<class T>() { want.data<T>()[entry * d + j] += dy.data<T>()[r * d + j]; });
          }
        }
        CHECK(same_bits(dtable, want));
      }
    }
  }
  TEST_CASE("adam, with decay in both forms, over three steps") {
    for (const bool decoupled : {false, true}) {
      const std::int64_t n = 70000;
      for (const DType dtype : {f32, f64}) {
        const Array w = normal({n}, dtype, 1), m = Array::zeros({n}, dtype), v = Array::zeros({n}, dtype);
        Values want = values(w), first(want.size()), second(want.size());
        for (int step = 1; step <= 3; ++step) {
          const Array g = normal({n}, dtype, static_cast<std::uint64_t>(10 + step));
          const AdamOptions o{.lr = 0.01,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .eps = 1e-8,
                              .weight_decay = 0.1,
                              .correction1 = 1 - std::pow(0.9, step),
                              .correction2 = 1 - std::pow(0.999, step),
                              .decoupled = decoupled};
          REQUIRE(kernels().adam(std::vector<AdamTensors>{{w.view(), g.view(), m.view(), v.view()}}, o));
          const Values gradient = values(g);
          for (std::size_t i = 0; i < want.size(); ++i) {
            const double slope = gradient[i] + (decoupled ? 0 : 0.1 * want[i]);
            if (decoupled) want[i] -= 0.01 * 0.1 * want[i];
            first[i] = 0.9 * first[i] + 0.1 * slope;
            second[i] = 0.999 * second[i] + 0.001 * slope * slope;
            want[i] -= 0.01 * (first[i] / o.correction1) / (std::sqrt(second[i] / o.correction2) + 1e-8);
          }
        }
        check_close(w, want, dtype == f32 ? 1e-5 : 1e-11);
        check_close(m, first, dtype == f32 ? 1e-6 : 1e-12),
            check_close(v, second, dtype == f32 ? 1e-6 : 1e-12);
      }
    }
  }
  TEST_CASE("R128 sum of squares that overflow f32") {
    const Array a = Array::full({100000}, 1e20, f32), b = Array::full({3}, 2, f64),
                none = Array::empty({0}, f32);
    const View views[] = {a.view(), b.view(), none.view()};
    const Array sum = Array::full({}, 1, f64);
    REQUIRE(kernels().sum_of_squares(sum.view(), views));
    CHECK(close(sum.at({}), 1e45 + 12, 1e-6));
    REQUIRE(kernels().sum_of_squares(sum.view(), {}));
    CHECK(sum.at({}) == 0);
  }
  TEST_CASE("R34 subnormals and NaN are alive in the kernels") {
    const Array x = Array::from(std::vector<float>{1e-40f, NAN, -1e-40f}, {3}), y = Array::empty({3}, f32);
    kernels().binary_scalar(Binary::mul, y.view(), x.view(), 1, false);
    CHECK((y.data<float>()[0] == 1e-40f && std::isnan(y.data<float>()[1]) && y.data<float>()[2] != 0));
    const Array nan = Array::empty({3}, boolean), finite = Array::empty({3}, boolean);
    kernels().unary(Unary::is_nan, nan.view(), x.view(), 0, 0);
    kernels().unary(Unary::is_finite, finite.view(), x.view(), 0, 0);
    CHECK((nan.at({1}) == 1 && nan.at({0}) == 0 && finite.at({1}) == 0 && finite.at({2}) == 1));
  }
}

}  // namespace
}  // namespace norma::tests
