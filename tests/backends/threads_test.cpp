// R95: every kernel gives the same bits for 1, 2, 3 and 4 threads, and does no harm inside a parallel region.
#include "tests/threads.h"
#include "tests/backends/arrays.h"

namespace norma::tests {
namespace {

Backend& kernels() { return backend(cpu); }

/// Runs `make` (which returns arrays) with each number of threads and compares all bits.
template <class Make>
void check_threads(const char* what, Make&& make) {
  CAPTURE(what);
  const Threads restore(1);
  const std::vector<Array> want = make();
  for (const int threads : {2, 3, 4}) {
    set_num_threads(threads);
    const std::vector<Array> got = make();
    for (std::size_t i = 0; i < want.size(); ++i) CHECK(same_bits(got[i], want[i]));
  }
}

TEST_SUITE("kernels threads") {
  TEST_CASE("R95 reductions") {
    for (const Shape& shape : {Shape{1, 3000000}, Shape{3000, 1000}, Shape{100000, 7}}) {
      const Array x = normal(shape, f32, 1);
      for (const int axis : {0, 1, 2}) {
        check_threads("reduce", [&] {
          const Array y = Array::empty({axis == 1 ? shape[0] : 1, axis == 0 ? shape[1] : 1}, f32);
          kernels().reduce(Reduce::sum, y.view(), x.view());
          return std::vector{y};
        });
      }
      check_threads("sum_of_squares", [&] {
        const View views[] = {x.view()};
        const Array sum = Array::empty({1}, f64);
        kernels().sum_of_squares(sum.view(), views);
        return std::vector{sum};
      });
    }
  }
  TEST_CASE("R95 elementwise ops and their gradients, whole and with gaps") {
    for (const DType dtype : {f32, f64}) {
      const Array x = normal({4097, 17}, dtype, 1), dy = normal({4097, 17}, dtype, 2);
      for (const Array& v : {x, x.slice(1, {0, 17, 2})}) {
        const Array g = dy.slice(1, {0, v.shape()[1]});
        const auto like = [&] { return Array::empty(v.shape(), dtype); };
        check_threads("elementwise", [&] {
          const Array y = like(), sum = like(), dx = like(), da = like();
          kernels().unary(Unary::softplus, y.view(), v.view(), 0, 0);
          kernels().binary(Binary::add, sum.view(), v.view(), g.view());
          CHECK(kernels().unary_gradient(Unary::erf, dx.view(), g.view(), v.view(), 0, 0));
          CHECK(kernels().binary_gradient(Binary::maximum, 1, da.view(), g.view(), v.view(), y.view()));
          return std::vector{y, sum, dx, da};
        });
      }
    }
  }
  TEST_CASE("R95 norms: statistics, outputs and parameter gradients") {
    const Array x = normal({3000, 200}, f32, 1, 1), dy = normal({3000, 200}, f32, 2),
                w = normal({200}, f32, 3);
    check_threads("norms", [&] {
      const Array y = Array::empty(x.shape(), f32), mean = Array::empty({3000}, f64),
                  rstd = Array::empty({3000}, f64);
      const Array dx = Array::empty(x.shape(), f32), dw = Array::empty({200}, f32),
                  db = Array::empty({200}, f32);
      const Array dx2 = Array::empty(x.shape(), f32), dw2 = Array::empty({200}, f32),
                  rms = Array::empty({3000}, f64);
      kernels().layer_norm(y.view(), mean.view(), rstd.view(), x.view(), w.view(), {}, 1e-5);
      kernels().layer_norm_backward(dx.view(), dw.view(), db.view(), dy.view(), x.view(), mean.view(),
                                    rstd.view(), w.view(), {});
      const Array y2 = Array::empty(x.shape(), f32);
      kernels().rms_norm(y2.view(), rms.view(), x.view(), w.view(), 1e-6, false, 200);
      kernels().rms_norm_backward(dx2.view(), dw2.view(), dy.view(), x.view(), rms.view(), w.view(), 1e-6,
                                  false, 200);
      return std::vector{y, mean, rstd, dx, dw, db, y2, rms, dx2, dw2};
    });
  }
  TEST_CASE("R95 norms over channels: statistics, outputs and gradients") {
    for (const Shape& shape :
         {Shape{3000, 70, 1}, Shape{300, 70, 9}, Shape{40, 70, 100}, Shape{1, 2, 200000}}) {
      const std::int64_t channels = shape[1];
      const Array x = normal(shape, f32, 1, 1), dy = normal(shape, f32, 2), w = normal({channels}, f32, 3);
      check_threads("norms over channels", [&] {
        const auto like = [](const Array& a) { return Array::empty(a.shape(), a.dtype()); };
        const Array mean = Array::empty({channels}, f64), var = like(mean), y = like(x), dx = like(x),
                    dw = like(w), db = like(w);
        kernels().batch_statistics(mean.view(), var.view(), x.view(), {});
        kernels().batch_norm(y.view(), x.view(), {}, mean.view(), var.view(), w.view(), w.view());
        kernels().batch_norm_backward(dx.view(), dw.view(), db.view(), dy.view(), x.view(), {}, mean.view(),
                                      var.view(), w.view(), false);
        const Array mean2 = Array::empty({shape[0], 2}, f64), rstd = like(mean2), y2 = like(x), dx2 = like(x),
                    dw2 = like(w), db2 = like(w);
        kernels().group_norm(y2.view(), mean2.view(), rstd.view(), x.view(), w.view(), w.view(), 2, 1e-5);
        kernels().group_norm_backward(dx2.view(), dw2.view(), db2.view(), dy.view(), x.view(), mean2.view(),
                                      rstd.view(), w.view(), 2);
        return std::vector{mean, var, y, dx, dw, db, mean2, rstd, y2, dx2, dw2, db2};
      });
    }
  }
  TEST_CASE("R95 products of many shapes") {
    for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{2048, 192, 192},
                                  {1, 3000, 2000},
                                  {3000, 1, 2000},
                                  {333, 777, 555},
                                  {192, 192, 2048}}) {
      for (const DType dtype : {f32, f64}) {
        const Array a = normal({m, k}, dtype, 1), b = normal({n, k}, dtype, 2).transpose(0, 1);
        check_threads("matmul", [&] {
          const Array c = Array::empty({a.shape()[0], b.shape()[1]}, dtype);
          kernels().matmul(c.view(), a.view(), b.view(), 1, 0);
          return std::vector{c};
        });
      }
    }
    const Array a = normal({40, 65, 33}, f32, 1), b = normal({40, 33, 70}, f32, 2);
    check_threads("batched", [&] {
      const Array c = Array::empty({40, 65, 70}, f32);
      kernels().matmul(c.view(), a.view(), b.view(), 1, 0);
      return std::vector{c};
    });
  }
  TEST_CASE("R95 losses, softmax, embedding, random numbers and the optimizer") {
    const Array x = normal({700, 301}, f32, 1), dy = normal({700, 301}, f32, 2);
    std::vector<std::int64_t> labels;
    for (std::int64_t r = 0; r < 700; ++r) labels.push_back(r * r % 301);
    const Array targets = Array::from(labels, {700});
    check_threads("losses and others", [&] {
      const auto like = [](const Array& a) { return Array::empty(a.shape(), a.dtype()); };
      const Array y = like(x), dx = like(x), losses = Array::empty({700}, f32),
                  lse = Array::empty({700}, f64);
      const Array dlogits = like(x), table = Array::zeros({301, 301}, f32), dropped = like(x),
                  drawn = like(x), kept = Array::zeros({(x.numel() + 63) / 64}, i64);
      const Array w = x.clone(), m = Array::zeros(x.shape(), f32), v = Array::zeros(x.shape(), f32);
      kernels().softmax(y.view(), x.view(), false);
      kernels().softmax_backward(dx.view(), y.view(), dy.view(), false);
      kernels().cross_entropy(losses.view(), lse.view(), x.view(), targets.view(), -100, 0.1);
      kernels().cross_entropy_backward(dlogits.view(), losses.view(), lse.view(), x.view(), targets.view(),
                                       -100, 0.1);
      kernels().embedding_backward(table.view(), dy.view(), targets.view());
      kernels().dropout(dropped.view(), kept.view(), x.view(), {5, 6}, 0.2);
      kernels().random(Random::normal, drawn.view(), {5, 6}, 0, 1);
      kernels().adam(std::vector<AdamTensors>{{w.view(), dy.view(), m.view(), v.view()}},
                     {1e-3, 0.9, 0.999, 1e-8, 0.01, 0.1, 0.001, true});
      return std::vector{y, dx, losses, lse, dlogits, table, dropped, kept, drawn, w, m, v};
    });
    check_threads("scatter_add", [&] {
      const Array sums = Array::zeros({301, 301}, f32), index = targets.unsqueeze(1).expand({700, 301});
      kernels().scatter_add(sums.view(), dy.view(), index.view(), 0, "scatter_add");
      return std::vector{sums};
    });
  }
  TEST_CASE("R95 attention") {
    const Shape shape{2, 4, 200, 16}, kv{2, 2, 200, 16};
    const Array q = normal(shape, f32, 1), k = normal(kv, f32, 2), v = normal(kv, f32, 3),
                dy = normal(shape, f32, 4);
    check_threads("attention", [&] {
      const Array y = Array::empty(shape, f32), lse = Array::empty({2, 4, 200}, f64);
      const Array dq = Array::empty(shape, f32), dk = Array::empty(kv, f32), dv = Array::empty(kv, f32);
      const AttentionOptions options{.scale = 0.25, .causal = true};
      kernels().attention(y.view(), lse.view(), q.view(), k.view(), v.view(), {}, options);
      kernels().attention_backward(dq.view(), dk.view(), dv.view(), dy.view(), y.view(), lse.view(), q.view(),
                                   k.view(), v.view(), {}, options);
      return std::vector{y, lse, dq, dk, dv};
    });
  }
  TEST_CASE("R98 kernels called inside a parallel region") {
    const Array a = normal({200, 300}, f32, 1), b = normal({300, 100}, f32, 2),
                want = Array::empty({200, 100}, f32);
    kernels().matmul(want.view(), a.view(), b.view(), 1, 0);
    std::vector<Array> got;
    for (int i = 0; i < 8; ++i) got.push_back(Array::empty({200, 100}, f32));
    parallel_for(8, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        kernels().matmul(got[static_cast<std::size_t>(i)].view(), a.view(), b.view(), 1, 0);
    });
    for (const Array& c : got) CHECK(same_bits(c, want));
  }
  TEST_CASE("R82 kernels ask the system for no memory once warm") {
    const Array x = normal({500, 64}, f32, 1), dy = normal({500, 64}, f32, 2),
                dx = Array::empty({500, 64}, f32);
    const Array dw = Array::empty({64}, f32), db = Array::empty({64}, f32), rstd = Array::ones({500}, f64),
                mean = Array::zeros({500}, f64);
    const auto step = [&] {
      kernels().layer_norm_backward(dx.view(), dw.view(), db.view(), dy.view(), x.view(), mean.view(),
                                    rstd.view(), {}, {});
      kernels().reduce(Reduce::sum, dw.unsqueeze(0).view(), x.view());
      const Array strided = x.transpose(0, 1).slice(0, {0, 64, 2});
      kernels().matmul(Array::empty({32, 64}, f32).view(), strided.view(), dy.view(), 1, 0);
    };
    for (int i = 0; i < 5; ++i) step();
    const std::int64_t before = memory_stats(cpu).system_allocations;
    for (int i = 0; i < 20; ++i) step();
    CHECK(memory_stats(cpu).system_allocations == before);
  }
}

}  // namespace
}  // namespace norma::tests
