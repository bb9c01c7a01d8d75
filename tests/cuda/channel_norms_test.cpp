// batch_statistics, batch_norm and group_norm on the device against the CPU.
#include "tests/cuda/compare.h"
#include "tests/cuda/device.h"
#if NORMA_CUDA_EMULATED
#  include "backends/cuda/emulator/emulator.h"
#endif

namespace norma::tests {
namespace {

// [n, channels, inner]: columns (short inner), planes (long inner), pieces of planes, few and many channels.
const Shape channel_shapes[] = {{1, 1, 1},  {2, 3, 1},    {64, 6, 1},  {700, 3, 1}, {3, 4, 7},  {2, 6, 40},
                                {4, 3, 33}, {2, 2, 9000}, {1, 40, 64}, {70, 2, 2},  {5, 70, 1}, {1, 4, 9001}};

struct Statistics {
  Array mean, rstd;
};

void statistics_call(Call& call, const Array& x, const Array& mask) {
  const Shape channels{x.shape()[1]};
  const View mean = call.out(channels, f64), var = call.out(channels, f64);
  REQUIRE(call.kernels().batch_statistics(mean, var, call.in(x), call.in(mask)));
}

Statistics statistics_of(const Array& x, const Array& mask) {
  Call call(cpu);
  statistics_call(call, x, mask);
  Array rstd = call.outputs()[1];
  for (std::int64_t c = 0; c < rstd.numel(); ++c)
    rstd.data<double>()[c] = 1 / std::sqrt(rstd.data<double>()[c] + 1e-5);
  return {call.outputs()[0], rstd};
}

Array masked(Draw& draw, const Array& x, bool wanted) {
  return wanted ? draw.mask({x.shape()[0], x.shape()[2]}) : Array();
}

}  // namespace

TEST_SUITE_BEGIN("cuda channel norms" * doctest::skip(no_device()));

TEST_CASE("cuda: batch statistics, with and without a mask") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : channel_shapes) {
      for (const bool with_mask : {false, true}) {
        CAPTURE(dtype);
        CAPTURE(detail::concat(shape));
        CAPTURE(with_mask);
        Draw draw(dtype, 1);
        for (const double mean : {0.0, 1e4}) {
          const Array x = draw(shape, mean, 1), mask = masked(draw, x, with_mask);
          compare_devices(dtype, [&](Call& call) { statistics_call(call, x, mask); });
        }
        const Array constant = Array::full(shape, 0.1, dtype), mask = masked(draw, constant, with_mask);
        compare_devices(dtype, [&](Call& call) { statistics_call(call, constant, mask); });
        for (const double size : {1e25, 1e-25}) {
          const Array x = draw(shape, 0, size);
          compare_devices(dtype, [&](Call& call) { statistics_call(call, x, mask); });
        }
      }
    }
  }
}

TEST_CASE("cuda: batch statistics of nothing, and NaN where it does not count") {
  const Array none = Array::empty({0, 3, 2});
  compare_devices(f32, [&](Call& call) { statistics_call(call, none, {}); });
  for (const Shape& shape : {Shape{4, 3, 1}, Shape{2, 3, 50}}) {
    Draw draw(f32, 2);
    const Array x = draw(shape);
    Array mask = Array::full({shape[0], shape[2]}, 0, boolean);
    compare_devices(f32, [&](Call& call) { statistics_call(call, x, mask); });
    mask = Array::full({shape[0], shape[2]}, 1, boolean);
    mask.slice(0, {0, 1}).fill(0);
    x.slice(0, {0, 1}).fill(nan_value);
    compare_devices(f32, [&](Call& call) { statistics_call(call, x, mask); });
    x.slice(1, {1, 2}).fill(nan_value);  // one channel is NaN, its neighbours are not
    compare_devices(f32, [&](Call& call) { statistics_call(call, x, mask); });
  }
}

TEST_CASE("cuda: batch norm") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : channel_shapes) {
      for (const bool with_mask : {false, true}) {
        CAPTURE(dtype);
        CAPTURE(detail::concat(shape));
        CAPTURE(with_mask);
        Draw draw(dtype, 3);
        const Array x = draw(shape, 1e4, 1), mask = masked(draw, x, with_mask);
        const Array weight = draw({shape[1]}), bias = draw({shape[1]});
        const Statistics saved = statistics_of(x, mask);
        for (const bool affine : {true, false}) {
          compare_devices(dtype, [&](Call& call) {
            const View y = call.out(shape, dtype);
            REQUIRE(call.kernels().batch_norm(y, call.in(x), call.in(mask), call.in(saved.mean),
                                              call.in(saved.rstd), affine ? call.in(weight) : View{},
                                              affine ? call.in(bias) : View{}));
          });
        }
      }
    }
  }
}

TEST_CASE("cuda: batch norm backward, statistics of the batch or constant") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : channel_shapes) {
      for (const bool with_mask : {false, true}) {
        Draw draw(dtype, 4);
        const Array x = draw(shape, 100, 1), mask = masked(draw, x, with_mask), dy = draw(shape, 1, 1),
                    weight = draw({shape[1]});
        const Statistics saved = statistics_of(x, mask);
        for (const bool constant : {false, true}) {
          for (int which = 0; which < 8; ++which) {
            CAPTURE(dtype);
            CAPTURE(detail::concat(shape));
            CAPTURE(with_mask);
            CAPTURE(constant);
            CAPTURE(which);
            compare_devices(dtype, [&](Call& call) {
              const View dx = call.out(shape, dtype, which & 1);
              const View dweight = call.out({shape[1]}, dtype, which & 2);
              const View dbias = call.out({shape[1]}, dtype, which & 4);
              REQUIRE(call.kernels().batch_norm_backward(
                  dx, dweight, dbias, call.in(dy), call.in(x), call.in(mask), call.in(saved.mean),
                  call.in(saved.rstd), which == 1 ? View{} : call.in(weight), constant));
            });
          }
        }
      }
    }
  }
}

TEST_CASE("cuda: groups of one value have no gradient") {
  for (const Device device : {cuda, cpu}) {
    for (const DType dtype : {f32, f64}) {
      for (const Shape& shape : {Shape{1, 1, 1}, Shape{5, 70, 1}, Shape{3, 1, 1}}) {
        CAPTURE(device);
        CAPTURE(dtype);
        Draw draw(dtype, 7);
        const Array x = draw(shape), dy = draw(shape), weight = draw({shape[1]}), mean = x.to(f64),
                    rstd = Array::full({shape[0], shape[1]}, 300, f64);
        Call call(device);
        const View dx = call.out(shape, dtype);
        REQUIRE(call.kernels().group_norm_backward(dx, {}, {}, call.in(dy), call.in(x), call.in(mean),
                                                   call.in(rstd), call.in(weight), shape[1]));
        for (const double value : values_of(call.outputs()[0])) CHECK(value == 0);
      }
    }
  }
}

TEST_CASE("cuda: group norm and its gradients") {
  for (const DType dtype : {f32, f64}) {
    for (const Shape& shape : channel_shapes) {
      for (std::int64_t groups = 1; groups <= shape[1]; ++groups) {
        if (shape[1] % groups != 0 || (groups > 6 && groups < shape[1])) continue;
        CAPTURE(dtype);
        CAPTURE(detail::concat(shape));
        CAPTURE(groups);
        Draw draw(dtype, 5);
        const Array x = draw(shape, 1e3, 1), dy = draw(shape), weight = draw({shape[1]}),
                    bias = draw({shape[1]});
        const Shape runs{shape[0], groups};
        const auto forward = [&](Call& call, bool affine) {
          const View y = call.out(shape, dtype), mean = call.out(runs, f64), rstd = call.out(runs, f64);
          REQUIRE(call.kernels().group_norm(y, mean, rstd, call.in(x), affine ? call.in(weight) : View{},
                                            affine ? call.in(bias) : View{}, groups, 1e-5));
        };
        compare_devices(dtype, [&](Call& call) { forward(call, true); });
        compare_devices(dtype, [&](Call& call) { forward(call, false); });
        Call saved(cpu);
        forward(saved, false);
        const Array mean = saved.outputs()[1], rstd = saved.outputs()[2];
        for (const int which : {1, 2, 5, 6, 7}) {
          CAPTURE(which);
          compare_devices(dtype, [&](Call& call) {
            const View dx = call.out(shape, dtype, which & 1);
            const View dweight = call.out({shape[1]}, dtype, which & 2);
            const View dbias = call.out({shape[1]}, dtype, which & 4);
            REQUIRE(call.kernels().group_norm_backward(dx, dweight, dbias, call.in(dy), call.in(x),
                                                       call.in(mean), call.in(rstd),
                                                       which == 1 ? View{} : call.in(weight), groups));
          });
        }
      }
    }
  }
}

#if NORMA_CUDA_EMULATED
TEST_CASE("cuda: no results depend on the order of threads") {
  Draw draw(f32, 6);
  const Shape shape{9, 5, 41};
  const Array x = draw(shape, 3, 1), dy = draw(shape), weight = draw({5});
  const Statistics saved = statistics_of(x, {});
  std::vector<std::vector<double>> results;
  const std::uint64_t seed = emulator::fiber_seed();
  for (const std::uint64_t order : {0u, 1u, 2u}) {
    emulator::set_fiber_seed(order);
    Call call(cuda);
    statistics_call(call, x, {});
    const View dx = call.out(shape, f32), dweight = call.out({5}, f32), dbias = call.out({5}, f32);
    REQUIRE(call.kernels().batch_norm_backward(dx, dweight, dbias, call.in(dy), call.in(x), {},
                                               call.in(saved.mean), call.in(saved.rstd), call.in(weight),
                                               false));
    std::vector<double> all;
    for (const Array& output : call.outputs()) {
      const std::vector<double> values = values_of(output);
      all.insert(all.end(), values.begin(), values.end());
    }
    results.push_back(all);
  }
  emulator::set_fiber_seed(seed);
  CHECK(results[0] == results[1]);
  CHECK(results[0] == results[2]);
}
#endif

TEST_SUITE_END();

}  // namespace norma::tests
