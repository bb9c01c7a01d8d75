// f32 products by parts in bf16 (backends/cpu/gemm/bf16_*): packing, blocks, edges, accuracy and special
// values, by plain code that does what AMX is specified to do; with AMX, that the unit gives the same bits.
#include <bit>
#include <cfloat>

#include "backends/cpu/gemm/avx512_bf16.h"
#include "backends/cpu/gemm/bf16_product.h"
#include "core/parallel.h"
#include "core/precision.h"
#include "tests/backends/arrays.h"
#include "tests/messages.h"
#include "tests/threads.h"

namespace norma::tests {
namespace {

bool packs_by_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
#else
  return false;
#endif
}

/// A product of matrices that lie in rows a little longer than they need to be.
struct Case {
  std::int64_t m, n, k;
  bool a_transposed, b_transposed;
  Array a, b, c;
  float alpha = 1, beta = 0;

  Case(std::int64_t rows, std::int64_t columns, std::int64_t steps, int transposed,
       double (*value)(double) = {})
      : m(rows), n(columns), k(steps), a_transposed(transposed & 1), b_transposed(transposed & 2) {
    a = normal(a_transposed ? Shape{k, m + 3} : Shape{m, k + 3}, f32, 1);
    b = normal(b_transposed ? Shape{n, k + 1} : Shape{k, n + 1}, f32, 2);
    c = normal({m, n + 5}, f32, 3);
    if (value == nullptr) return;
    for (const Array* x : {&a, &b}) {
      float* const data = x->data<float>();
      for (std::int64_t i = 0; i < x->numel(); ++i) data[i] = static_cast<float>(value(data[i]));
    }
  }
  float& a_at(std::int64_t i, std::int64_t p) const {
    return a.data<float>()[a_transposed ? p * a.shape()[1] + i : i * a.shape()[1] + p];
  }
  float& b_at(std::int64_t p, std::int64_t j) const {
    return b.data<float>()[b_transposed ? j * b.shape()[1] + p : p * b.shape()[1] + j];
  }
  Array result(const Bf16Kernels& kernels, int parts) const {
    const Array got = c.clone();
    bf16_product(kernels, parts,
                 {{m, n, k},
                  alpha,
                  {a.data<float>(), a.shape()[1], a_transposed},
                  {b.data<float>(), b.shape()[1], b_transposed},
                  beta,
                  {got.data<float>(), n + 5, false}});
    return got;
  }
  double want(std::int64_t i, std::int64_t j) const {
    double sum = 0;
    for (std::int64_t p = 0; p < k; ++p)
      sum += static_cast<double>(a_at(i, p)) * static_cast<double>(b_at(p, j));
    return static_cast<double>(alpha) * sum +
           (beta == 0 ? 0
                      : static_cast<double>(beta) * static_cast<double>(c.data<float>()[i * (n + 5) + j]));
  }
  /// Root mean square of the error over that of the result; what lies behind the rows must be untouched.
  double error(const Array& got) const {
    double errors = 0, values = 0;
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n + 5; ++j) {
        const double found = static_cast<double>(got.data<float>()[i * (n + 5) + j]);
        if (j >= n) {
          REQUIRE(found == static_cast<double>(c.data<float>()[i * (n + 5) + j]));
          continue;
        }
        const double right = want(i, j);
        errors += (found - right) * (found - right), values += right * right;
      }
    }
    return std::sqrt(errors / values);
  }
};

/// One element of A holds x, one of B y, where they meet; the other elements are `fill`.
float meet(const Bf16Kernels& kernels, int parts, float x, float y, float fill) {
  Case one(20, 20, 40, 0);
  for (const Array* matrix : {&one.a, &one.b}) {
    std::fill_n(matrix->data<float>(), matrix->numel(), fill);
  }
  one.a_at(3, 5) = x, one.b_at(5, 18) = y;
  return one.result(kernels, parts).data<float>()[3 * 25 + 18];
}
float meet(int parts, float x, float y, float fill) { return meet(plain_bf16, parts, x, y, fill); }

/// Of two parts on one thread, which two and three must repeat bit by bit.
Array result_on_threads(const Case& one, const Bf16Kernels& kernels) {
  set_num_threads(1);
  const Array want = one.result(kernels, 2);
  for (const int threads : {2, 3}) {
    set_num_threads(threads);
    CHECK(same_bits(one.result(kernels, 2), want));
  }
  return want;
}

constexpr float inf = std::numeric_limits<float>::infinity();

/// m, n, k at the edges of tiles, and over several blocks of k.
constexpr std::array<std::int64_t, 3> at_edges[] = {{32, 32, 32}, {1, 1, 1},     {16, 48, 64},  {33, 17, 70},
                                                    {15, 80, 31}, {100, 40, 33}, {40, 33, 2100}};

/// Numbers of few bits are bf16 already: nothing is lost but the rounding of sums.
double few_bits(double x) { return std::round(x * 8) / 8; }

TEST_SUITE("kernels bf16 gemm") {
  TEST_CASE("AVX512_BF16 packs the bits of the plain code") {
    if (!packs_by_avx512()) {
      MESSAGE("this processor has no AVX512_BF16");
      return;
    }
    const auto compare = [](const auto& fast, const auto& plain, int parts) {
      Array x = normal({80, 80}, f32, 1);
      float* const data = x.data<float>();
      for (std::int64_t i = 0; i < x.numel(); ++i)
        data[i] = std::ldexp(data[i], static_cast<int>(i % 250) - 125);
      for (const float special :
           {inf, -inf, NAN, FLT_MAX, -FLT_MAX, 3.39e38f, 1e-41f, -1e-41f, FLT_MIN, 0.0f, -0.0f}) {
        data[static_cast<std::int64_t>(std::bit_cast<std::uint32_t>(special) % 41) * 7 + 80] = special;
      }
      for (const std::int64_t count : {1, 15, 16, 17, 32, 33, 70}) {
        for (const std::int64_t k : {1, 16, 31, 32, 33, 40}) {
          for (int layout = 0; layout < 4; ++layout) {
            const std::int64_t panel_values = 2 * parts * 2 * bf16_tile + 64;
            std::vector<Bf16> got(static_cast<std::size_t>(3 * panel_values), 1), want = got;
            Bf16Panels panels{.x = data + 3,
                              .leading = 80,
                              .steps_adjoin = (layout & 1) != 0,
                              .count = count,
                              .k = k,
                              .pairs = (layout & 2) != 0,
                              .packed = got.data(),
                              .panel_values = panel_values};
            fast(panels);
            panels.packed = want.data();
            plain(panels);
            CHECK(got == want);
          }
        }
      }
    };
#if defined(__x86_64__)
    compare(avx512_bf16_pack<1>, plain_bf16.pack[0], 1);
    compare(avx512_bf16_pack<2>, plain_bf16.pack[1], 2);
    compare(avx512_bf16_pack<3>, plain_bf16.pack[2], 3);
#endif
  }
  TEST_CASE("one part: the products of rounded numbers, at every edge, with alpha and beta") {
    for (const auto& [m, n, k] : at_edges) {
      for (int transposed = 0; transposed < 4; ++transposed) {
        Case one(m, n, k, transposed, few_bits);
        for (const auto& [alpha, beta] : {std::pair{1.f, 0.f}, {1.f, 1.f}, {-0.5f, 0.25f}}) {
          one.alpha = alpha, one.beta = beta;
          for (int parts = 1; parts <= 3; ++parts) CHECK(one.error(one.result(plain_bf16, parts)) < 2e-7);
        }
      }
    }
  }
  TEST_CASE("the error of 1, 2 and 3 parts is that of the documentation") {
    for (int transposed = 0; transposed < 4; ++transposed) {
      const Case one(64, 64, 192, transposed), wide(64, 64, 192, transposed, [](double x) {
        return std::ldexp(x, static_cast<int>(std::abs(x) * 1e4) % 41 - 20);
      });
      for (const Case* each : {&one, &wide}) {
        const double medium = each->error(each->result(plain_bf16, 1));
        const double high = each->error(each->result(plain_bf16, 2));
        const double six = each->error(each->result(plain_bf16, 3));
        CHECK((medium > 1.5e-3 && medium < 3.5e-3));
        CHECK((high > 2e-6 && high < 7e-6));
        CHECK((six > 1e-8 && six < 4e-7));
      }
    }
    const Case longer(33, 33, 3072, 2);  // several blocks of k
    CHECK(longer.error(longer.result(plain_bf16, 1)) < 3.5e-3);
    CHECK(longer.error(longer.result(plain_bf16, 2)) < 7e-6);
    CHECK(longer.error(longer.result(plain_bf16, 3)) < 6e-7);
    const Case wider(3, 1100, 680, 2);  // packed b in several slabs
    CHECK(wider.error(wider.result(plain_bf16, 3)) < 4e-7);
  }
  TEST_CASE("NaN and infinity are what they are in f32") {
    for (int parts = 1; parts <= 3; ++parts) {
      CAPTURE(parts);
      CHECK(std::isnan(meet(parts, NAN, 1, 1)));
      CHECK(std::isnan(meet(parts, 1, NAN, 0)));
      CHECK(meet(parts, inf, 1, 1) == inf);
      CHECK(meet(parts, inf, 1.1f, 1) == inf);
      CHECK(meet(parts, -inf, 1e-3f, 1) == -inf);
      CHECK(meet(parts, 1.1f, -inf, 1) == -inf);
      CHECK(meet(parts, inf, -inf, 1) == -inf);
      CHECK(meet(parts, -inf, -inf, 1) == inf);
      CHECK(std::isnan(meet(parts, inf, 0, 1)));
      CHECK(std::isnan(meet(parts, 0, inf, 0)));
      CHECK(meet(parts, 1e38f, 10, 0) == inf);
    }
  }
  TEST_CASE("values near the ends of the range are what the documentation says") {
    CHECK((meet(1, FLT_MAX, 0.5f, 0) == inf && meet(1, 3.39e38f, 1, 0) < inf));
    CHECK(
        (meet(2, FLT_MAX, 1, 0) == inf && meet(2, FLT_MAX, 0.5f, 0) < inf && meet(2, 3.39e38f, 1, 0) < inf));
    CHECK((meet(3, FLT_MAX, 1, 0) == FLT_MAX && meet(3, FLT_MAX, 0.5f, 0) == FLT_MAX / 2));
    for (int parts = 1; parts <= 3; ++parts) {
      CHECK(meet(parts, 1e-41f, 1e30f, 0) == 0);                                  // a subnormal operand
      CHECK(meet(parts, 1e-20f, 1e-20f, 0) == 0);                                 // a subnormal result
      CHECK(std::isnan(meet(parts, 1e-41f, inf, 0)));                             // zero times infinity
      CHECK(meet(parts, 3e-38f, 1, 0) == doctest::Approx(3e-38).epsilon(0.004));  // the first part alone
    }
  }
  TEST_CASE("a row in place of c") {
    for (const std::int64_t n : {32, 40}) {
      const Case one(64, n, 70, 0);
      const Array row = normal({n}, f32, 4), got = one.c.clone();
      bf16_product(plain_bf16, 3,
                   {{one.m, n, one.k},
                    1,
                    {one.a.data<float>(), one.k + 3, false},
                    {one.b.data<float>(), n + 1, false},
                    1,
                    {got.data<float>(), n + 5, false},
                    row.data<float>()});
      for (std::int64_t i = 0; i < one.m; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          const double want = one.want(i, j) + static_cast<double>(row.data<float>()[j]);
          CHECK(close(static_cast<double>(got.data<float>()[i * (n + 5) + j]), want, 1e-5, 10));
        }
      }
    }
  }
  TEST_CASE("beta = 0 never reads c") {
    for (const std::int64_t size : {32, 33}) {
      Case one(size, size, 40, 0);
      std::fill_n(one.c.data<float>(), one.c.numel(), NAN);
      const Array got = one.result(plain_bf16, 2);
      for (std::int64_t i = 0; i < size; ++i) CHECK(std::isfinite(got.data<float>()[i * (size + 5) + i]));
    }
  }
  TEST_CASE("R95 the same bits for any number of threads, and inside of a parallel loop") {
    const Threads restore(1);
    for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{200, 70, 100},
                                  {40, 300, 100},
                                  {70, 40, 1100},
                                  {330, 70, 100},
                                  {320, 300, 32}}) {
      const Case one(m, n, k, 2);
      const Array want = result_on_threads(one, plain_bf16);
      bool same[2] = {};
      parallel_for(
          2, 1, [&](std::int64_t i, std::int64_t) { same[i] = same_bits(one.result(plain_bf16, 2), want); });
      CHECK((same[0] && same[1]));
    }
  }
  TEST_CASE("AVX512_BF16 multiplies as the plain code does, but for the order of sums") {
    if (!has_avx512_bf16()) {
      MESSAGE("this processor has no AVX512_BF16: products in vectors were not tested");
      return;
    }
#if defined(__x86_64__)
    for (const auto& [m, n, k] : at_edges) {
      for (int transposed = 0; transposed < 4; ++transposed) {
        // Sums of numbers of few bits are exact in any order.
        Case exact(m, n, k, transposed, few_bits), one(m, n, k, transposed);
        for (const auto& [alpha, beta] : {std::pair{1.f, 0.f}, {1.f, 1.f}, {-0.5f, 0.25f}}) {
          exact.alpha = alpha, exact.beta = beta;
          CHECK(exact.error(exact.result(avx512_bf16, 1)) < 2e-7);
        }
        CHECK(one.error(one.result(avx512_bf16, 1)) < (k == 1 ? 8e-3 : 3.5e-3));
      }
    }
    const Threads restore(1);
    const Case one(200, 70, 1100, 2);
    const Array want = one.result(avx512_bf16, 1);
    set_num_threads(3);
    CHECK(same_bits(one.result(avx512_bf16, 1), want));
    // What meets NaN, infinity and subnormals is as with tiles.
    const auto meet_here = [](float x, float y, float others) { return meet(avx512_bf16, 1, x, y, others); };
    CHECK((std::isnan(meet_here(NAN, 1, 1)) && std::isnan(meet_here(inf, 0, 1))));
    CHECK((meet_here(inf, 1.1f, 1) == inf && meet_here(-inf, 1e-3f, 1) == -inf));
    CHECK((meet_here(FLT_MAX, 0.5f, 0) == inf && meet_here(3.39e38f, 1, 0) < inf));
    CHECK((meet_here(1e-41f, 1e30f, 0) == 0 && meet_here(1e-20f, 1e-20f, 0) == 0));
#endif
  }
  TEST_CASE("AMX gives the bits of the plain code") {
    if (!has_amx()) {
      MESSAGE("this machine has no AMX: the unit itself was not tested");
      return;
    }
#if defined(__x86_64__) && defined(__linux__)
    for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{200, 70, 100}, {40, 300, 1100}, {33, 17, 70}}) {
      for (int transposed = 0; transposed < 4; ++transposed) {
        Case one(m, n, k, transposed);
        one.beta = 1;
        for (int parts = 1; parts <= 3; ++parts) {
          CHECK(same_bits(one.result(amx_bf16, parts), one.result(plain_bf16, parts)));
        }
      }
    }
    // Large enough for threads to share what is packed of b; the second has several slabs of it.
    const Threads restore(1);
    for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{600, 560, 1000}, {2100, 2080, 512}}) {
      result_on_threads(Case(m, n, k, 2), amx_bf16);
    }
#endif
  }
}

TEST_SUITE("precision") {
  /// Sets the precision of products for one scope.
  struct Precision {
    explicit Precision(std::string_view name) { set_matmul_precision(name); }
    ~Precision() { set_matmul_precision(MatmulPrecision::highest); }
  };

  TEST_CASE("names, and what they mean for TF32") {
    CHECK(matmul_precision() == MatmulPrecision::highest);
    for (const char* name : {"highest", "highest_bf16x6", "high", "medium"}) {
      const Precision precision(name);
      CHECK(to_string(matmul_precision()) == name);
      CHECK(cuda_tf32() == (std::string_view(name) == "high" || std::string_view(name) == "medium"));
    }
    CHECK_FALSE(cuda_tf32());
    CHECK_THROWS_MESSAGE_HAS(set_matmul_precision("low"),
                             "needs highest, highest_bf16x6, high or medium, got low");
    CHECK(matmul_precision() == MatmulPrecision::highest);
    set_cuda_tf32(true);
    CHECK((cuda_tf32() && matmul_precision() == MatmulPrecision::highest));
    set_cuda_tf32(false);
  }
  TEST_CASE("without bf16 every precision is f32; with it f64, and what is small, stays as it is") {
    const auto product = [](std::int64_t size, DType dtype) {
      const Array a = normal({size, size}, dtype, 1), b = normal({size, size}, dtype, 2);
      const Array c = Array::empty({size, size}, dtype);
      backend(cpu).matmul(c.view(), a.view(), b.view(), 1, 0);
      return c;
    };
    const Array large = product(100, f32), small = product(12, f32), exact = product(100, f64);
    for (const auto& [name, error] : {std::pair{"highest_bf16x6", 1e-5}, {"high", 1e-4}, {"medium", 0.1}}) {
      const Precision precision(name);
      const bool is_short = has_amx() || (std::string_view(name) == "medium" && has_avx512_bf16());
      CHECK(same_bits(product(100, f32), large) == !is_short);
      check_close(product(100, f32), exact, error, 10);
      CHECK(same_bits(product(12, f32), small));
      CHECK(same_bits(product(100, f64), exact));
    }
  }
}

}  // namespace
}  // namespace norma::tests
