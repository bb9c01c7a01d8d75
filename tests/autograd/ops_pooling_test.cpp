// Pools by their kernels and by their definitions, on shapes, windows and values of all kinds.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/convolution.h"
#include "autograd/gradcheck.h"
#include "tests/autograd/both_ways.h"
#include "tests/threads.h"

using namespace norma;
using namespace norma::tests;

namespace {

/// Few different values, so that there are ties; every `every`-th is `odd`.
Tensor few_values(const Shape& shape, DType dtype, double odd = 0, std::size_t every = 0) {
  Generator generator(static_cast<std::uint64_t>(shape.numel()));
  Values all = floor(randn(shape, f64, cpu, &generator) * 2).to_vector<double>();
  for (std::size_t i = every / 2; every > 0 && i < all.size(); i += every) all[i] = odd;
  return tensor(all, shape).to(dtype);
}

/// All pools of planes [.., h, w] with this window, where it fits.
void check_pools(const Tensor& x, Size2d kernel, Size2d stride, Size2d padding, Size2d dilation,
                 bool ceil_mode) {
  const auto fits = [&](std::int64_t extent, std::int64_t k, std::int64_t pad, std::int64_t dil) {
    return 2 * pad <= k && dil * (k - 1) + 1 <= extent + 2 * pad;
  };
  const auto fits_dilated = [&](Size2d d) {
    return fits(x.size(-2), kernel.height, padding.height, d.height) &&
           fits(x.size(-1), kernel.width, padding.width, d.width);
  };
  if (fits_dilated(dilation)) {
    check_both_ways(
        [&](const Tensor& t) {
          return max_pool2d(
              t, kernel,
              {.stride = stride, .padding = padding, .dilation = dilation, .ceil_mode = ceil_mode});
        },
        x);
  }
  if (!fits_dilated(1)) return;
  for (const bool counted : {true, false}) {
    check_both_ways(
        [&](const Tensor& t) {
          return avg_pool2d(
              t, kernel,
              {.stride = stride, .padding = padding, .ceil_mode = ceil_mode, .count_include_pad = counted});
        },
        x);
  }
}

const std::vector<Shape> shapes{{2, 3, 7, 9},  {1, 2, 1, 40},  {3, 1, 35, 1}, {1, 1, 1, 1},
                                {2, 2, 6, 28}, {1, 3, 33, 65}, {0, 2, 7, 9},  {2, 0, 7, 9}};

}  // namespace

TEST_SUITE_BEGIN("pooling");

TEST_CASE("pools of windows that slide equal their definitions") {
  for (const DType dtype : {f32, f64})
    for (const Shape& shape : shapes)
      for (const Size2d kernel : {Size2d(1), Size2d(2), Size2d(3, 5), Size2d(4, 1)})
        for (const Size2d stride : {Size2d(0), Size2d(1), Size2d(2), Size2d(1, 4)})
          for (const Size2d padding : {Size2d(0), Size2d(1), Size2d(0, 2)})
            for (const bool ceil_mode : {false, true})
              check_pools(few_values(shape, dtype), kernel, stride, padding, {1, 2}, ceil_mode);
}

TEST_CASE("pools of NaN and infinities equal their definitions, also where the window sees nothing else") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const DType dtype : {f32, f64})
    for (const double odd : {std::nan(""), infinity, -infinity})
      for (const std::size_t every : {1u, 2u, 7u})
        for (const Shape& shape : {Shape{1, 2, 6, 37}, Shape{2, 1, 1, 5}, Shape{1, 1, 2, 2}}) {
          const Tensor x = few_values(shape, dtype, odd, every);
          for (const Size2d kernel : {Size2d(2), Size2d(1, 3)})
            for (const Size2d stride : {Size2d(1), Size2d(2), Size2d(1, 3)})
              for (const Size2d padding : {Size2d(0), Size2d(0, 1)})
                check_pools(x, kernel, stride, padding, {2, 3}, true);
          for (const std::int64_t bins : {1, 2, 5}) {
            check_both_ways([&](const Tensor& t) { return adaptive_max_pool2d(t, bins); }, x);
            check_both_ways([&](const Tensor& t) { return adaptive_avg_pool2d(t, bins); }, x);
          }
        }
}

TEST_CASE("adaptive pools equal their definitions") {
  for (const DType dtype : {f32, f64})
    for (const Shape& shape : shapes)
      for (const Size2d bins : {Size2d(1), Size2d(7), Size2d(3, 2), Size2d(5, 14), Size2d(40)}) {
        const Tensor x = few_values(shape, dtype);
        check_both_ways([&](const Tensor& t) { return adaptive_max_pool2d(t, bins); }, x);
        check_both_ways([&](const Tensor& t) { return adaptive_avg_pool2d(t, bins); }, x);
      }
}

TEST_CASE("pools of one axis, without a batch, transposed") {
  const Tensor x = few_values({2, 3, 50}, f64);
  check_both_ways([](const Tensor& t) { return max_pool1d(t, 3, {.stride = 2, .padding = 1}); }, x);
  check_both_ways([](const Tensor& t) { return avg_pool1d(t[0], 4, {.padding = 2}); }, x);
  check_both_ways([](const Tensor& t) { return adaptive_max_pool1d(t.transpose(1, 2), 2); }, x);
  check_both_ways([](const Tensor& t) { return adaptive_avg_pool1d(t, 7); }, x);
}

TEST_CASE("means of long windows keep their digits") {
  const Tensor x = randn({1, 2, 3, 20000}, f64) + 1e4;
  for (const Size2d kernel : {Size2d(1, 20000), Size2d(3, 5000)}) {
    const Tensor want = avg_pool2d(x, kernel), y = avg_pool2d(x.to(f32), kernel);
    CHECK((y.to(f64) - want).abs().max().item() < 1e-3);
  }
  const Tensor bins = adaptive_avg_pool2d(x.to(f32), {1, 2}), want = adaptive_avg_pool2d(x, {1, 2});
  CHECK((bins.to(f64) - want).abs().max().item() < 1e-3);
}

TEST_CASE("derivatives of pools to the second order") {
  Generator generator(3);
  const Tensor x = randn({1, 2, 5, 6}, f64, cpu, &generator).set_requires_grad();
  const auto check = [&](const Op& op) {
    // cubed, so that the second derivative is not 0
    const auto cubed = [&](const std::vector<Tensor>& in) {
      const Tensor y = op(in[0]);
      return y * y * y;
    };
    CHECK(gradcheck(cubed, {x}));
    CHECK(gradgradcheck(cubed, {x}));
  };
  check([](const Tensor& t) { return max_pool2d(t, 3, {.stride = 2, .padding = 1}); });
  check([](const Tensor& t) { return avg_pool2d(t, 3, {.stride = 1, .padding = 1, .ceil_mode = true}); });
  check([](const Tensor& t) { return adaptive_max_pool2d(t, {2, 4}); });
  check([](const Tensor& t) { return adaptive_avg_pool2d(t, {3, 4}); });
}

TEST_CASE("R95 pools on any number of threads: the same bits") {
  const Threads restore(1);
  Generator generator(1);
  const Tensor x = randn({8, 16, 33, 30}, f32, cpu, &generator);
  const auto run = [&] {
    Values all;
    for (const Op& op :
         std::vector<Op>{[](const Tensor& t) { return max_pool2d(t, 3, {.stride = 2, .padding = 1}); },
                         [](const Tensor& t) { return avg_pool2d(t, 3, {.stride = 1, .padding = 1}); },
                         [](const Tensor& t) { return adaptive_avg_pool2d(t, 7); }}) {
      for (const double value : value_and_gradient(op, x)) all.push_back(value);
    }
    return all;
  };
  const Values want = run();
  for (const int threads : {2, 3, 4}) {
    set_num_threads(threads);
    CHECK(run() == want);
  }
}

TEST_SUITE_END();
