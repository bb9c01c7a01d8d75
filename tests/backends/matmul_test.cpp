// matmul of the cpu backend: layouts, batches, extremes.
#include <cblas.h>

#include "tests/backends/arrays.h"
#include "tests/backends/on_device.h"
#include "tests/backends/required_checks.h"
#include "tests/messages.h"

namespace norma::tests {
namespace {

/// c += a b for f32 matrices of any strides.
void plain_product(const View& c, const View& a, const View& b) {
  const auto place = [](const View& x, std::int64_t i, std::int64_t j) {
    return pointer<float>(x) + i * x.strides[0] + j * x.strides[1];
  };
  for (std::int64_t i = 0; i < c.shape[0]; ++i) {
    for (std::int64_t j = 0; j < c.shape[1]; ++j) {
      double sum = static_cast<double>(*place(c, i, j));
      for (std::int64_t l = 0; l < a.shape[1]; ++l) {
        sum += static_cast<double>(*place(a, i, l)) * static_cast<double>(*place(b, l, j));
      }
      *place(c, i, j) = static_cast<float>(sum);
    }
  }
}

TEST_SUITE("kernels matmul") {
  TEST_CASE("R91 any strides: transposed, sliced, zero, negative, batches with gaps") { check_products(cpu); }
  TEST_CASE("contiguous and transposed operands at sizes that are cut into tiles") {
    Maker make(2);
    for (const auto& [m, n, k] :
         {std::array<std::int64_t, 3>{300, 200, 100}, {1, 700, 900}, {700, 1, 900}, {130, 513, 257}}) {
      for (int flags = 0; flags < 8; ++flags) {
        const auto matrix = [&](std::int64_t rows, std::int64_t columns, bool transposed) {
          Operand x = make.contiguous(transposed ? Extents{columns, rows} : Extents{rows, columns}, f32);
          if (transposed)
            std::swap(x.view.shape[0], x.view.shape[1]), std::swap(x.view.strides[0], x.view.strides[1]);
          return x;
        };
        const Operand a = matrix(m, k, flags & 1), b = matrix(k, n, flags & 2), c = matrix(m, n, flags & 4);
        const Operand got = Maker::twin(c), want = Maker::twin(c);
        backend(cpu).matmul(got.view, a.view, b.view, 1, 1);
        plain_product(want.view, a.view, b.view);
        check_close(got.view, want.view, 1e-5, 20);
      }
    }
  }
  TEST_CASE("a batch over one weight matrix") {
    Maker make(3);
    const Operand x = make.contiguous({5, 7, 11}, f64), y = make.contiguous({5, 7, 3}, f64);
    Operand weight = make.contiguous({1, 11, 3}, f64);
    weight.view.shape[0] = 5, weight.view.strides[0] = 0;
    compare_with_reference(cpu, y, 2e-10, [&](On& on, View c) { on->matmul(c, on(x), on(weight), 1, 0); });
  }
  TEST_CASE("beta = 0 never reads c") {
    for (const std::int64_t size : {3, 60, 300}) {
      const Array a = normal({size, size}, f32, 1), b = normal({size, size}, f32, 2);
      const Array c = Array::full({size, size}, std::nan(""), f32);
      backend(cpu).matmul(c.view(), a.view(), b.view(), 1, 0);
      CHECK(all_finite(c));
    }
  }
  TEST_CASE("NaN and infinity go through") {
    const Array a = Array::ones({4, 4}, f32), b = Array::ones({4, 4}, f32), c = Array::empty({4, 4}, f32);
    a.data<float>()[5] = NAN;
    b.data<float>()[2] = INFINITY;
    backend(cpu).matmul(c.view(), a.view(), b.view(), 1, 0);
    CHECK((std::isnan(c.at({1, 0})) && std::isnan(c.at({1, 2}))));
    CHECK((c.at({0, 2}) == INFINITY && c.at({0, 0}) == 4));
  }
  TEST_CASE("R86 extents beyond what BLAS takes throw by name") {
    float cell = 0;
    const auto matrix = [&](std::int64_t rows, std::int64_t columns) {
      View view{&cell, f32, 2, {rows, columns}, {0, 0}};
      return view;
    };
    const std::int64_t big = std::int64_t{1} << 31;
    Backend& b = backend(cpu);
    CHECK_THROWS_MESSAGE_HAS(b.matmul(matrix(big, 1), matrix(big, 1), matrix(1, 1), 1, 0), "m = 2147483648");
    CHECK_THROWS_MESSAGE_HAS(b.matmul(matrix(1, big), matrix(1, 1), matrix(1, big), 1, 0), "n = 2147483648");
    CHECK_THROWS_MESSAGE_HAS(b.matmul(matrix(1, 1), matrix(1, big), matrix(big, 1), 1, 0), "k = 2147483648");
  }
  TEST_CASE("R90 empty extents: nothing, or beta * c") {
    for (const Device device : {cpu, reference}) {
      Backend& b = backend(device);
      const auto empty = [&](std::int64_t rows, std::int64_t columns) {
        return Array::empty({rows, columns}, f32);
      };
      b.matmul(empty(0, 2).view(), empty(0, 3).view(), empty(3, 2).view(), 1, 0);
      const Array c = Array::full({2, 3}, 5, f32);
      b.matmul(c.view(), empty(2, 0).view(), empty(0, 3).view(), 1, 2);
      CHECK(c.at({1, 2}) == 10);
      b.matmul(c.view(), empty(2, 0).view(), empty(0, 3).view(), 1, 0);
      CHECK(c.at({1, 2}) == 0);
    }
  }
  TEST_CASE("integers have no product") {
    const Array x = Array::ones({2, 2}, i64);
    CHECK_THROWS_MESSAGE_HAS(backend(cpu).matmul(x.view(), x.view(), x.view(), 1, 0),
                             "matmul: needs a floating dtype, got i64");
  }
  TEST_CASE("R101 OpenBLAS is the OpenMP or the serial build") { CHECK(openblas_get_parallel() != 1); }
}

}  // namespace
}  // namespace norma::tests
