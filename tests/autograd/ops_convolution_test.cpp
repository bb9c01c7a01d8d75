// Convolutions against plain loops, their messages, empty batches, chunks and threads.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

#include "autograd/convolution.h"
#include "tests/messages.h"
#include "tests/threads.h"

using namespace norma;
using norma::tests::Threads;

namespace {

Tensor drawn(const Shape& shape, std::uint64_t seed, DType dtype = f64) {
  Generator generator(seed);
  return randn(shape, dtype, cpu, &generator);
}

/// The definition of a convolution, in seven loops.
Tensor plain_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o) {
  const std::int64_t n = x.size(0), h = x.size(2), w = x.size(3), out = weight.size(0),
                     per_group = weight.size(1), kh = weight.size(2), kw = weight.size(3);
  const auto places = [](std::int64_t extent, std::int64_t kernel, std::int64_t stride, std::int64_t padding,
                         std::int64_t dilation) {
    return (extent + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
  };
  const std::int64_t oh = places(h, kh, o.stride.height, o.padding.height, o.dilation.height),
                     ow = places(w, kw, o.stride.width, o.padding.width, o.dilation.width);
  std::vector<double> y;
  for (std::int64_t image = 0; image < n; ++image)
    for (std::int64_t f = 0; f < out; ++f)
      for (std::int64_t p = 0; p < oh; ++p)
        for (std::int64_t q = 0; q < ow; ++q) {
          double sum = bias.defined() ? bias.at({f}) : 0;
          for (std::int64_t c = 0; c < per_group; ++c)
            for (std::int64_t i = 0; i < kh; ++i)
              for (std::int64_t j = 0; j < kw; ++j) {
                const std::int64_t row = p * o.stride.height + i * o.dilation.height - o.padding.height,
                                   column = q * o.stride.width + j * o.dilation.width - o.padding.width;
                if (row < 0 || row >= h || column < 0 || column >= w) continue;
                const std::int64_t channel = f / (out / o.groups) * per_group + c;
                sum += weight.at({f, c, i, j}) * x.at({image, channel, row, column});
              }
          y.push_back(sum);
        }
  return tensor(y, {n, out, oh, ow});
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return a.numel() == 0 ? 0 : (a.detach().to(f64) - b.detach().to(f64)).abs().max().item();
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.to_vector<float>() == b.to_vector<float>();
}

/// The value against the loops, the gradients of x and weight against the definition's.
void check_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options) {
  const Tensor y = conv2d(x, weight, bias, options), dy = drawn(y.shape(), 4);
  CHECK(largest_difference(y, plain_conv2d(x, weight, bias, options)) < 1e-12);
  const auto gradients = grad({y}, {x, weight}, {dy});
  const DefinitionsOnly definitions;
  const auto want = grad({conv2d(x, weight, bias, options)}, {x, weight}, {dy});
  for (std::size_t i = 0; i < 2; ++i) CHECK(largest_difference(gradients[i], want[i]) < 1e-11);
}

}  // namespace

TEST_SUITE_BEGIN("convolution");

TEST_CASE("conv2d equals seven plain loops: kernels, strides, padding, dilation, groups") {
  int count = 0;
  for (const Size2d kernel : {Size2d(1), Size2d(3), Size2d(2, 3)})
    for (const Size2d stride : {Size2d(1), Size2d(2, 3)})
      for (const Size2d padding : {Size2d(0), Size2d(2, 1)})
        for (const Size2d dilation : {Size2d(1), Size2d(1, 2)})
          for (const std::int64_t groups : {1, 2, 4}) {
            const Conv2dOptions options{
                .stride = stride, .padding = padding, .dilation = dilation, .groups = groups};
            const Tensor x = drawn({2, 4, 5, 7}, 1);
            const Tensor weight = drawn({8, 4 / groups, kernel.height, kernel.width}, 2);
            const Tensor bias = count % 2 == 0 ? drawn({8}, 3) : Tensor();
            CAPTURE(count);
            const Tensor want = plain_conv2d(x, weight, bias, options);
            CHECK(largest_difference(conv2d(x, weight, bias, options), want) < 1e-12);
            const DefinitionsOnly definitions;
            CHECK(largest_difference(conv2d(x, weight, bias, options), want) < 1e-12);
            ++count;
          }
  CHECK(count == 72);
}

TEST_CASE("conv2d equals seven plain loops, gradients the definition's: filters, planes, kernels") {
  int count = 0;
  for (const std::int64_t filters : {1, 2, 3, 4, 5, 6, 7, 13})
    for (const Size2d kernel : {Size2d(3), Size2d(2, 3), Size2d(5, 1), Size2d(1, 4)})
      for (const Size2d plane : {Size2d(9, 14), Size2d(5, 40), Size2d(17, 5)}) {
        const std::int64_t groups = 1 + count % 2, tall = 1 + count % 3 / 2;
        const Size2d stride = count % 4 == 1 ? Size2d(2) : count % 4 == 3 ? Size2d(1, 3) : Size2d(1);
        const Conv2dOptions options{.stride = stride,
                                    .padding = {kernel.height / 2, count % 4 == 0 ? 0 : kernel.width - 1},
                                    .dilation = {tall, 1},
                                    .groups = groups};
        const Tensor x = drawn({2, 3 * groups, plane.height, plane.width}, 1).set_requires_grad();
        const Tensor weight =
            drawn({filters * groups, 3, kernel.height, kernel.width}, 2).set_requires_grad();
        const Tensor bias = count % 5 == 0 ? Tensor() : drawn({filters * groups}, 3);
        CAPTURE(count);
        check_conv2d(x, weight, bias, options);
        ++count;
      }
  CHECK(count == 96);
}

TEST_CASE("conv2d of planes that are cut into bands equals its definition") {
  for (const Size2d plane : {Size2d(40, 50), Size2d(2, 300)}) {
    const Tensor x = drawn({4, 70, plane.height, plane.width}, 1).set_requires_grad();
    const Tensor weight = drawn({9, 70, 3, 3}, 2).set_requires_grad();
    const Tensor y = conv2d(x, weight, {}, {.padding = 1}), dy = drawn(y.shape(), 3);
    const auto gradients = grad({y}, {x, weight}, {dy});
    const DefinitionsOnly definitions;
    const Tensor same = conv2d(x, weight, {}, {.padding = 1});
    CHECK(largest_difference(y, same) < 1e-11);
    const auto want = grad({same}, {x, weight}, {dy});
    CHECK(largest_difference(gradients[0], want[0]) < 1e-11);
    CHECK(largest_difference(gradients[1], want[1]) < 1e-10);
  }
}

TEST_CASE("depthwise conv2d equals seven plain loops, gradients the definition's") {
  int count = 0;
  for (const Size2d kernel : {Size2d(1), Size2d(2, 3), Size2d(3), Size2d(4, 5), Size2d(5, 2), Size2d(7)})
    for (const Size2d stride : {Size2d(1), Size2d(2), Size2d(2, 1), Size2d(1, 3)})
      for (const Size2d padding : {Size2d(0), Size2d(1), Size2d(3, 2)}) {
        if (padding.height > kernel.height || padding.width > kernel.width) continue;
        // planes of one row and of many, rows shorter than a vector, and longer than one
        for (const Size2d plane : {Size2d(7, 9), Size2d(14, 14), Size2d(8, 39), Size2d(kernel.height, 21)}) {
          const std::int64_t filters = 1 + count % 2, dilation = plane.width > 20 ? 1 + count % 3 / 2 : 1;
          const Conv2dOptions options{
              .stride = stride, .padding = padding, .dilation = {1, dilation}, .groups = 3};
          const Tensor x = drawn({2, 3, plane.height, plane.width}, 1).set_requires_grad();
          const Tensor weight = drawn({3 * filters, 1, kernel.height, kernel.width}, 2).set_requires_grad();
          const Tensor bias = count % 5 == 0 ? drawn({3 * filters}, 3) : Tensor();
          CAPTURE(count);
          check_conv2d(x, weight, bias, options);
          ++count;
        }
      }
}

TEST_CASE("conv2d passes infinity and NaN where the definition does, depthwise too") {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto same = [](const Tensor& a, const Tensor& b) {
    const auto u = a.to_vector<double>(), v = b.to_vector<double>();
    bool all = u.size() == v.size();
    for (std::size_t i = 0; all && i < u.size(); ++i)
      all = std::isfinite(u[i]) ? std::abs(u[i] - v[i]) < 1e-11
                                : u[i] == v[i] || (u[i] != u[i] && v[i] != v[i]);
    return all;
  };
  for (const int dirty : {0, 1, 2})  // x, weight, dy
    for (const double value : {infinity, std::nan("")})
      for (const auto& [stride, padding, channels] : {std::array{1, 1, 1},
                                                      {2, 1, 1},
                                                      {1, 0, 1},
                                                      {2, 0, 1},
                                                      {1, 1, 2},
                                                      {2, 1, 2},
                                                      {1, 0, 2},
                                                      {2, 0, 2}}) {
        std::vector<Tensor> in = {drawn({2, 2 * channels, 9, 19}, 1), drawn({2, channels, 3, 3}, 2)};
        const Conv2dOptions options{.stride = stride, .padding = padding, .groups = 2};
        in.push_back(drawn(conv2d(in[0], in[1], {}, options).shape(), 3));
        const std::size_t which = static_cast<std::size_t>(dirty);
        std::vector<double> values = in[which].to_vector<double>();
        // Without padding, the end of a row of x: only the last place of y sees it.
        values[dirty == 0 && padding == 0 ? 5 * 19 - 1 : values.size() / 2 + 4] = value;
        in[which] = tensor(values, in[which].shape());
        for (std::size_t i = 0; i < 2; ++i) in[i].set_requires_grad();
        const auto run = [&] {
          const Tensor y = conv2d(in[0], in[1], {}, options);
          std::vector<Tensor> all = grad({y}, {in[0], in[1]}, {in[2]});
          all.push_back(y.detach());
          return all;
        };
        const auto got = run();
        const DefinitionsOnly definitions;
        const auto want = run();
        CAPTURE(dirty);
        INFO("stride " << options.stride.height << ", channels of weight " << in[1].size(1));
        for (std::size_t i = 0; i < 3; ++i) CHECK(same(got[i], want[i]));
      }
}

TEST_CASE("conv1d equals conv2d of one row") {
  const Tensor x = drawn({3, 4, 11}, 1), weight = drawn({6, 2, 3}, 2), bias = drawn({6}, 3);
  const Tensor y = conv1d(x, weight, bias, {.stride = 2, .padding = 3, .dilation = 2, .groups = 2});
  const Tensor want = plain_conv2d(x.unsqueeze(2), weight.unsqueeze(2), bias,
                                   {.stride = {1, 2}, .padding = {0, 3}, .dilation = {1, 2}, .groups = 2});
  CHECK(largest_difference(y, want.squeeze(2)) < 1e-12);
  CHECK(largest_difference(conv1d(x[1], weight, bias, {.groups = 2}),
                           conv1d(x, weight, bias, {.groups = 2})[1]) == 0);
}

TEST_CASE("several chunks of images give what one image at a time gives, gradients too") {
  // 40 images of 8 x 9 x 1024 columns: several chunks, the last of them short
  for (const std::int64_t groups : {1, 8}) {
    const Conv2dOptions options{.padding = 1, .groups = groups};
    const Tensor x = drawn({40, 8, 32, 32}, 1).set_requires_grad();
    const Tensor weight = drawn({8, 8 / groups, 3, 3}, 2).set_requires_grad();
    const Tensor bias = drawn({8}, 3).set_requires_grad();
    const Tensor y = conv2d(x, weight, bias, options), dy = drawn(y.shape(), 4);
    const auto whole = grad({y}, {x, weight, bias}, {dy});
    std::vector<Tensor> parts;
    for (std::int64_t i = 0; i < 40; ++i) parts.push_back(conv2d(x[i], weight, bias, options));
    const Tensor one_by_one = stack(parts);
    CHECK(largest_difference(y, one_by_one) < 1e-12);
    const auto sums = grad({one_by_one}, {x, weight, bias}, {dy});
    for (std::size_t i = 0; i < 3; ++i) CHECK(largest_difference(whole[i], sums[i]) < 1e-9);
  }
}

TEST_CASE("R95 convolution on any number of threads: the same bits") {
  const Threads restore(1);
  struct Case {
    Shape shape;
    std::int64_t groups;
  };
  for (const auto& [shape, groups] :
       {Case{{40, 8, 32, 32}, 1}, {{2, 64, 30, 30}, 1}, {{40, 16, 30, 30}, 16}}) {
    const std::int64_t channels = shape[1] / groups;
    const Tensor x = drawn(shape, 1, f32).set_requires_grad();
    const Tensor weight = drawn({16, channels, 3, 3}, 2, f32).set_requires_grad();
    const Tensor bias = drawn({16}, 3, f32).set_requires_grad();
    const auto run = [&, count = groups] {
      const Tensor y = conv2d(x, weight, bias, {.padding = 1, .groups = count});
      std::vector<Tensor> all = grad({y}, {x, weight, bias}, {drawn(y.shape(), 4, f32)});
      all.push_back(y.detach());
      return all;
    };
    set_num_threads(1);
    const auto want = run();
    for (const int threads : {2, 3, 4}) {
      set_num_threads(threads);
      const auto got = run();
      for (std::size_t i = 0; i < want.size(); ++i) CHECK(same_bits(got[i], want[i]));
    }
  }
}

TEST_CASE("f32 convolution follows f64") {
  const Tensor x = drawn({4, 16, 14, 14}, 1).set_requires_grad();
  const Tensor weight = drawn({8, 16, 3, 3}, 2).set_requires_grad();
  const Tensor x32 = x.detach().to(f32).set_requires_grad(),
               weight32 = weight.detach().to(f32).set_requires_grad();
  const Tensor y = conv2d(x, weight), y32 = conv2d(x32, weight32), dy = drawn(y.shape(), 3);
  CHECK(largest_difference(y, y32) < 1e-4);  // sums of 144 products of size 1
  const auto wide = grad({y}, {x, weight}, {dy}), narrow = grad({y32}, {x32, weight32}, {dy.to(f32)});
  CHECK(largest_difference(wide[0], narrow[0]) < 1e-4);
  CHECK(largest_difference(wide[1], narrow[1]) < 2e-4);
}

TEST_CASE("depthwise f32 convolution follows f64, also its sums over many places") {
  const Tensor x = drawn({32, 2, 56, 56}, 1).to(f32), weight = drawn({2, 1, 3, 3}, 2).to(f32);
  const Tensor dy = drawn(x.shape(), 3).to(f32);
  const auto run = [&](DType dtype) {
    const Tensor a = x.to(dtype).set_requires_grad(), b = weight.to(dtype).set_requires_grad();
    const Tensor y = conv2d(a, b, {}, {.padding = 1, .groups = 2});
    std::vector<Tensor> all = grad({y}, {a, b}, {dy.to(dtype)});
    all.push_back(y.detach());
    return all;
  };
  const auto wide = run(f64), narrow = run(f32);
  CHECK(largest_difference(wide[0], narrow[0]) < 1e-5);
  CHECK(largest_difference(wide[1], narrow[1]) < 2e-4);  // sums of 1e5 products of size 1, about 300
  CHECK(largest_difference(wide[2], narrow[2]) < 1e-5);
}

TEST_CASE("an empty batch gives an empty result, a zero weight gradient, and a zero input gradient") {
  const Tensor x = zeros({0, 2, 5, 5}).set_requires_grad();
  const Tensor weight = drawn({3, 2, 3, 3}, 1, f32).set_requires_grad();
  const Tensor bias = drawn({3}, 2, f32).set_requires_grad();
  const Tensor y = conv2d(x, weight, bias, {.padding = 1});
  CHECK(y.shape() == Shape{0, 3, 5, 5});
  const auto gradients = grad({y.sum()}, {x, weight, bias});
  CHECK(gradients[0].shape() == x.shape());
  CHECK(gradients[1].abs().max().item() == 0);
  CHECK(gradients[2].abs().max().item() == 0);
  CHECK(conv1d(zeros({0, 2, 5}), drawn({3, 2, 3}, 1, f32)).shape() == Shape{0, 3, 3});
  CHECK(max_pool2d(x, 2).shape() == Shape{0, 2, 2, 2});
  CHECK(avg_pool2d(x, 2).shape() == Shape{0, 2, 2, 2});
  CHECK(adaptive_avg_pool2d(x, 3).shape() == Shape{0, 2, 3, 3});
  CHECK(adaptive_max_pool1d(zeros({0, 2, 5}), 2).shape() == Shape{0, 2, 2});
}

TEST_CASE("R93 what does not fit is refused with the reason") {
  const Tensor x = drawn({2, 4, 5, 6}, 1), weight = drawn({4, 2, 3, 3}, 2);
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, weight),
                           "conv2d: x [2, 4, 5, 6] has 4 channels in 1 groups, weight [4, 2, 3, 3] takes 2");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, weight, {}, {.groups = 3}),
                           "conv2d: groups must be at least 1 and divide the 4 outputs");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, weight, {}, {.groups = 0}), "groups must be at least 1");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, weight, {}, {.stride = {1, 0}, .groups = 2}),
                           "conv2d: stride must lie in [1, 2147483647], got 0 for axis -1");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, weight, {}, {.padding = -1, .groups = 2}), "padding must lie in [0");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, weight, {}, {.dilation = {3, 1}, .groups = 2}),
                           "the window spans 7 (kernel 3, dilation 3) and must fit into axis -2 of x");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, weight, {}, {.dilation = std::int64_t{1} << 62, .groups = 2}),
                           "dilation must lie in");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, weight, drawn({3}, 3), {.groups = 2}),
                           "conv2d: bias must have shape [4]");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, weight.to(f32), {}, {.groups = 2}), "conv2d: weight must be f64 on cpu");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x.to(i64), weight), "floating");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, drawn({4, 4, 3}, 2)), "conv2d: weight must be [out, channels / groups");
  CHECK_THROWS_MESSAGE_HAS(conv1d(x, weight), "conv1d: x must be [n, channels, length]");
  CHECK_THROWS_MESSAGE_HAS(conv2d(x, Tensor()), "undefined");
  CHECK_THROWS_MESSAGE_HAS(unfold(x[0], {.kernel = {2, 2}}), "unfold: x must be [n, c, h, w]");
  CHECK_THROWS_MESSAGE_HAS(unfold(x, {.kernel = {0, 2}}), "kernel must lie in [1");
  CHECK_THROWS_MESSAGE_HAS(fold(drawn({2, 8, 7}, 1), {3, 4}, {.kernel = {2, 2}}),
                           "fold: columns must be [n, c * 4, 6] for an output of 3 x 4, got [2, 8, 7]");
  CHECK_THROWS_MESSAGE_HAS(max_pool2d(x, 2, {.padding = 2}),
                           "max_pool2d: padding must be at most half the kernel 2, got 2");
  CHECK_THROWS_MESSAGE_HAS(avg_pool2d(x, 2, {.stride = -1}), "avg_pool2d: stride must lie in [1");
  CHECK_THROWS_MESSAGE_HAS(adaptive_avg_pool2d(x, {2, 0}), "output_size must be at least 1, got 0");
}

TEST_CASE("max pooling: the first of equal entries gets the gradient, NaN wins, padding never does") {
  const Tensor x =
      tensor({2.0, 5.0, 5.0, 1.0, 5.0, 5.0, 0.0, 3.0}, f64).reshape({1, 2, 4}).set_requires_grad();
  const Tensor y = max_pool2d(x, 2, {.stride = {1, 2}});
  CHECK(y.to_vector<double>() == std::vector<double>{5, 5});
  CHECK(grad({y.sum()}, {x})[0].to_vector<double>() == std::vector<double>{0, 1, 1, 0, 0, 0, 0, 0});
  CHECK(grad({adaptive_max_pool2d(x, 1).sum()}, {x})[0].to_vector<double>() ==
        std::vector<double>{0, 1, 0, 0, 0, 0, 0, 0});
  const Tensor dirty = tensor({1.0, std::nan(""), 3.0, 4.0}, f64).reshape({1, 4});
  const std::vector<double> pooled = max_pool1d(dirty, 2).to_vector<double>();
  CHECK((std::isnan(pooled[0]) && pooled[1] == 4));
  CHECK(max_pool1d(full({1, 3}, -7), 3, {.stride = 1, .padding = 1}).max().item() == -7);
  const double infinity = std::numeric_limits<double>::infinity();
  const Tensor bins = adaptive_avg_pool1d(tensor({1.0, 2.0, 3.0, 4.0, infinity}, f64).reshape({1, 5}), 2);
  CHECK(bins.to_vector<double>() == std::vector<double>{2, infinity});
}

TEST_CASE("a pool's options change its result") {
  const Tensor x = drawn({1, 1, 6}, 1);
  CHECK(max_pool1d(x, 2).shape() == Shape{1, 1, 3});
  CHECK(max_pool1d(x, 2, {.stride = 1}).shape() == Shape{1, 1, 5});
  CHECK(max_pool1d(x, 2, {.padding = 1}).shape() == Shape{1, 1, 4});
  CHECK(max_pool1d(x, 2, {.dilation = 3}).shape() == Shape{1, 1, 2});
  CHECK(max_pool1d(x, 4, {.stride = 4, .ceil_mode = true}).shape() == Shape{1, 1, 2});
  const Tensor ones_pooled = avg_pool1d(ones({1, 1, 4}), 2, {.padding = 1});
  CHECK(ones_pooled.to_vector<float>() == std::vector<float>{0.5f, 1, 0.5f});
  CHECK(avg_pool1d(ones({1, 1, 4}), 2, {.padding = 1, .count_include_pad = false}).min().item() == 1);
}

TEST_SUITE_END();
