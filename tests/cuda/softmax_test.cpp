// softmax, cross_entropy, gelu and silu on the device against the CPU.
#include "tests/cuda/compare.h"
#include "tests/cuda/device.h"

namespace norma::tests {
namespace {

const Shape row_shapes[] = {{1, 1}, {1, 5}, {3, 8}, {37, 33}, {20, 64}, {5, 1000}, {2, 5000}, {300, 7}};
constexpr double infinity = std::numeric_limits<double>::infinity();

/// 0: plain; 1: large; 2: many entries of -inf; 3: a row of -inf; 4: NaN; 5: +inf.
Array logits_of(int kind, Draw& draw, const Shape& shape) {
  Array x = kind == 1 ? draw(shape, 1e4, 100) : draw(shape, 0, 3);
  if (kind == 2 && shape[1] > 1) x.slice(1, {0, shape[1] - shape[1] / 3}).fill(-infinity);
  if (kind == 3) x.slice(0, {0, 1}).fill(-infinity);
  if (kind == 4) x.slice(0, {0, 1}).slice(1, {0, 1}).fill(nan_value);
  if (kind == 5) x.slice(0, {0, 1}).slice(1, {0, 1}).fill(infinity);
  return x;
}

}  // namespace

TEST_SUITE_BEGIN("cuda softmax" * doctest::skip(no_device()));

TEST_CASE("cuda: softmax and log softmax") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : row_shapes) {
      for (int kind = 0; kind < 6; ++kind) {
        for (const bool log : {false, true}) {
          CAPTURE(dtype);
          CAPTURE(detail::concat(shape));
          CAPTURE(kind);
          CAPTURE(log);
          Draw draw(dtype, 1);
          const Array x = logits_of(kind, draw, shape), dy = draw(shape);
          const auto forward = [&](Call& call) {
            const View y = call.out(shape, dtype);
            REQUIRE(call.kernels().softmax(y, call.in(x), log));
          };
          compare_devices(dtype, forward);
          if (kind >= 2) continue;
          Call saved(cpu);
          forward(saved);
          const Array y = saved.outputs()[0];
          compare_devices(dtype, [&](Call& call) {
            const View dx = call.out(shape, dtype);
            REQUIRE(call.kernels().softmax_backward(dx, call.in(y), call.in(dy), log));
          });
        }
      }
    }
  }
}

TEST_CASE("cuda: cross-entropy, ignored targets, smoothing") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : row_shapes) {
      for (int kind = 0; kind < 6; ++kind) {
        for (const double smoothing : {0.0, 0.1}) {
          CAPTURE(dtype);
          CAPTURE(detail::concat(shape));
          CAPTURE(kind);
          CAPTURE(smoothing);
          Draw draw(dtype, 2);
          const Array logits = logits_of(kind, draw, shape), dlosses = draw({shape[0]});
          const Array targets = Array::empty({shape[0]}, i64);
          for (std::int64_t r = 0; r < shape[0]; ++r) {
            targets.data<std::int64_t>()[r] = r % 5 == 3 ? -100 : (r * 7 + shape[1] - 1) % shape[1];
          }
          const auto forward = [&](Call& call) {
            const View losses = call.out({shape[0]}, dtype), lse = call.out({shape[0]}, f64);
            REQUIRE(call.kernels().cross_entropy(losses, lse, call.in(logits), call.in(targets), -100,
                                                 smoothing));
          };
          compare_devices(dtype, forward);
          Call saved(cpu);
          forward(saved);
          const Array lse = saved.outputs()[1];
          compare_devices(dtype, [&](Call& call) {
            const View dlogits = call.out(shape, dtype);
            REQUIRE(call.kernels().cross_entropy_backward(
                dlogits, call.in(dlosses), call.in(lse), call.in(logits), call.in(targets), -100, smoothing));
          });
        }
      }
    }
  }
}

TEST_CASE("cuda: a target out of range is reported at the next synchronization") {
  Draw draw(f32, 3);
  const Array logits = draw({4, 6}).to(cuda);
  const Array targets = Array::from(std::vector<std::int64_t>{0, 6, 2, -3}, {4}, cuda);
  const Array losses = Array::empty({4}, f32, cuda), lse = Array::empty({4}, f64, cuda);
  REQUIRE(backend(cuda).cross_entropy(losses.view(), lse.view(), logits.view(), targets.view(), -100, 0));
  CHECK_THROWS_WITH_AS(backend(cuda).synchronize(),
                       "cross_entropy: target 6 at position 1 is outside [0, 6) "
                       "(reported at the next synchronization)",
                       Error);
  CHECK(losses.to(cpu).at({1}) == 0);
  CHECK(losses.to(cpu).at({0}) > 0);

  for (const std::int64_t classes : {6, 3000}) {  // a part of a warp and a block for each row
    CAPTURE(classes);
    const Array wide = draw({3, classes}).to(cuda), dlogits = Array::empty({3, classes}, f32, cuda);
    const Array bad = Array::from(std::vector<std::int64_t>{1, -100, classes}, {3}, cuda);
    const Array ones = Array::ones({3}, f32, cuda), some_lse = Array::full({3}, 9, f64, cuda);
    REQUIRE(backend(cuda).cross_entropy_backward(dlogits.view(), ones.view(), some_lse.view(), wide.view(),
                                                 bad.view(), -100, 0.1));
    CHECK_THROWS_WITH_AS(backend(cuda).synchronize(),
                         detail::concat("cross_entropy: target ", classes, " at position 2 is outside [0, ",
                                        classes, ") (reported at the next synchronization)")
                             .c_str(),
                         Error);
    const Array ignored_and_bad = dlogits.to(cpu).slice(0, {1, 3});
    for (const double value : values_of(ignored_and_bad)) CHECK(value == 0);
    CHECK(dlogits.at({0, 1}) != 0);
  }
}

TEST_CASE("cuda: gelu and silu") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : {Shape{1}, Shape{3, 8}, Shape{37, 33}}) {
      CAPTURE(dtype);
      CAPTURE(detail::concat(shape));
      Draw draw(dtype, 4);
      const Array x = draw(shape, 0, 4), dy = draw(shape);
      x.reshape(Shape{x.numel()}).slice(0, {0, 1}).fill(shape.numel() == 1 ? -infinity : nan_value);
      for (const bool tanh_form : {false, true}) {
        compare_devices(dtype, [&](Call& call) {
          REQUIRE(call.kernels().gelu(call.out(shape, dtype), call.in(x), tanh_form));
        });
        compare_devices(dtype, [&](Call& call) {
          REQUIRE(call.kernels().gelu_backward(call.out(shape, dtype), call.in(x), call.in(dy), tanh_form));
        });
      }
      compare_devices(dtype,
                      [&](Call& call) { REQUIRE(call.kernels().silu(call.out(shape, dtype), call.in(x))); });
      compare_devices(dtype, [&](Call& call) {
        REQUIRE(call.kernels().silu_backward(call.out(shape, dtype), call.in(x), call.in(dy)));
      });
    }
  }
}

TEST_SUITE_END();

}  // namespace norma::tests
