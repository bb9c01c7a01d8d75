// The attention kernels of the CUDA backend against those of the CPU; numbers of the robustness checklist.
#include <cmath>
#include <limits>

#include "backends/cuda/check.h"
#include "tests/backends/arrays.h"
#include "tests/cuda/device.h"

namespace norma::tests {
namespace {

struct Case {
  std::int64_t batch = 1, heads = 1, kv_heads = 1, queries = 1, keys = 1, d = 1, d_v = 1;
  AttentionOptions options = {};
  DType dtype = f64;
};

struct Operands {
  Array q, k, v, dy, mask;      // on the host; mask undefined: none
  bool transpose_mask = false;  // on the device, before it is expanded

  explicit Operands(const Case& c, std::uint64_t seed = 1)
      : q(normal({c.batch, c.heads, c.queries, c.d}, c.dtype, seed)),
        k(normal({c.batch, c.kv_heads, c.keys, c.d}, c.dtype, seed + 1)),
        v(normal({c.batch, c.kv_heads, c.keys, c.d_v}, c.dtype, seed + 2)),
        dy(normal({c.batch, c.heads, c.queries, c.d_v}, c.dtype, seed + 3)) {}
};

/// What the kernels of a device give, on the host.
struct Results {
  Array y, lse, dq, dk, dv;

  Results(Device device, const Case& c, const Operands& in) {
    const auto blank = [&](const Shape& shape, DType dtype) {
      return Array::full(shape, 99, dtype).to(device);
    };
    const Array q = in.q.to(device), k = in.k.to(device), v = in.v.to(device), dy = in.dy.to(device);
    Array mask;
    if (in.mask.defined()) {
      mask = in.mask.to(device);
      if (in.transpose_mask) mask = mask.transpose(2, 3);
      mask = mask.expand({c.batch, c.heads, c.queries, c.keys});
    }
    y = blank(in.dy.shape(), c.dtype), lse = blank({c.batch, c.heads, c.queries}, f64);
    dq = blank(q.shape(), c.dtype), dk = blank(k.shape(), c.dtype), dv = blank(v.shape(), c.dtype);
    Backend& kernels = backend(device);
    REQUIRE(kernels.attention(y.view(), lse.view(), q.view(), k.view(), v.view(), mask.view_or_none(),
                              c.options));
    REQUIRE(kernels.attention_backward(dq.view(), dk.view(), dv.view(), dy.view(), y.view(), lse.view(),
                                       q.view(), k.view(), v.view(), mask.view_or_none(), c.options));
    for (Array* x : {&y, &lse, &dq, &dk, &dv}) *x = x->to(cpu);
  }
};

void check_same(const Results& got, const Results& want, double tolerance) {
  check_close(got.y, want.y, tolerance);
  check_close(got.lse, want.lse, tolerance);
  check_close(got.dq, want.dq, tolerance);
  check_close(got.dk, want.dk, tolerance);
  check_close(got.dv, want.dv, tolerance);
}

void check(const Case& c, const Operands& in) {
  CAPTURE(c.queries);
  CAPTURE(c.keys);
  CAPTURE(c.d);
  CAPTURE(c.d_v);
  CAPTURE(c.kv_heads);
  CAPTURE(c.options.causal);
  CAPTURE(c.options.cap);
  check_same(Results(cuda, c, in), Results(cpu, c, in), c.dtype == f32 ? 1e-5 : 1e-10);
}

/// A mask of this shape, as booleans or as 0 and -inf.
template <class Visible>
Array mask_of(const Shape& shape, DType dtype, Visible&& visible) {
  const Array mask = Array::empty(shape, dtype);
  const std::int64_t heads = shape[1], queries = shape[2], keys = shape[3];
  for (std::int64_t flat = 0; flat < mask.numel(); ++flat) {
    const std::int64_t j = flat % keys, i = flat / keys % queries, h = flat / keys / queries % heads;
    const bool seen = visible(h, i, j);
    for_any(dtype, [&]<class T>() {
      if constexpr (std::is_same_v<T, bool>) mask.data<T>()[flat] = seen;
      if constexpr (std::is_floating_point_v<T>)
        mask.data<T>()[flat] = seen ? T(0) : -std::numeric_limits<T>::infinity();
    });
  }
  return mask;
}

}  // namespace

TEST_SUITE("cuda attention" * doctest::skip(no_device())) {
  TEST_CASE("R60 cuda attention equals the CPU's for lengths and head sizes around the tile's") {
    for (const DType dtype : {f32, f64}) {
      for (const std::int64_t queries : {1, 2, 7, 49, 64, 65}) {
        for (const std::int64_t keys : {1, 2, 7, 49, 64, 65}) {
          for (const std::int64_t d : {1, 3, 32, 33}) {
            const Case c{.heads = 2,
                         .kv_heads = 2,
                         .queries = queries,
                         .keys = keys,
                         .d = d,
                         .d_v = d,
                         .options = {.scale = 1 / std::sqrt(static_cast<double>(d)),
                                     .causal = (queries + keys + d) % 2 == 0},
                         .dtype = dtype};
            check(c, Operands(c));
          }
        }
      }
    }
  }
  TEST_CASE("R60 cuda attention: heads wider than a tile, d and d_v apart") {
    for (const DType dtype : {f32, f64}) {
      for (const auto& [d, d_v] : {std::pair{64, 3}, {2, 65}, {100, 128}, {130, 70}, {5, 300}}) {
        const Case c{.queries = 35,
                     .keys = 40,
                     .d = d,
                     .d_v = d_v,
                     .options = {.scale = 1 / std::sqrt(static_cast<double>(d)), .causal = true},
                     .dtype = dtype};
        check(c, Operands(c));
      }
    }
  }
  TEST_CASE("cuda attention: cap, causality, grouped heads and masks with any strides") {
    for (const DType dtype : {f32, f64}) {
      for (const double cap : {0.0, 0.7}) {
        for (const bool causal : {false, true}) {
          for (const std::int64_t kv_heads : {1, 2, 4}) {
            const Case c{.batch = 2,
                         .heads = 4,
                         .kv_heads = kv_heads,
                         .queries = 34,
                         .keys = 37,
                         .d = 4,
                         .d_v = 5,
                         .options = {.scale = 0.8, .cap = cap, .causal = causal},
                         .dtype = dtype};
            Operands in(c);
            check(c, in);
            const auto seen = [](std::int64_t h, std::int64_t i, std::int64_t j) {
              return (h * 5 + i * 3 + j * j * 11) % 4 != 0;
            };
            for (const DType kind : {boolean, dtype}) {
              in.mask = mask_of({2, 4, 34, 37}, kind, seen);
              check(c, in);
              in.mask = mask_of({1, 1, 1, 37}, kind, seen);
              check(c, in);
            }
            in.mask = normal({1, 1, 37, 34}, dtype, 77), in.transpose_mask = true;
            check(c, in);
          }
        }
      }
    }
  }
  TEST_CASE("R56 cuda attention: a query that sees no key gives 0 and changes no other row") {
    for (const DType kind : {boolean, f64}) {
      const Case c{.heads = 2, .kv_heads = 2, .queries = 40, .keys = 35, .d = 4, .d_v = 4};
      Operands in(c);
      const Results open(cuda, c, in);
      in.mask = mask_of({1, 2, 40, 35}, kind,
                        [](std::int64_t h, std::int64_t i, std::int64_t) { return h == 0 || i != 33; });
      const Results closed(cuda, c, in);
      check_same(closed, Results(cpu, c, in), 1e-10);
      CHECK(closed.lse.at({0, 1, 33}) == -INFINITY);
      for (std::int64_t h = 0; h < 2; ++h) {
        for (std::int64_t i = 0; i < 40; ++i) {
          for (std::int64_t e = 0; e < 4; ++e) {
            const bool dead = h == 1 && i == 33;
            CHECK(closed.y.at({0, h, i, e}) == (dead ? 0 : open.y.at({0, h, i, e})));
            CHECK(closed.dq.at({0, h, i, e}) == (dead ? 0 : open.dq.at({0, h, i, e})));
          }
        }
      }
    }
    // More queries than keys: the first ones see nothing.
    const Case few{.queries = 70, .keys = 5, .d = 3, .d_v = 3, .options = {.causal = true}};
    const Results causal(cuda, few, Operands(few));
    CHECK((causal.y.at({0, 0, 64, 0}) == 0 && causal.y.at({0, 0, 65, 0}) != 0));
    check(few, Operands(few));
    for (const auto& [queries, keys] : {std::pair{3, 0}, {0, 3}, {0, 0}}) {
      const Case none{.queries = queries, .keys = keys, .d = 2, .d_v = 2};
      check(none, Operands(none));
    }
  }
  TEST_CASE("R57 cuda attention: NaN and infinity in hidden keys and values do not leak") {
    for (const double poison : {std::nan(""), static_cast<double>(INFINITY)}) {
      for (const bool causal : {false, true}) {
        for (const std::int64_t d : {4, 70}) {
          // Key 69 is hidden from all but, when causal, the last query.
          const Case c{.heads = 2,
                       .queries = 70,
                       .keys = 70,
                       .d = d,
                       .d_v = d,
                       .options = {.scale = 0.5, .causal = causal}};
          Operands in(c);
          if (!causal)
            in.mask = mask_of({1, 1, 1, 70}, boolean, [](auto, auto, std::int64_t j) { return j != 69; });
          const Results clean(cuda, c, in);
          for (std::int64_t e = 0; e < d; ++e)
            in.k.data<double>()[69 * d + e] = in.v.data<double>()[69 * d + e] = poison;
          const Results dirty(cuda, c, in);
          const std::int64_t rows = causal ? 69 : 70;
          for (Array Results::*const x : {&Results::y, &Results::dq})
            CHECK(same_bits((dirty.*x).slice(2, {0, rows}).contiguous(),
                            (clean.*x).slice(2, {0, rows}).contiguous()));
          if (!causal) {
            CHECK(same_bits(dirty.dk, clean.dk));
            CHECK(same_bits(dirty.dv, clean.dv));
          } else {
            CHECK(std::isnan(dirty.y.at({0, 0, 69, 0})));
          }
        }
      }
    }
  }
  TEST_CASE("R57 cuda attention: a poisoned query row without a key reaches no gradient") {
    const Case c{.queries = 40, .keys = 33, .d = 4, .d_v = 4};
    Operands in(c);
    in.mask = mask_of({1, 1, 40, 1}, boolean, [](auto, std::int64_t i, auto) { return i != 35; });
    const Results clean(cuda, c, in);
    for (std::int64_t e = 0; e < 4; ++e)
      in.q.data<double>()[35 * 4 + e] = in.dy.data<double>()[35 * 4 + e] = std::nan("");
    const Results dirty(cuda, c, in);
    for (Array Results::*const x : {&Results::y, &Results::dq, &Results::dk, &Results::dv})
      CHECK(same_bits(dirty.*x, clean.*x));
  }
  TEST_CASE("R58 cuda attention: an additive -inf gives exactly no weight") {
    const Case c{.queries = 4, .keys = 36, .d = 3, .d_v = 3, .dtype = f32};
    Operands in(c);
    in.mask = mask_of({1, 1, 1, 36}, f32, [](auto, auto, std::int64_t j) { return j != 1 && j != 34; });
    const Results run(cuda, c, in);
    for (const std::int64_t j : {1, 34}) {
      for (std::int64_t e = 0; e < 3; ++e)
        CHECK((run.dv.at({0, 0, j, e}) == 0 && run.dk.at({0, 0, j, e}) == 0));
    }
  }
  TEST_CASE("R59 cuda attention: a future token does not reach earlier rows, with a cap") {
    const Case c{.heads = 2,
                 .kv_heads = 2,
                 .queries = 66,
                 .keys = 66,
                 .d = 5,
                 .d_v = 5,
                 .options = {.scale = 1, .cap = 1, .causal = true},
                 .dtype = f32};
    Operands in(c);
    const Results before(cuda, c, in);
    for (std::int64_t e = 0; e < 5; ++e) in.k.data<float>()[65 * 5 + e] = in.v.data<float>()[65 * 5 + e] = 40;
    const Results after(cuda, c, in);
    CHECK(same_bits(before.y.slice(2, {0, 65}).contiguous(), after.y.slice(2, {0, 65}).contiguous()));
    CHECK(before.y.at({0, 0, 65, 0}) != after.y.at({0, 0, 65, 0}));
  }
  TEST_CASE("R61 cuda attention: with fewer queries than keys the last query sees all keys") {
    Case c{.queries = 3, .keys = 40, .d = 4, .d_v = 4, .options = {.causal = true}};
    const Operands in(c);
    const Results causal(cuda, c, in);
    check_same(causal, Results(cpu, c, in), 1e-10);
    c.options.causal = false;
    const Results all(cuda, c, in);
    for (std::int64_t e = 0; e < 4; ++e) {
      CHECK(causal.y.at({0, 0, 2, e}) == all.y.at({0, 0, 2, e}));
      CHECK(causal.y.at({0, 0, 0, e}) != all.y.at({0, 0, 0, e}));
    }
  }
  TEST_CASE("cuda attention: scores far apart, and operands that are slices of one packed projection") {
    Case c{.batch = 2, .heads = 3, .kv_heads = 3, .queries = 40, .keys = 40, .d = 8, .d_v = 8};
    c.options.scale = 40;
    check(c, Operands(c));
    c.options.scale = 0.3;
    Operands in(c);
    const Array packed = normal({2, 40, 3, 3, 8}, f64, 5).to(cuda);  // [batch, length, part, heads, d]
    const auto part = [&](std::int64_t p) { return packed.slice(2, {p, p + 1}).squeeze(2).transpose(1, 2); };
    in.q = part(0).to(cpu), in.k = part(1).to(cpu), in.v = part(2).to(cpu);
    const Results want(cuda, c, in);
    const Array y = Array::full({2, 40, 3, 8}, 99, f64).to(cuda).transpose(1, 2);
    const Array lse = Array::full({2, 3, 40}, 99, f64).to(cuda);
    REQUIRE(backend(cuda).attention(y.view(), lse.view(), part(0).view(), part(1).view(), part(2).view(), {},
                                    c.options));
    CHECK(same_bits(y.to(cpu).contiguous(), want.y));
  }
}

}  // namespace norma::tests
