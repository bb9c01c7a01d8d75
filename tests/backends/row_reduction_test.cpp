// Reductions of rows of every length, one at a time and in company; softmax along columns against rows.
#include <doctest/doctest.h>

#include "tests/backends/arrays.h"

namespace norma::tests {
namespace {

constexpr std::int64_t lengths[] = {2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 100, 255, 256, 257, 1000};

Array reduced(Reduce op, const Array& x, Device device = cpu) {
  const Array y = Array::empty({x.shape()[0], 1}, x.dtype());
  backend(device).reduce(op, y.view(), x.view());
  return y;
}

Array places(ArgReduce op, const Array& x, Device device = cpu) {
  const Array y = Array::empty({x.shape()[0], 1}, i64);
  backend(device).arg_reduce(op, y.view(), x.view(), 1);
  return y;
}

/// tolerance: of sums, relative to the scale of a row's values.
void check_against_reference(const Array& x, double tolerance, double scale) {
  for (const Reduce op : {Reduce::sum, Reduce::max, Reduce::min}) {
    const bool exact = op != Reduce::sum || x.dtype() == i64;
    check_close(reduced(op, x), reduced(op, x, Device::reference), exact ? 0 : tolerance,
                scale * static_cast<double>(x.shape()[1]));
  }
  for (const ArgReduce op : {ArgReduce::argmax, ArgReduce::argmin})
    check_close(places(op, x), places(op, x, Device::reference), 0);
}

/// [outer, d, inner] as rows of d, and back.
Array as_rows(const Array& x) {
  return x.transpose(1, 2).contiguous().reshape({x.shape()[0] * x.shape()[2], x.shape()[1]});
}
Array as_columns(const Array& rows, const Shape& shape) {
  return rows.reshape({shape[0], shape[2], shape[1]}).transpose(1, 2).contiguous();
}

}  // namespace

TEST_SUITE("kernels of rows") {
  TEST_CASE("sums, extremes and their places, of rows of many lengths") {
    for (const DType dtype : {f32, f64, i64}) {
      for (const std::int64_t d : lengths) {
        for (const std::int64_t rows : {1, 3, 4, 6}) {
          const Array x = normal({rows, d}, f64, static_cast<std::uint64_t>(d), 10, 100).to(dtype);
          check_against_reference(x, dtype == f32 ? 2e-7 : 1e-15, 100);
          check_against_reference(Array::full({rows, d}, -3, dtype), 0, 0);
        }
      }
    }
  }
  TEST_CASE("an infinity or a NaN anywhere in a row") {
    for (const DType dtype : {f32, f64}) {
      for (const std::int64_t d : {5, 17, 32, 300}) {
        for (const double odd : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
          for (std::int64_t place = 0; place < d; ++place) {
            std::vector<double> all = values(normal({2, d}, f64, 3));
            all[static_cast<std::size_t>(place)] = all[static_cast<std::size_t>(d + place / 2)] = odd;
            check_against_reference(Array::from(all, {2, d}).to(dtype), 2e-7, 1);
          }
          check_against_reference(Array::full({3, d}, odd, dtype), 0, 0);
        }
      }
    }
  }
  TEST_CASE("the bits of a row do not depend on its place") {
    for (const std::int64_t d : lengths) {
      const Array x = normal({7, d}, f32, 5), all = reduced(Reduce::sum, x);
      for (std::int64_t r = 0; r < 7; ++r)
        CHECK(same_bits(reduced(Reduce::sum, x.slice(0, {r, r + 1})), all.slice(0, {r, r + 1})));
    }
  }
  TEST_CASE("softmax along columns equals softmax along rows, backward as well") {
    for (const DType dtype : {f32, f64}) {
      const double tolerance = dtype == f32 ? 2e-6 : 1e-13;
      for (const Shape& shape : {Shape{1, 5, 64}, Shape{3, 33, 50}, Shape{1, 3000, 70}, Shape{4, 1, 16}}) {
        std::vector<double> all = values(normal(shape, f64, 1, 0, 3));
        all[3] = -HUGE_VAL;
        if (shape[1] > 1) all[static_cast<std::size_t>(shape[2]) + 5] = std::nan("");
        const Array x = Array::from(all, shape).to(dtype), dy = normal(shape, dtype, 2);
        for (const bool log : {false, true}) {
          const Array y = softmax(x, log);
          check_close(y, as_columns(softmax(as_rows(x), log), shape), tolerance, 10);
          const Array by_rows = softmax_backward(as_rows(y), as_rows(dy), log);
          check_close(softmax_backward(y, dy, log), as_columns(by_rows, shape), tolerance, 100);
        }
      }
    }
  }
}

}  // namespace norma::tests
