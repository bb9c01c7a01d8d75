// Softmax of short rows, which are computed in company, against plain double loops.
#include <doctest/doctest.h>

#include "tests/backends/arrays.h"

namespace norma::tests {
namespace {

using Values = std::vector<double>;

constexpr std::int64_t lengths[] = {1, 2, 3, 4, 7, 10, 16, 17, 31, 64, 100, 127, 128, 129};

/// y of x, or, with dy, dx of y.
Values plain(const Array& array, bool log) {
  Values all = values(array);
  const std::int64_t d = array.shape()[1];
  for (auto row = all.begin(); row != all.end(); row += d) {
    const double top = *std::max_element(row, row + d);
    double sum = 0;
    for (auto x = row; x != row + d; ++x) sum += std::exp(*x - top);
    for (auto x = row; x != row + d; ++x) *x = log ? *x - top - std::log(sum) : std::exp(*x - top) / sum;
  }
  return all;
}
Values plain_backward(const Array& y_array, const Array& dy_array, bool log) {
  const Values y = values(y_array);
  Values dx = values(dy_array);
  const auto d = static_cast<std::size_t>(y_array.shape()[1]);
  for (std::size_t first = 0; first < y.size(); first += d) {
    double sum = 0;
    for (std::size_t i = first; i < first + d; ++i) sum += log ? dx[i] : y[i] * dx[i];
    for (std::size_t i = first; i < first + d; ++i)
      dx[i] = log ? dx[i] - std::exp(y[i]) * sum : y[i] * (dx[i] - sum);
  }
  return dx;
}

}  // namespace

TEST_SUITE("kernels of rows") {
  TEST_CASE("softmax of rows of many lengths, in any number, and its gradient") {
    for (const DType dtype : {f32, f64}) {
      const double tolerance = dtype == f32 ? 5e-7 : 1e-15;
      for (const std::int64_t d : lengths) {
        for (const std::int64_t rows : {1, 3, 4, 16, 19, 33}) {
          const Array x = normal({rows, d}, dtype, static_cast<std::uint64_t>(d), 50, 3);
          const Array dy = normal({rows, d}, dtype, 2);
          for (const bool log : {false, true}) {
            const Array y = softmax(x, log);
            check_close(y, plain(x, log), tolerance, log ? 10 : 1);
            check_close(softmax_backward(y, dy, log), plain_backward(y, dy, log), tolerance, log ? 20 : 1);
          }
        }
      }
    }
  }
  TEST_CASE("gradients of log_softmax that are very small keep their digits") {
    const Array y = softmax(normal({5, 9}, f32, 1), true), dy = normal({5, 9}, f32, 2, 0, 1e-25);
    check_close(softmax_backward(y, dy, true), plain_backward(y, dy, true), 1e-6, 1e-25);
  }
  TEST_CASE("the bits of softmax of a row do not depend on its place, nor on its company") {
    for (const std::int64_t d : lengths) {
      const Array x = normal({21, d}, f32, 5), dy = normal({21, d}, f32, 6);
      for (const bool log : {false, true}) {
        const Array y = softmax(x, log), dx = softmax_backward(y, dy, log);
        for (std::int64_t r = 0; r < 21; r += 4) {
          const auto row = [r](const Array& a) { return a.slice(0, {r, r + 1}); };
          CHECK(same_bits(softmax(row(x), log), row(y)));
          CHECK(same_bits(softmax_backward(row(y), row(dy), log), row(dx)));
        }
      }
    }
  }
  TEST_CASE("a row with -inf, NaN or +inf does not touch its neighbours") {
    for (const std::int64_t d : {3, 17, 64}) {
      Values all = values(normal({18, d}, f64, 7));
      const Values plain_ones = values(softmax(Array::from(all, {18, d}).to(f32), false));
      for (const double odd : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
        Values some = all;
        some[static_cast<std::size_t>(2 * d)] = some[static_cast<std::size_t>(17 * d + 1)] = odd;
        const Values y = values(softmax(Array::from(some, {18, d}).to(f32), false));
        for (std::size_t i = 0; i < y.size(); ++i) {
          const bool is_odd = i / static_cast<std::size_t>(d) % 15 == 2;
          if (!is_odd) CHECK(y[i] == plain_ones[i]);
          if (is_odd) CHECK(std::isnan(y[i]) == (odd != -HUGE_VAL));
        }
      }
    }
  }
}

}  // namespace norma::tests
