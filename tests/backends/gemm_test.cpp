// Packed f32 products of the cpu backend (backends/cpu/gemm/) against plain double loops.
#include "backends/cpu/gemm/packed_product.h"

#include <array>
#include <tuple>

#include "backends/cpu/gemm/panel_product.h"
#include "core/parallel.h"
#include "tests/backends/arrays.h"
#include "tests/threads.h"

namespace norma::tests {
namespace {

using Sizes = std::array<std::int64_t, 3>;  // m, n, k

/// All kernels that this processor runs.
std::vector<const GemmKernels*> all_kernels() {
  std::vector<const GemmKernels*> all;
#if defined(__x86_64__)
  const GemmKernels* const chosen = gemm_kernels();  // may pack where others do not
  if (chosen != nullptr && chosen->rows == avx512_gemm.rows) all.push_back(&avx512_gemm);
  if (chosen != nullptr && chosen != &avx512_gemm && chosen != &avx2_gemm) all.push_back(chosen);
  if (gemm_kernels() != nullptr) all.push_back(&avx2_gemm);
#endif
  return all;
}

/// Operands of a product, in rows longer than they need to be.
class Case {
 public:
  Case(const Sizes& sizes, bool a_transposed, bool b_transposed, float alpha, float beta)
      : sizes_(sizes), alpha_(alpha), beta_(beta) {
    const auto [m, n, k] = sizes;
    a = matrix(a_transposed ? k : m, (a_transposed ? m : k) + 3, 1);
    b = matrix(b_transposed ? n : k, (b_transposed ? k : n) + 1, 2);
    c = matrix(m, n + 5, 3);
    product_ = {{m, n, k},
                alpha,
                {a.data<float>(), a.shape()[1], a_transposed},
                {b.data<float>(), b.shape()[1], b_transposed},
                beta,
                {nullptr, n + 5, false}};
  }

  /// c after the product; what it held before is kept.
  Array result(const GemmKernels& kernels) const {
    const Array got = c.clone();
    F32Product product = product_;
    product.c.data = got.data<float>();
    packed_product(kernels, product);
    return got;
  }

  /// Element (i, j) by a plain loop, and the sum of its terms' sizes.
  std::pair<double, double> element(std::int64_t i, std::int64_t j) const {
    double sum = 0, size = 0;
    for (std::int64_t p = 0; p < sizes_[2]; ++p) {
      const double x = place(product_.a, i, p), y = place(product_.b, p, j);
      sum += x * y, size += std::abs(x * y);
    }
    const double before = beta_ == 0 ? 0 : beta_ * static_cast<double>(c.data<float>()[i * c.shape()[1] + j]);
    return {alpha_ * sum + before, std::abs(alpha_) * size + std::abs(before)};
  }

  /// The same by panels, a row of tiles at a time; alpha and beta as in c = alpha a b + beta c.
  Array result_by_panels(const GemmKernels& kernels) const {
    const Array got = c.clone();
    const auto [m, n, k] = sizes_;
    const std::int64_t room = panel_values(kernels, product_.b, k, n);
    const Array memory = Array::empty({std::max<std::int64_t>(1, room)}, f32);
    const Panels panels = make_panels(kernels, product_.b, k, n, memory.data<float>());
    for (std::int64_t i = 0; i < m; i += kernels.rows) {
      Matrix<const float> rows = product_.a;
      rows.data += rows.transposed ? i : i * rows.leading;
      multiply_panels(kernels, {{std::min<std::int64_t>(kernels.rows, m - i), n, k},
                                product_.alpha,
                                rows,
                                panels,
                                product_.beta,
                                {got.data<float>() + i * (n + 5), n + 5}});
    }
    return got;
  }

  void check(const Array& got, std::int64_t stride = 1) const {
    const std::int64_t n = sizes_[1];
    CAPTURE(sizes_[0]);
    CAPTURE(n);
    CAPTURE(sizes_[2]);
    CAPTURE(alpha_);
    CAPTURE(beta_);
    const float *found = got.data<float>(), *before = c.data<float>();
    for (std::int64_t flat = 0; flat < got.numel(); flat += stride) {
      const std::int64_t i = flat / got.shape()[1], j = flat % got.shape()[1];
      if (j >= n) {
        REQUIRE(found[flat] == before[flat]);
        continue;
      }
      const auto [want, size] = element(i, j);
      CAPTURE(i);
      CAPTURE(j);
      REQUIRE(std::abs(static_cast<double>(found[flat]) - want) <= 1e-6 * size + 1e-30);
    }
  }

  Array a, b, c;

 private:
  static Array matrix(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
    return normal({rows, columns}, f32, seed);
  }
  static double place(const Matrix<const float>& x, std::int64_t row, std::int64_t column) {
    return static_cast<double>(x.data[x.transposed ? column * x.leading + row : row * x.leading + column]);
  }

  Sizes sizes_;
  double alpha_, beta_;
  F32Product product_;
};

TEST_SUITE("kernels gemm") {
  TEST_CASE("every transpose, alpha and beta, at the edges of tiles") {
    if (all_kernels().empty()) MESSAGE("this processor has neither AVX2 nor AVX-512");
    for (const GemmKernels* kernels : all_kernels()) {
      for (const Sizes& sizes : {Sizes{1, 1, 1},
                                 {5, 5, 5},
                                 {14, 32, 16},
                                 {15, 33, 17},
                                 {6, 16, 8},
                                 {33, 65, 127},
                                 {61, 40, 513},
                                 {1, 40, 700},
                                 {40, 1, 700},
                                 {100, 13, 3},
                                 {3, 200, 7}}) {
        for (int flags = 0; flags < 4; ++flags) {
          for (const auto& [alpha, beta] : {std::pair{1.f, 0.f}, {1.f, 1.f}, {-0.5f, 0.25f}}) {
            const Case one(sizes, flags & 1, flags & 2, alpha, beta);
            one.check(one.result(*kernels));
          }
        }
      }
    }
  }
  // k = 509 and n = 511 give rows of 512 values, k = 4200 and n = 4200 rows longer than a page: not read in
  // place.
  TEST_CASE("products by panels, at the edges of tiles and of chains") {
    for (const GemmKernels* kernels : all_kernels()) {
      for (const std::int64_t m : {1, 13, 29}) {
        for (const std::int64_t n : {1, 15, 16, 31, 32, 33, 64, 100}) {
          for (const std::int64_t k : {0, 1, 17, 384, 385, 800}) {
            for (int variant = 0; variant < 4; ++variant) {
              const Case c({m, n, k}, variant % 2 == 1, variant / 2 == 1, 0.5f, k % 2 == 0 ? 0 : 1);
              c.check(c.result_by_panels(*kernels), 1);
            }
          }
        }
      }
    }
  }
  TEST_CASE("shapes that are read in place, packed, packed in slabs, or cut into parts") {
    for (const GemmKernels* kernels : all_kernels()) {
      for (const Sizes& sizes : {Sizes{20, 3000, 900},
                                 {150, 700, 3000},
                                 {900, 300, 1500},
                                 {1500, 70, 800},
                                 {40, 513, 600},
                                 {70, 512, 512},
                                 {150, 511, 509},
                                 {16, 4200, 40},
                                 {16, 40, 4200},
                                 {3000, 40, 64}}) {
        for (int flags = 0; flags < 4; ++flags) {
          const Case one(sizes, flags & 1, flags & 2, 1, 1);
          one.check(one.result(*kernels), 4999);
        }
      }
    }
  }
  TEST_CASE("AVX2 and AVX-512 give the same bits") {
    if (all_kernels().size() < 2) return;
    for (const Sizes& sizes : {Sizes{200, 100, 1000}, {33, 65, 127}}) {
      for (int flags = 0; flags < 4; ++flags) {
        const Case one(sizes, flags & 1, flags & 2, 1.5, 0.5);
        CHECK(same_bits(one.result(avx512_gemm), one.result(avx2_gemm)));
      }
    }
  }
  TEST_CASE("R95 the same bits for any number of threads, and inside of a parallel loop") {
    const Threads restore(1);
    for (const GemmKernels* kernels : all_kernels()) {
      for (const Sizes& sizes : {Sizes{300, 200, 1000}, {70, 1000, 500}, {20, 3000, 900}, {900, 300, 1500}}) {
        for (int flags = 0; flags < 4; ++flags) {
          const Case one(sizes, flags & 1, flags & 2, 1, 1);
          set_num_threads(1);
          const Array want = one.result(*kernels);
          for (const int threads : {2, 3, 5}) {
            set_num_threads(threads);
            CHECK(same_bits(one.result(*kernels), want));
          }
          bool same[3] = {};
          parallel_for(
              3, 1, [&](std::int64_t i, std::int64_t) { same[i] = same_bits(one.result(*kernels), want); });
          CHECK((same[0] && same[1] && same[2]));
        }
      }
    }
  }
  TEST_CASE("beta = 0 never reads c; NaN and infinity go through, 0 * infinity is NaN") {
    constexpr std::int64_t m = 30, n = 50, k = 400;
    for (const GemmKernels* kernels : all_kernels()) {
      for (int flags = 0; flags < 4; ++flags) {
        Case one({m, n, k}, flags & 1, flags & 2, 1, 0);
        const auto a_place = [&](std::int64_t i, std::int64_t p) -> float& {
          return one.a.data<float>()[flags & 1 ? p * one.a.shape()[1] + i : i * one.a.shape()[1] + p];
        };
        const auto b_place = [&](std::int64_t p, std::int64_t j) -> float& {
          return one.b.data<float>()[flags & 2 ? j * one.b.shape()[1] + p : p * one.b.shape()[1] + j];
        };
        for (std::int64_t i = 0; i < one.c.numel(); ++i) one.c.data<float>()[i] = NAN;
        a_place(3, 399) = NAN;
        a_place(29, 7) = INFINITY, b_place(7, 49) = 0;
        b_place(200, 20) = -INFINITY;
        const Array got = one.result(*kernels);
        const auto at = [&](std::int64_t i, std::int64_t j) {
          return got.data<float>()[i * got.shape()[1] + j];
        };
        for (std::int64_t i = 0; i < m; ++i) {
          for (std::int64_t j = 0; j < n; ++j) {
            const auto [want, size] = one.element(i, j);
            CAPTURE(i);
            CAPTURE(j);
            if (std::isnan(want)) {
              REQUIRE(std::isnan(at(i, j)));
            } else if (std::isinf(want)) {
              REQUIRE(static_cast<double>(at(i, j)) == want);
            } else {
              REQUIRE(std::isfinite(at(i, j)));
            }
          }
        }
        CHECK((std::isnan(at(3, 0)) && std::isnan(at(29, 49)) && std::isinf(at(29, 0)) &&
               std::isinf(at(0, 20))));
        CHECK(std::isnan(got.data<float>()[n]));  // behind the row: untouched
      }
    }
  }
  TEST_CASE("linear adds the bias in the tiles") {
    for (const auto& [rows, in, out] : {Sizes{100, 70, 90},
                                        {300, 800, 65},
                                        {5, 6, 7},
                                        {33, 500, 20},
                                        {1, 65, 40},
                                        {4, 200, 33},
                                        {50, 40, 1}}) {
      const Array x = normal({rows, in}, f32, 1), weight = normal({out, in}, f32, 2),
                  bias = normal({out}, f32, 3);
      const Array y = Array::full({rows, out}, std::nan(""), f32), want = Array::empty({rows, out}, f64);
      const bool done = backend(cpu).linear(y.view(), x.view(), weight.view(), bias.view());
      CHECK(done == (is_thin<float>({rows, out, in}) || prefers_packing({rows, out, in})));
      if (!done) continue;
      backend(cpu).copy(want.view(), bias.expand({rows, out}).view());
      backend(cpu).matmul(want.view(), x.to(f64).view(), weight.to(f64).transpose(0, 1).view(), 1, 1);
      check_close(y, want, 1e-5, 20);
    }
    const Array wide = normal({100, 90}, f64, 1);
    CHECK_FALSE(backend(cpu).linear(wide.view(), wide.view(), wide.view(), wide.view()));
  }
  TEST_CASE("matmul uses them for large products and for batches of small ones") {
    for (const auto& [batch, size] : {std::pair<std::int64_t, std::int64_t>{1, 200}, {7, 90}, {2, 300}}) {
      const Array a = normal({batch, size, size}, f32, 1), b = normal({batch, size, size}, f32, 2);
      const Array got = Array::empty({batch, size, size}, f32), want = Array::empty({batch, size, size}, f64);
      backend(cpu).matmul(got.view(), a.view(), b.view(), 1, 0);
      backend(cpu).matmul(want.view(), a.to(f64).view(), b.to(f64).view(), 1, 0);
      check_close(got, want, 1e-5, 20);
      CHECK(prefers_packing({size, size, size}) == (gemm_kernels() != nullptr));
      if (gemm_kernels() == nullptr) continue;
      Array alone = Array::empty({size, size}, f32);
      const std::int64_t last = (batch - 1) * size * size;
      packed_product(*gemm_kernels(), {{size, size, size},
                                       1,
                                       {a.data<float>() + last, size, false},
                                       {b.data<float>() + last, size, false},
                                       0,
                                       {alone.data<float>(), size, false}});
      CHECK(std::memcmp(alone.data<float>(), got.data<float>() + last,
                        static_cast<std::size_t>(size * size) * sizeof(float)) == 0);
    }
  }
}

}  // namespace
}  // namespace norma::tests
