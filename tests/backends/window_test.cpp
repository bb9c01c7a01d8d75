// unfold and fold: the cpu backend against the reference backend on random windows, adjointness, threads.
#include "tests/backends/arrays.h"
#include "tests/backends/required_checks.h"
#include "tests/threads.h"

namespace norma::tests {
namespace {

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
    check_windows(cpu);
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
