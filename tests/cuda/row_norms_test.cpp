// layer_norm, rms_norm and l2_norm on the device against the CPU.
#include "tests/cuda/compare.h"
#include "tests/cuda/device.h"

namespace norma::tests {
namespace {

const Shape row_shapes[] = {{1, 1}, {1, 5}, {3, 8}, {37, 33}, {20, 64}, {5, 1000}, {2, 5000}, {300, 7}};

/// What the rows are like: plain, a large mean, rows of equal entries, NaN in one row, huge, tiny.
enum class Kind { plain, large_mean, constant, nan, huge, tiny };
const Kind kinds[] = {Kind::plain, Kind::large_mean, Kind::constant, Kind::nan, Kind::huge, Kind::tiny};

Array rows_like(Kind kind, Draw& draw, const Shape& shape, DType dtype) {
  if (kind == Kind::large_mean) return draw(shape, 1e4, 1);
  if (kind == Kind::huge) return draw(shape, 0, 1e20);
  if (kind == Kind::tiny) return draw(shape, 0, 1e-25);
  Array x = draw(shape);
  if (kind == Kind::constant) x = Array::full(shape, 0.1, dtype);
  if (kind == Kind::nan) x.slice(0, {0, 1}).slice(1, {shape[1] / 2, shape[1] / 2 + 1}).fill(nan_value);
  return x;
}

void layer_norm_call(Call& call, const Array& x, const Array& residual, const Array& weight,
                     const Array& bias, double eps) {
  const Shape rows{x.shape()[0]};
  const View y = call.out(x.shape(), x.dtype()), sum = call.out(x.shape(), x.dtype(), residual.defined());
  const View mean = call.out(rows, f64), rstd = call.out(rows, f64);
  if (residual.defined()) {
    REQUIRE(call.kernels().add_layer_norm(y, sum, mean, rstd, call.in(x), call.in(residual), call.in(weight),
                                          call.in(bias), eps));
  } else {
    REQUIRE(call.kernels().layer_norm(y, mean, rstd, call.in(x), call.in(weight), call.in(bias), eps));
  }
}

/// Which gradients: bits 1 dx, 2 dweight, 4 dbias.
void layer_norm_backward_call(Call& call, const Array& x, const Array& dy, const Array& mean,
                              const Array& rstd, const Array& weight, Detached constants, int which) {
  const Shape columns{x.shape()[1]};
  const View dx = call.out(x.shape(), x.dtype(), which & 1);
  const View dweight = call.out(columns, x.dtype(), which & 2),
             dbias = call.out(columns, x.dtype(), which & 4);
  REQUIRE(call.kernels().layer_norm_backward(dx, dweight, dbias, call.in(dy), call.in(x), call.in(mean),
                                             call.in(rstd), call.in(weight), constants));
}

/// mean and rstd of the rows, by the CPU.
std::vector<Array> layer_statistics(const Array& x, double eps) {
  Call call(cpu);
  layer_norm_call(call, x, {}, {}, {}, eps);
  return call.outputs();
}

}  // namespace

TEST_SUITE_BEGIN("cuda row norms" * doctest::skip(no_device()));

TEST_CASE("cuda: layer norm of rows of all kinds") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : row_shapes) {
      for (const Kind kind : kinds) {
        CAPTURE(dtype);
        CAPTURE(detail::concat(shape));
        CAPTURE(static_cast<int>(kind));
        Draw draw(dtype, 1);
        const Array x = rows_like(kind, draw, shape, dtype), weight = draw({shape[1]}),
                    bias = draw({shape[1]});
        compare_devices(dtype, [&](Call& call) { layer_norm_call(call, x, {}, weight, bias, 1e-5); });
      }
    }
  }
}

TEST_CASE("cuda: layer norm without weight or bias, with a residual") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : row_shapes) {
      CAPTURE(dtype);
      CAPTURE(detail::concat(shape));
      Draw draw(dtype, 2);
      const Array x = draw(shape), residual = draw(shape, 1e4, 1), weight = draw({shape[1]}),
                  bias = draw({shape[1]});
      compare_devices(dtype, [&](Call& call) { layer_norm_call(call, x, {}, {}, {}, 1e-5); });
      compare_devices(dtype, [&](Call& call) { layer_norm_call(call, x, residual, weight, {}, 1e-5); });
      compare_devices(dtype, [&](Call& call) { layer_norm_call(call, x, residual, {}, bias, 1e-5); });
    }
  }
}

TEST_CASE("cuda: layer norm backward") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : row_shapes) {
      CAPTURE(dtype);
      CAPTURE(detail::concat(shape));
      Draw draw(dtype, 3);
      const Array weight = draw({shape[1]}), dy = draw(shape);
      for (const Kind kind : {Kind::plain, Kind::large_mean, Kind::constant, Kind::nan}) {
        const Array x = rows_like(kind, draw, shape, dtype);
        const std::vector<Array> saved = layer_statistics(x, 1e-5);
        compare_devices(dtype, [&](Call& call) {
          layer_norm_backward_call(call, x, dy, saved[1], saved[2], weight, {}, 7);
        });
      }
      const Array x = draw(shape);
      const std::vector<Array> saved = layer_statistics(x, 1e-5);
      for (int which = 0; which < 7; ++which) {
        CAPTURE(which);
        compare_devices(dtype, [&](Call& call) {
          layer_norm_backward_call(call, x, dy, saved[1], saved[2], {}, {}, which);
        });
      }
      for (const Detached constants : {Detached{true, false}, Detached{false, true}, Detached{true, true}}) {
        compare_devices(dtype, [&](Call& call) {
          layer_norm_backward_call(call, x, dy, saved[1], saved[2], weight, constants, 7);
        });
      }
    }
  }
}

TEST_CASE("cuda: layer norm of a few long rows, in pieces by all of the device") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : {Shape{2, 32768}, Shape{1, 33001}}) {
      CAPTURE(dtype);
      CAPTURE(detail::concat(shape));
      Draw draw(dtype, 10);
      const Array x = draw(shape, 1e4, 1), residual = draw(shape), weight = draw({shape[1]}),
                  bias = draw({shape[1]}), dy = draw(shape, 1, 1);
      compare_devices(dtype, [&](Call& call) { layer_norm_call(call, x, {}, weight, bias, 1e-5); });
      compare_devices(dtype, [&](Call& call) { layer_norm_call(call, x, residual, {}, bias, 1e-5); });
      const std::vector<Array> saved = layer_statistics(x, 1e-5);
      for (const Array& w : {weight, Array()}) {
        compare_devices(
            dtype, [&](Call& call) { layer_norm_backward_call(call, x, dy, saved[1], saved[2], w, {}, 7); });
        compare_devices(dtype, [&](Call& call) {
          layer_norm_backward_call(call, x, dy, saved[1], saved[2], w, {true, false}, 1);
        });
        compare_devices(dtype, [&](Call& call) {
          layer_norm_backward_call(call, x, dy, saved[1], saved[2], w, {false, true}, 1);
        });
      }
    }
  }
}

TEST_CASE("cuda: layer norm of no rows, and its gradients of parameters") {
  compare_devices(f32, [&](Call& call) {
    const Array x = Array::empty({0, 6}), none = Array::empty({0}, f64);
    layer_norm_call(call, x, {}, Array::ones({6}), {}, 1e-5);
    layer_norm_backward_call(call, x, x, none, none, Array::ones({6}), {}, 7);
  });
}

TEST_CASE("cuda: gradients of parameters over many rows") {
  for (const Shape& shape : {Shape{3000, 3}, Shape{1500, 40}}) {
    Draw draw(f32, 4);
    const Array x = draw(shape, 100, 1), dy = draw(shape, 1, 1);
    const std::vector<Array> saved = layer_statistics(x, 1e-5);
    compare_devices(
        f32, [&](Call& call) { layer_norm_backward_call(call, x, dy, saved[1], saved[2], {}, {}, 6); });
  }
}

TEST_CASE("cuda: rms norm, both places of eps, all and some entries counted") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : row_shapes) {
      for (const Kind kind : kinds) {
        for (const bool inside : {true, false}) {
          CAPTURE(dtype);
          CAPTURE(detail::concat(shape));
          CAPTURE(static_cast<int>(kind));
          CAPTURE(inside);
          Draw draw(dtype, 5);
          const Array x = rows_like(kind, draw, shape, dtype), weight = draw({shape[1]}), dy = draw(shape);
          for (const std::int64_t counted : {shape[1], (shape[1] + 2) / 3}) {
            const double eps = 1e-6;
            const auto forward = [&](Call& call) {
              const View y = call.out(shape, dtype), rstd = call.out({shape[0]}, f64);
              REQUIRE(call.kernels().rms_norm(y, rstd, call.in(x), call.in(weight), eps, inside, counted));
            };
            compare_devices(dtype, forward);
            if (kind == Kind::huge || kind == Kind::tiny) continue;
            Call saved(cpu);
            forward(saved);
            const Array rstd = saved.outputs()[1];
            for (const int which : {1, 2, 3}) {
              CAPTURE(which);
              compare_devices(dtype, [&](Call& call) {
                const View dx = call.out(shape, dtype, which & 1);
                const View dweight = call.out({shape[1]}, dtype, which & 2);
                REQUIRE(call.kernels().rms_norm_backward(dx, dweight, call.in(dy), call.in(x), call.in(rstd),
                                                         which == 1 ? View{} : call.in(weight), eps, inside,
                                                         counted));
              });
            }
          }
        }
      }
    }
  }
}

TEST_CASE("cuda: rms norm with a residual; zero rows") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : row_shapes) {
      CAPTURE(dtype);
      CAPTURE(detail::concat(shape));
      Draw draw(dtype, 6);
      const Array residual = draw(shape), weight = draw({shape[1]});
      for (const Array& x : {draw(shape), Array::zeros(shape, dtype)}) {
        compare_devices(dtype, [&](Call& call) {
          const View y = call.out(shape, dtype), sum = call.out(shape, dtype),
                     rstd = call.out({shape[0]}, f64);
          REQUIRE(call.kernels().add_rms_norm(y, sum, rstd, call.in(x), call.in(residual), call.in(weight),
                                              1e-6, true));
        });
      }
      const Array zero = Array::zeros(shape, dtype);
      compare_devices(dtype, [&](Call& call) {
        const View y = call.out(shape, dtype), rstd = call.out({shape[0]}, f64);
        REQUIRE(call.kernels().rms_norm(y, rstd, call.in(zero), {}, 1e-6, false, shape[1]));
      });
    }
  }
}

TEST_CASE("cuda: l2 norm") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : row_shapes) {
      for (const Kind kind : kinds) {
        for (const double eps : {1e-12, 2.0}) {
          CAPTURE(dtype);
          CAPTURE(detail::concat(shape));
          CAPTURE(static_cast<int>(kind));
          CAPTURE(eps);
          Draw draw(dtype, 7);
          const Array x = rows_like(kind, draw, shape, dtype), weight = draw({1}), dy = draw(shape);
          const auto forward = [&](Call& call) {
            const View y = call.out(shape, dtype), norm = call.out({shape[0]}, f64);
            REQUIRE(call.kernels().l2_norm(y, norm, call.in(x), call.in(weight), eps));
          };
          compare_devices(dtype, forward);
          if (kind == Kind::huge || kind == Kind::tiny) continue;
          Call saved(cpu);
          forward(saved);
          const Array norm = saved.outputs()[1];
          for (const int which : {1, 2, 3}) {
            compare_devices(dtype, [&](Call& call) {
              const View dx = call.out(shape, dtype, which & 1), dweight = call.out({1}, dtype, which & 2);
              REQUIRE(call.kernels().l2_norm_backward(dx, dweight, call.in(dy), call.in(x), call.in(norm),
                                                      which == 1 ? View{} : call.in(weight), eps));
            });
          }
        }
      }
    }
  }
}

TEST_CASE("cuda: l2 norm of more rows than one block adds up") {
  const Shape shape{9000, 2};
  Draw draw(f32, 8);
  const Array x = draw(shape), dy = draw(shape, 1, 1), norm = draw({9000}, 2, 0.1).to(f64);
  compare_devices(f32, [&](Call& call) {
    const View dx = call.out(shape, f32), dweight = call.out({1}, f32);
    REQUIRE(call.kernels().l2_norm_backward(dx, dweight, call.in(dy), call.in(x), call.in(norm), {}, 1e-12));
  });
}

TEST_CASE("cuda: rows at addresses that packs of 16 bytes cannot have") {
  for (const DType dtype : {f32, f64}) {
    Draw draw(dtype, 9);
    const Shape shape{3, 8};
    const Array all = draw({25}), weights = draw({9});
    std::vector<Array> results;
    for (const Device device : {cpu, cuda}) {
      const Array x = all.to(device).slice(0, {1, 25}).reshape(shape);
      const Array weight = weights.to(device).slice(0, {1, 9});
      const Array y = Array::empty({25}, dtype, device).slice(0, {1, 25}).reshape(shape);
      const Array mean = Array::empty({3}, f64, device), rstd = Array::empty({3}, f64, device);
      REQUIRE(x.is_contiguous());
      REQUIRE(
          backend(device).layer_norm(y.view(), mean.view(), rstd.view(), x.view(), weight.view(), {}, 1e-5));
      results.push_back(y.to(cpu));
    }
    check_close(results[1], results[0], tolerance_of(dtype));
  }
}

TEST_SUITE_END();

}  // namespace norma::tests
