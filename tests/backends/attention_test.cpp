// The attention kernels against plain double loops; numbers of the robustness checklist, at kernel level.
#include <functional>
#include <optional>

#include "tests/backends/arrays.h"

namespace norma::tests {
namespace {

using Values = std::vector<double>;
Backend& kernels() { return backend(cpu); }

struct Case {
  std::int64_t batch = 1, heads = 1, kv_heads = 1, queries = 1, keys = 1, d = 1, d_v = 1;
  AttentionOptions options = {};
  DType dtype = f64;

  Shape q() const { return {batch, heads, queries, d}; }
  Shape k() const { return {batch, kv_heads, keys, d}; }
  Shape v() const { return {batch, kv_heads, keys, d_v}; }
  Shape y() const { return {batch, heads, queries, d_v}; }
};

/// What is added to the score of (batch, head, query, key): 0, a number, or -inf for a hidden key.
using Hide = std::function<double(std::int64_t, std::int64_t, std::int64_t, std::int64_t)>;

double no_mask(std::int64_t, std::int64_t, std::int64_t, std::int64_t) { return 0; }

/// The formula in plain loops, key by key; hidden keys are never touched.
Values plain_attention(const Case& c, const Values& q, const Values& k, const Values& v, const Hide& added) {
  Values y(static_cast<std::size_t>(c.y().numel()));
  for (std::int64_t b = 0; b < c.batch; ++b) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const std::int64_t kv = b * c.kv_heads + h / (c.heads / c.kv_heads);
      for (std::int64_t i = 0; i < c.queries; ++i) {
        const std::int64_t row = (b * c.heads + h) * c.queries + i;
        std::vector<std::pair<std::int64_t, double>> scores;
        double largest = -INFINITY, sum = 0;
        for (std::int64_t j = 0; j < c.keys; ++j) {
          if (c.options.causal && j > i + c.keys - c.queries) continue;
          if (added(b, h, i, j) == -INFINITY) continue;
          double s = 0;
          for (std::int64_t e = 0; e < c.d; ++e) {
            s += c.options.scale * q[static_cast<std::size_t>(row * c.d + e)] *
                 k[static_cast<std::size_t>((kv * c.keys + j) * c.d + e)];
          }
          if (c.options.cap > 0) s = c.options.cap * std::tanh(s / c.options.cap);
          scores.emplace_back(j, s + added(b, h, i, j));
          largest = std::max(largest, scores.back().second);
        }
        for (const auto& [j, s] : scores) sum += std::exp(s - largest);
        for (const auto& [j, s] : scores) {
          for (std::int64_t e = 0; e < c.d_v; ++e) {
            y[static_cast<std::size_t>(row * c.d_v + e)] +=
                std::exp(s - largest) / sum * v[static_cast<std::size_t>((kv * c.keys + j) * c.d_v + e)];
          }
        }
      }
    }
  }
  return y;
}

struct Run {
  Array q, k, v, dy, y, lse, dq, dk, dv;

  Run(const Case& c, const View& mask, std::uint64_t seed = 1) {
    q = normal(c.q(), c.dtype, seed), k = normal(c.k(), c.dtype, seed + 1),
    v = normal(c.v(), c.dtype, seed + 2);
    dy = normal(c.y(), c.dtype, seed + 3);
    go(c, mask);
  }
  void go(const Case& c, const View& mask) {
    y = Array::full(c.y(), 99, c.dtype), lse = Array::full({c.batch, c.heads, c.queries}, 99, f64);
    dq = Array::full(c.q(), 99, c.dtype), dk = Array::full(c.k(), 99, c.dtype),
    dv = Array::full(c.v(), 99, c.dtype);
    REQUIRE(kernels().attention(y.view(), lse.view(), q.view(), k.view(), v.view(), mask, c.options));
    REQUIRE(kernels().attention_backward(dq.view(), dk.view(), dv.view(), dy.view(), y.view(), lse.view(),
                                         q.view(), k.view(), v.view(), mask, c.options));
  }
  bool finite() const { return all_finite(y) && all_finite(dq) && all_finite(dk) && all_finite(dv); }
};

/// Forward against the formula; backward against central differences of the formula where that is quick.
void check(const Case& c, const View& mask = {}, const Hide& added = no_mask) {
  const Run run(c, mask);
  const double tolerance = c.dtype == f32 ? 1e-5 : 1e-11;
  const Values q = values(run.q), k = values(run.k), v = values(run.v), dy = values(run.dy);
  check_close(run.y, plain_attention(c, q, k, v, added), tolerance);
  if (run.q.numel() + run.k.numel() + run.v.numel() > 150) return;
  const double slack = c.dtype == f32 ? 2e-5 : 1e-6;
  check_close(run.dq,
              numeric_gradient(q, dy, [&](const Values& x) { return plain_attention(c, x, k, v, added); }),
              slack);
  check_close(run.dk,
              numeric_gradient(k, dy, [&](const Values& x) { return plain_attention(c, q, x, v, added); }),
              slack);
  check_close(run.dv,
              numeric_gradient(v, dy, [&](const Values& x) { return plain_attention(c, q, k, x, added); }),
              slack);
}

/// The pattern of hidden keys used below: deterministic, different for every batch, head and row.
bool is_hidden(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
  return (b * 7 + h * 5 + i * 3 + j * j * 11) % 4 == 0;
}
double hide(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
  return is_hidden(b, h, i, j) ? -INFINITY : 0;
}

/// A mask [batch, heads, queries, keys] with mask = visible(b, h, i, j), as booleans or as 0 and -inf.
template <class Visible>
Array mask_of(const Case& c, DType dtype, Visible&& visible) {
  const Array mask = Array::empty({c.batch, c.heads, c.queries, c.keys}, dtype);
  for (std::int64_t flat = 0; flat < mask.numel(); ++flat) {
    const std::int64_t j = flat % c.keys, i = flat / c.keys % c.queries,
                       h = flat / c.keys / c.queries % c.heads;
    const bool seen = visible(flat / c.keys / c.queries / c.heads, h, i, j);
    for_any(dtype, [&]<class T>() {
      if constexpr (std::is_same_v<T, bool>) mask.data<T>()[flat] = seen;
      if constexpr (std::is_floating_point_v<T>)
        mask.data<T>()[flat] = seen ? T(0) : -std::numeric_limits<T>::infinity();
    });
  }
  return mask;
}

TEST_SUITE("kernels attention") {
  TEST_CASE("R60 lengths and head sizes around the block sizes, causal or not") {
    for (const DType dtype : {f32, f64}) {
      for (const std::int64_t queries : {1, 2, 7, 49, 64, 65}) {
        for (const std::int64_t keys : {1, 2, 7, 49, 64, 65}) {
          for (const std::int64_t d : {1, 3, 32, 33}) {
            for (const bool causal : {false, true}) {
              check({.batch = 1,
                     .heads = 2,
                     .kv_heads = 2,
                     .queries = queries,
                     .keys = keys,
                     .d = d,
                     .d_v = d,
                     .options = {.scale = 1 / std::sqrt(static_cast<double>(d)), .causal = causal},
                     .dtype = dtype});
            }
          }
        }
      }
    }
  }
  TEST_CASE("gradients of every option: cap, causal, masks, grouped heads, d_v different from d") {
    for (const double cap : {0.0, 0.7}) {
      for (const bool causal : {false, true}) {
        for (const std::int64_t kv_heads : {1, 2, 4}) {
          const Case c{.batch = 2,
                       .heads = 4,
                       .kv_heads = kv_heads,
                       .queries = 3,
                       .keys = 5,
                       .d = 2,
                       .d_v = 3,
                       .options = {.scale = 0.8, .cap = cap, .causal = causal}};
          check(c);
          const auto seen = [](auto... at) { return !is_hidden(at...); };
          check(c, mask_of(c, boolean, seen).view(), hide);
          check(c, mask_of(c, f64, seen).view(), hide);
          const Array bias = normal({1, 1, 3, 5}, f64, 77);
          check(c, bias.expand({2, 4, 3, 5}).view(),
                [&](std::int64_t, std::int64_t, std::int64_t i, std::int64_t j) {
                  return bias.at({0, 0, i, j});
                });
        }
      }
    }
  }
  TEST_CASE("f32 gradients follow f64 on longer sequences") {
    for (const std::int64_t kv_heads : {1, 3}) {
      for (const double cap : {0.0, 5.0}) {
        Case c{.batch = 2,
               .heads = 3,
               .kv_heads = kv_heads,
               .queries = 130,
               .keys = 150,
               .d = 24,
               .d_v = 24,
               .options = {.scale = 0.2, .cap = cap, .causal = true}};
        const Run want(c, {});
        Run got = want;
        c.dtype = f32;
        for (Array* x : {&got.q, &got.k, &got.v, &got.dy}) *x = x->to(f32);
        got.go(c, {});
        check_close(got.y, want.y, 1e-5), check_close(got.dq, want.dq, 1e-5);
        check_close(got.dk, want.dk, 1e-5), check_close(got.dv, want.dv, 1e-5);
      }
    }
  }
  TEST_CASE("operands may be slices of one packed projection") {
    const Case c{.batch = 2,
                 .heads = 3,
                 .kv_heads = 3,
                 .queries = 70,
                 .keys = 70,
                 .d = 8,
                 .d_v = 8,
                 .options = {.scale = 0.3, .causal = true},
                 .dtype = f32};
    const Run want(c, {});
    Run got = want;
    const int order[] = {0, 2, 1, 3};
    const auto packed = [&](const Array& x) {  // [batch, length, heads, d], read as [batch, heads, length, d]
      const Array memory = Array::empty({2, 70, 3, 24}, f32), view = memory.slice(3, {8, 16}).permute(order);
      view.copy_from(x);
      return view;
    };
    for (Array* x : {&got.q, &got.k, &got.v, &got.dy, &got.y, &got.dq, &got.dk, &got.dv}) *x = packed(*x);
    REQUIRE(kernels().attention(got.y.view(), got.lse.view(), got.q.view(), got.k.view(), got.v.view(), {},
                                c.options));
    REQUIRE(kernels().attention_backward(got.dq.view(), got.dk.view(), got.dv.view(), got.dy.view(),
                                         got.y.view(), got.lse.view(), got.q.view(), got.k.view(),
                                         got.v.view(), {}, c.options));
    check_close(got.y, want.y, 1e-6), check_close(got.dq, want.dq, 1e-6);
    check_close(got.dk, want.dk, 1e-6), check_close(got.dv, want.dv, 1e-6);
  }
  TEST_CASE("R56 a query that sees no key: zero output, finite gradients, other rows bitwise the same") {
    for (const DType dtype : {f32, f64}) {
      for (const DType kind : {boolean, dtype}) {
        const Case c{.batch = 1,
                     .heads = 2,
                     .kv_heads = 1,
                     .queries = 6,
                     .keys = 9,
                     .d = 4,
                     .d_v = 4,
                     .options = {.scale = 0.5},
                     .dtype = dtype};
        const Run open(c, mask_of(c, kind, [](auto...) { return true; }).view());
        const Run run(
            c, mask_of(c, kind, [](auto, auto h, auto i, auto) { return !(h == 1 && i == 2); }).view());
        CHECK(run.finite());
        for (std::int64_t e = 0; e < 4; ++e) {
          CHECK((run.y.at({0, 1, 2, e}) == 0 && run.dq.at({0, 1, 2, e}) == 0));
          for (std::int64_t i : {0, 1, 3, 4, 5}) {
            CHECK(run.y.at({0, 1, i, e}) == open.y.at({0, 1, i, e}));
            CHECK(run.dq.at({0, 1, i, e}) == open.dq.at({0, 1, i, e}));
          }
        }
        CHECK(run.lse.at({0, 1, 2}) == -INFINITY);
      }
    }
    // More queries than keys: the first ones see nothing.
    const Run causal({.queries = 5, .keys = 2, .d = 3, .d_v = 3, .options = {.causal = true}}, {});
    CHECK(causal.finite());
    CHECK((causal.y.at({0, 0, 2, 0}) == 0 && causal.y.at({0, 0, 3, 0}) != 0));
    const Run none({.queries = 3, .keys = 0, .d = 2, .d_v = 2}, {});
    check_close(none.y, Values(6), 0), check_close(none.dq, Values(6), 0);
  }
  TEST_CASE("R57 NaN and infinity in hidden keys and values do not leak") {
    for (const auto& [poison, dtype] :
         {std::pair(std::nan(""), f64), std::pair(std::nan(""), f32), std::pair<double, DType>(INFINITY, f64),
          std::pair<double, DType>(INFINITY, f32)}) {
      for (const bool causal : {false, true}) {
        Case c{.batch = 1,
               .heads = 2,
               .kv_heads = 1,
               .queries = 70,
               .keys = 70,
               .d = 4,
               .d_v = 4,
               .options = {.scale = 0.5, .causal = causal},
               .dtype = dtype};
        // Key 69 is hidden from all but, when causal, the last query.
        const Array mask = mask_of(c, boolean, [&](auto, auto, auto, auto j) { return causal || j != 69; });
        const View hidden = causal ? View{} : mask.view();
        const Run clean(c, hidden);
        Run dirty = clean;
        dirty.k = clean.k.clone(), dirty.v = clean.v.clone();
        for (std::int64_t e = 0; e < 4; ++e) {
          for (const Array* x : {&dirty.k, &dirty.v}) {
            if (dtype == f64) x->data<double>()[69 * 4 + e] = poison;
            if (dtype == f32) x->data<float>()[69 * 4 + e] = static_cast<float>(poison);
          }
        }
        dirty.go(c, hidden);
        const std::int64_t rows = causal ? 69 : 70;
        const double tolerance = dtype == f32 ? 1e-5 : 1e-12;
        check_close(dirty.y.slice(2, {0, rows}), clean.y.slice(2, {0, rows}), tolerance);
        check_close(dirty.dq.slice(2, {0, rows}), clean.dq.slice(2, {0, rows}), tolerance);
        if (!causal) {
          check_close(dirty.dk, clean.dk, tolerance), check_close(dirty.dv, clean.dv, tolerance);
        } else {
          CHECK(std::isnan(dirty.y.at({0, 0, 69, 0})));
        }
      }
    }
  }
  TEST_CASE(
      "R57 NaN in a query or its gradient does not reach keys that it does not see, nor other queries") {
    const std::int64_t row = 3, others = row + 1;
    for (const DType dtype : {f32, f64}) {
      const Case c{.queries = 70,
                   .keys = 70,
                   .d = 5,
                   .d_v = 5,
                   .options = {.scale = 0.5, .causal = true},
                   .dtype = dtype};
      const Run clean(c, {});
      for (const bool in_query : {false, true}) {
        Run dirty = clean;
        Array& poisoned = in_query ? dirty.q : dirty.dy;
        poisoned = poisoned.clone();
        poisoned.slice(2, {row, others}).copy_from(Array::full({1, 1, 1, 5}, std::nan(""), dtype));
        dirty.go(c, {});
        const double tolerance = dtype == f32 ? 1e-5 : 1e-12;
        const auto same_after = [&](const Array& got, const Array& want) {
          check_close(got.slice(2, {others, 70}), want.slice(2, {others, 70}), tolerance);
        };
        same_after(dirty.y, clean.y), same_after(dirty.dq, clean.dq);
        same_after(dirty.dk, clean.dk), same_after(dirty.dv, clean.dv);
        check_close(dirty.dq.slice(2, {0, row}), clean.dq.slice(2, {0, row}), tolerance);
        CHECK(std::isnan(dirty.dk.at({0, 0, row, 0})));
      }
    }
  }
  TEST_CASE("R58 an additive -inf gives exactly no weight") {
    const Case c{.queries = 4, .keys = 6, .d = 3, .d_v = 3, .dtype = f32};
    const Run run(c, mask_of(c, f32, [](auto, auto, auto, auto j) { return j != 1 && j != 4; }).view());
    for (const std::int64_t j : {1, 4}) {
      for (std::int64_t e = 0; e < 3; ++e)
        CHECK((run.dv.at({0, 0, j, e}) == 0 && run.dk.at({0, 0, j, e}) == 0));
    }
  }
  TEST_CASE("R59 a future token does not reach earlier rows, with a cap") {
    const Case c{.heads = 2,
                 .kv_heads = 2,
                 .queries = 66,
                 .keys = 66,
                 .d = 5,
                 .d_v = 5,
                 .options = {.scale = 1, .cap = 1, .causal = true},
                 .dtype = f32};
    const Run before(c, {});
    Run after = before;
    after.k = before.k.clone(), after.v = before.v.clone();
    for (std::int64_t e = 0; e < 5; ++e)
      after.k.data<float>()[65 * 5 + e] = after.v.data<float>()[65 * 5 + e] = 40;
    after.go(c, {});
    CHECK(same_bits(before.y.slice(2, {0, 65}).contiguous(), after.y.slice(2, {0, 65}).contiguous()));
    CHECK(before.y.at({0, 0, 65, 0}) != after.y.at({0, 0, 65, 0}));
  }
}

}  // namespace
}  // namespace norma::tests
