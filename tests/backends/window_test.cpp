// unfold and fold: the cpu backend against the reference backend on random windows, adjointness, threads.
#include "tests/backends/arrays.h"
#include "tests/threads.h"

namespace norma::tests {
namespace {

struct Case {
  Shape x, columns;
  Window window;
};

/// A window that fits, of any kernel, stride, padding and dilation; also places that lie in padding alone.
Case draw(Maker& make) {
  for (;;) {
    Case found;
    std::int64_t extent[2];
    for (int axis = 0; axis < 2; ++axis) {
      extent[axis] = 1 + make.below(9);
      found.window.kernel[axis] = 1 + make.below(4);
      found.window.stride[axis] = 1 + make.below(4);
      found.window.padding[axis] = make.below(5);
      found.window.dilation[axis] = 1 + make.below(3);
    }
    const std::int64_t rows = found.window.places(0, extent[0]), columns = found.window.places(1, extent[1]);
    if (rows < 1 || columns < 1) continue;
    const std::int64_t n = make.below(4), c = 1 + make.below(3);
    found.x = {n, c, extent[0], extent[1]};
    found.columns = {n, c * found.window.kernel[0] * found.window.kernel[1], rows * columns};
    return found;
  }
}

TEST_SUITE("kernels windows") {
  TEST_CASE("places of a window") {
    const Window window{.kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 4}};
    CHECK(window.places(0, 5) == 3);
    CHECK(window.places(1, 5) == 1);
    CHECK(window.places(1, 4) == 0);
    CHECK(window.places(1, 7) == 3);
  }
  TEST_CASE("unfold of a 2 x 3 image by hand") {
    const Array x = Array::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {1, 1, 2, 3});
    const Window window{.kernel = {2, 2}, .stride = {1, 2}, .padding = {0, 1}};
    const Array columns = Array::empty({1, 4, 2}, f64);
    backend(cpu).unfold(columns.view(), x.view(), window);
    check_close(columns, {0, 2, 1, 3, 0, 5, 4, 6}, 0);
    const Array sums = Array::empty({1, 1, 2, 3}, f64);
    backend(cpu).fold(sums.view(), Array::ones({1, 4, 2}, f64).view(), window);
    check_close(sums, {1, 1, 1, 1, 1, 1}, 0);
  }
  TEST_CASE("cpu and reference agree on random windows, and fold is the adjoint of unfold") {
    Maker make(11);
    for (int round = 0; round < 400; ++round) {
      const Case one = draw(make);
      for (const DType dtype : {f32, f64}) {
        CAPTURE(round);
        const Array x = normal(one.x, dtype, 1), dy = normal(one.columns, dtype, 2);
        const Array got = Array::full(one.columns, 7, dtype), want = Array::full(one.columns, 8, dtype);
        backend(cpu).unfold(got.view(), x.view(), one.window);
        backend(reference).unfold(want.view(), x.view(), one.window);
        REQUIRE(same_bits(got, want));
        const Array sum = Array::full(one.x, 7, dtype), plain = Array::full(one.x, 8, dtype);
        backend(cpu).fold(sum.view(), dy.view(), one.window);
        backend(reference).fold(plain.view(), dy.view(), one.window);
        check_close(sum, plain, tolerance_of(dtype));
        if (dtype == f32) continue;
        double left = 0, right = 0;
        const std::vector<double> a = values(got), b = values(dy), c = values(x), d = values(sum);
        for (std::size_t i = 0; i < a.size(); ++i) left += a[i] * b[i];
        for (std::size_t i = 0; i < c.size(); ++i) right += c[i] * d[i];
        CHECK(close(left, right, 1e-12, 10));
      }
    }
  }
  TEST_CASE("R95 unfold and fold on any number of threads") {
    const Window window{.kernel = {3, 3}, .stride = {2, 1}, .padding = {1, 1}};
    const Array x = normal({8, 16, 33, 30}, f32, 1), dy = normal({8, 16 * 9, 17 * 30}, f32, 2);
    const auto run = [&] {
      const Array columns = Array::empty(dy.shape(), f32), dx = Array::empty(x.shape(), f32);
      backend(cpu).unfold(columns.view(), x.view(), window);
      backend(cpu).fold(dx.view(), dy.view(), window);
      return std::pair(columns, dx);
    };
    const Threads restore(1);
    const auto want = run();
    for (const int threads : {2, 3, 4}) {
      set_num_threads(threads);
      const auto got = run();
      CHECK((same_bits(got.first, want.first) && same_bits(got.second, want.second)));
    }
  }
}

}  // namespace
}  // namespace norma::tests
