// Products with few rows or columns (backends/cpu/gemm/thin_product.h) against plain loops.
#include "backends/cpu/gemm/thin_product.h"

#include <array>

#include "tests/backends/arrays.h"
#include "tests/threads.h"

namespace norma::tests {
namespace {

using Sizes = std::array<std::int64_t, 3>;  // m, n, k

constexpr std::int64_t gap = 3;  // values behind each row

/// A product with operands in rows longer than they need to be.
template <class T>
class Case {
 public:
  Case(const Sizes& sizes, int flags, double alpha, double beta, bool with_row)
      : sizes_(sizes), a_transposed_(flags & 1), b_transposed_(flags & 2), alpha_(alpha), beta_(beta) {
    const auto [m, n, k] = sizes;
    a_ = make(a_transposed_ ? k : m, a_transposed_ ? m : k, 1);
    b_ = make(b_transposed_ ? n : k, b_transposed_ ? k : n, 2);
    c_ = make(m, n, 3);
    if (with_row) row_ = make(1, n, 4);
  }

  Array result() const {
    const auto [m, n, k] = sizes_;
    const Array got = c_.clone();
    thin_product<T>({{m, n, k},
                     static_cast<T>(alpha_),
                     {a_.template data<T>(), a_.shape()[1], a_transposed_},
                     {b_.template data<T>(), b_.shape()[1], b_transposed_},
                     static_cast<T>(beta_),
                     {got.data<T>(), n + gap},
                     row_.defined() ? row_.template data<T>() : nullptr});
    return got;
  }

  void check(double tolerance) const {
    CAPTURE(sizes_[0]);
    CAPTURE(sizes_[1]);
    CAPTURE(sizes_[2]);
    CAPTURE(alpha_);
    CAPTURE(beta_);
    const auto [m, n, k] = sizes_;
    const Array got = result();
    const Elements c = elements(got), c_before = elements(c_);
    const Elements a = elements(a_, a_transposed_), b = elements(b_, b_transposed_);
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n + gap; ++j) {
        const double found = c(i, j), before = c_before(i, j);
        if (j >= n) {
          REQUIRE(found == before);
          continue;
        }
        double sum = 0, size = 0;
        for (std::int64_t p = 0; p < k; ++p) {
          const double term = a(i, p) * b(p, j);
          sum += term, size += std::abs(term);
        }
        const double added = beta_ == 0 ? 0 : beta_ * (row_.defined() ? row_.data<T>()[j] : before);
        REQUIRE(std::abs(found - (alpha_ * sum + added)) <=
                tolerance * (std::abs(alpha_) * size + std::abs(added)));
      }
    }
  }

 private:
  static Array make(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
    return normal({rows, columns + gap}, sizeof(T) == 4 ? f32 : f64, seed);
  }
  /// A matrix in f64; its array is asked only once where it lies.
  struct Elements {
    const T* data;
    std::int64_t row, column;
    double operator()(std::int64_t i, std::int64_t j) const { return data[i * row + j * column]; }
  };
  static Elements elements(const Array& x, bool transposed = false) {
    const std::int64_t width = x.shape()[1];
    return {x.data<T>(), transposed ? 1 : width, transposed ? width : 1};
  }

  Sizes sizes_;
  bool a_transposed_, b_transposed_;
  double alpha_, beta_;
  Array a_, b_, c_, row_;
};

template <class T>
void check_all(double tolerance) {
  for (std::int64_t rows = 1; rows <= 9; ++rows) {
    for (const auto& [columns, k] :
         {std::pair<std::int64_t, std::int64_t>{10, 1}, {16, 15}, {33, 16}, {65, 37}, {300, 130}}) {
      for (int flags = 0; flags < 4; ++flags) {
        for (const bool few_columns : {false, true}) {
          const Sizes sizes = few_columns ? Sizes{columns, rows, k} : Sizes{rows, columns, k};
          Case<T>(sizes, flags, 1, 0, false).check(tolerance);
          Case<T>(sizes, flags, -0.5, 0.25, false).check(tolerance);
          Case<T>(sizes, flags, 1, 1, true).check(tolerance);
        }
      }
    }
  }
}

TEST_SUITE("kernels thin products") {
  TEST_CASE("every number of rows and of columns, transpose, alpha, beta and row") {
    check_all<float>(1e-6);
    check_all<double>(2e-15);
  }
  TEST_CASE("many steps of k: chains of additions stay short") {
    for (int flags = 0; flags < 4; ++flags) {
      Case<float>({1, 20, 40000}, flags, 1, 0, false).check(3e-7);
      Case<float>({3, 20, 40000}, flags, 1, 0, false).check(3e-7);
    }
  }
  TEST_CASE("beta = 0 never reads c, and what is not finite stays in its row and column") {
    for (int flags = 0; flags < 2; ++flags) {
      const Array a = normal({2, 200}, f32, 1), b = normal({200, 200}, f32, 2);
      const Array c = Array::full({2, 200}, std::nan(""), f32);
      b.data<float>()[7 * 200 + 5] = INFINITY;
      thin_product<float>({{2, 200, 200},
                           1,
                           {a.data<float>(), 200},
                           {b.data<float>(), 200, flags == 1},
                           0,
                           {c.data<float>(), 200}});
      const std::int64_t column = flags == 1 ? 7 : 5;
      for (std::int64_t i = 0; i < c.numel(); ++i)
        REQUIRE(std::isfinite(c.data<float>()[i]) == (i % 200 != column));
    }
  }
  TEST_CASE("R95 the same bits for any number of threads") {
    for (int flags = 0; flags < 4; ++flags) {
      for (const Sizes& sizes : {Sizes{1, 3000, 500}, {700, 1, 900}, {5, 1000, 400}}) {
        const Case<float> one(sizes, flags, 1, 1, false);
        const Array alone = [&] { return Threads(1), one.result(); }();
        for (int threads = 2; threads <= 4; ++threads) {
          const Threads use(threads);
          CHECK(same_bits(one.result(), alone));
        }
      }
    }
  }
}

}  // namespace
}  // namespace norma::tests
