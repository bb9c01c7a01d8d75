// logsumexp, amax and cross-entropy of rows, short and long, by their kernels and by their definitions.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/autograd/both_ways.h"

using namespace norma;
using namespace norma::tests;

namespace {

/// Few different values, so that there are equals; row 0 may get an odd one, at `place`.
Tensor few_values(const Shape& shape, DType dtype, double odd = 0, std::int64_t place = -1) {
  Generator generator(static_cast<std::uint64_t>(shape.numel()));
  Values all = floor(randn(shape, f64, cpu, &generator) * 3).to_vector<double>();
  if (place >= 0) all[static_cast<std::size_t>(place)] = odd;
  return tensor(all, shape).to(dtype);
}

}  // namespace

TEST_SUITE_BEGIN("op values");

TEST_CASE("logsumexp and extremes of rows of many lengths equal their definitions") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : {Shape{5, 1}, Shape{1, 7}, Shape{3, 5, 17}, Shape{33, 128}, Shape{20, 300},
                               Shape{2, 40000}, Shape{1, 70000}}) {
      const Tensor x = few_values(shape, dtype);
      check_both_ways([](const Tensor& t) { return t.logsumexp(-1); }, x);
      check_both_ways([](const Tensor& t) { return t.amax(-1); }, x);
      check_both_ways([](const Tensor& t) { return t.amax(-1, keepdim); }, x.transpose(0, -1));
      check_both_ways([](const Tensor& t) { return t.min(); }, x);
      check_both_ways([](const Tensor& t) { return t.logsumexp(0); }, x);
    }
    const Tensor x = few_values({3, 4, 6}, dtype);
    check_both_ways([](const Tensor& t) { return t.logsumexp({1, 2}); }, x);
    check_both_ways([](const Tensor& t) { return t.amax({0, 2}); }, x);
  }
}

TEST_CASE("logsumexp and amax of rows with NaN and infinities equal their definitions") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const DType dtype : {f32, f64}) {
    for (const std::int64_t d : {1, 3, 17, 200}) {
      for (const double odd : {std::nan(""), infinity, -infinity}) {
        const Tensor one = few_values({18, d}, dtype, odd, d - 1);
        const Tensor all = cat({one, full({2, d}, odd, dtype), full({1, d}, 1e30, dtype)}, 0);
        check_both_ways([](const Tensor& t) { return t.logsumexp(-1); }, all);
        check_both_ways([](const Tensor& t) { return t.amax(-1); }, all);
      }
      check_both_ways([](const Tensor& t) { return t.logsumexp(-1); },
                      cat({full({2, d}, -infinity, dtype), full({2, d}, std::nan(""), dtype)}, 1));
      check_both_ways([](const Tensor& t) { return t.logsumexp(-1); },
                      cat({full({2, d}, infinity, dtype), full({2, d}, std::nan(""), dtype)}, 1));
    }
  }
}

TEST_CASE("cross-entropy with few classes equals its definition") {
  for (const DType dtype : {f32, f64}) {
    for (const std::int64_t classes : {1, 2, 10, 17, 100, 200}) {
      for (const double smoothing : {0.0, 0.1}) {
        const Tensor x = few_values({21, classes}, dtype);
        Tensor targets = arange(0, 21, 1, i64);
        targets = targets.masked_fill(targets >= static_cast<double>(classes), 0);
        const CrossEntropyOptions options{
            .ignore_index = 0, .label_smoothing = smoothing, .reduction = Reduction::none};
        check_both_ways([&](const Tensor& t) { return cross_entropy(t, targets, options); }, x);
      }
    }
  }
}

TEST_SUITE_END();
