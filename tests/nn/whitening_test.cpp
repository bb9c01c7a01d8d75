// DecorrelatedBatchNorm: whitened outputs, running statistics, gradients while training, edge cases.
#include "nn/norm/whitening.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/normalization.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

double largest(const Tensor& x) { return x.detach().abs().max().item(); }

/// [channels, values] of x [n, channels, ..].
Tensor by_channel(const Tensor& x) { return x.detach().transpose(0, 1).reshape({x.size(1), -1}); }

Tensor covariance(const Tensor& x) {
  const Tensor values = by_channel(x), centred = values - values.mean(1, keepdim);
  return matmul(centred, centred.t()) / static_cast<double>(values.size(1));
}

/// Channels that are mixed, scaled and shifted.
Tensor correlated(const Shape& shape, std::uint64_t seed) {
  const std::int64_t c = shape[1];
  const Tensor mix = normal({c, c}, seed) + eye(c, f64) * 1.5;
  const Tensor x = normal({shape[0], c, shape.numel() / (shape[0] * c)}, seed + 1);
  return (matmul(mix, x) + 5).reshape({shape.begin(), shape.end()});
}

DecorrelatedBatchNorm made(DecorrelatedBatchNormOptions options) {
  DecorrelatedBatchNorm norm(options);
  norm.to(f64);
  return norm;
}

}  // namespace

TEST_SUITE_BEGIN("whitening");

TEST_CASE("the covariance of the output is the identity, its mean zero; [n, c] and [n, c, ..]") {
  for (const Shape& shape : {Shape{64, 4}, Shape{8, 4, 9}, Shape{4, 4, 5, 6}}) {
    DecorrelatedBatchNorm norm = made({.num_features = 4, .eps = 1e-12, .iterations = 30, .affine = false});
    const Tensor y = norm(correlated(shape, 2));
    CHECK(y.shape() == shape);
    CHECK(largest(covariance(y) - eye(4, f64)) < 1e-8);
    CHECK(largest(by_channel(y).mean(1)) < 1e-10);
  }
}

TEST_CASE("groups are whitened each by itself; weight and bias follow") {
  DecorrelatedBatchNorm norm = made({.num_features = 6, .group_size = 3, .eps = 1e-12, .iterations = 30});
  randomize(norm, 3);
  const Tensor x = correlated({16, 6, 10}, 4);
  const Tensor y = norm(x), bias = norm.bias.detach(), weight = norm.weight.detach();
  CHECK(largest(by_channel(y).mean(1) - bias) < 1e-10);
  const Tensor plain = covariance(y) / (weight.reshape({6, 1}) * weight);
  CHECK(largest(plain.slice(0, {0, 3}).slice(1, {0, 3}) - eye(3, f64)) < 1e-8);
  CHECK(largest(plain.slice(0, {3, 6}).slice(1, {3, 6}) - eye(3, f64)) < 1e-8);
  CHECK(largest(plain.slice(0, {0, 3}).slice(1, {3, 6})) > 1e-3);  // between groups nothing is removed
}

TEST_CASE("a group of one channel is batch norm; eps stands inside the covariance") {
  DecorrelatedBatchNorm norm = made({.num_features = 3, .group_size = 1, .eps = 0.5, .affine = false});
  const Tensor x = correlated({12, 3}, 6);
  const Tensor centred = x - x.mean(0, keepdim);
  CHECK(largest(norm(x) - centred / (centred.square().mean(0, keepdim) + 0.5).sqrt()) < 1e-12);
}

TEST_CASE(
    "ZCA: the whitening matrix is symmetric, positive, and a rotation of the input rotates the output") {
  DecorrelatedBatchNorm norm = made({.num_features = 2, .eps = 1e-12, .iterations = 30, .affine = false});
  const Tensor x = correlated({50, 2}, 8);
  const double c = std::cos(0.6), s = std::sin(0.6);
  const Tensor turn = tensor({c, -s, s, c}, f64).reshape({2, 2});
  CHECK(largest(norm(x.matmul(turn)) - norm(x).matmul(turn)) < 1e-8);
  const Tensor w = norm.running_whitening.select(0, 0);
  CHECK(largest(w - w.t()) < 1e-12);
}

TEST_CASE("the number of iterations: 5 come close, 30 arrive; the square root has all digits") {
  const Tensor x = correlated({200, 4}, 10);
  const auto miss = [&](int iterations) {
    DecorrelatedBatchNorm norm = made({.num_features = 4, .iterations = iterations, .affine = false});
    return largest(covariance(norm(x)) - eye(4, f64));
  };
  CHECK(miss(5) > 10 * miss(30));
  CHECK(miss(1) > miss(5));
  for (const DType dtype : {f64, f32}) {  // eigenvalues from 1e-4 to 1
    Tensor a = zeros({5, 5}, dtype);
    for (std::int64_t i = 0; i < 5; ++i)
      a.array().slice(0, {i, i + 1}).slice(1, {i, i + 1}).fill(std::pow(10.0, -static_cast<double>(i)));
    const Tensor root = inverse_square_root(a, 30);
    for (std::int64_t i = 0; i < 5; ++i)
      CHECK(root.at({i, i}) ==
            doctest::Approx(std::pow(10.0, static_cast<double>(i) / 2)).epsilon(dtype == f64 ? 1e-12 : 1e-4));
  }
}

TEST_CASE("running statistics: momentum, eval, a plain average") {
  DecorrelatedBatchNorm norm = made({.num_features = 3, .eps = 1e-3, .iterations = 20, .affine = false});
  const Tensor x = correlated({40, 3}, 12), mean = x.mean(0);
  const Tensor centred = x - mean;
  const Tensor whitening = inverse_square_root(matmul(centred.t(), centred) / 40 + eye(3, f64) * 1e-3, 20);
  Tensor running = eye(3, f64);
  for (int i = 0; i < 3; ++i) {
    norm(x);
    running = running * 0.9 + whitening * 0.1;
  }
  CHECK(largest(norm.running_whitening.select(0, 0) - running) < 1e-10);
  CHECK(largest(norm.running_mean - mean * (1 - 0.729)) < 1e-10);
  CHECK(norm.num_batches_tracked.item() == 3);
  norm.eval();
  const Tensor other = correlated({1, 3}, 14);  // a single value is enough in eval
  CHECK(largest(norm(other) - (other - norm.running_mean).matmul(running)) < 1e-10);
  CHECK(norm.num_batches_tracked.item() == 3);
  DecorrelatedBatchNorm average =
      made({.num_features = 3, .eps = 1e-3, .momentum = {}, .iterations = 20, .affine = false});
  average(x), average(x + 3);
  CHECK(largest(average.running_mean - (mean + 1.5)) < 1e-10);
  average.eval();
  CHECK(largest(average(x + 1.5) - centred.matmul(whitening)) < 1e-9);
}

TEST_CASE("first and second derivatives while training") {
  DecorrelatedBatchNorm norm = made({.num_features = 4, .group_size = 2, .eps = 0.05});
  randomize(norm, 5);
  const Tensor x = correlated({5, 4, 2}, 16).set_requires_grad(), upstream = normal({5, 4, 2}, 17);
  const auto function = [&](const std::vector<Tensor>& in) { return norm(in[0]) * upstream; };
  CHECK(gradcheck(function, {x}).passed);
  CHECK(gradgradcheck(function, {x}, {.random_direction = true}).passed);
}

TEST_CASE("R17 a mean of 1e4 in f32") {
  const Tensor x = (correlated({64, 4}, 18) + 1e4).to(f32);
  DecorrelatedBatchNorm narrow({.num_features = 4, .eps = 1e-3, .affine = false});
  DecorrelatedBatchNorm wide = made({.num_features = 4, .eps = 1e-3, .affine = false});
  CHECK(largest(narrow(x).to(f64) - wide(x.to(f64))) < 1e-4);
}

TEST_CASE("R19 R23 constant channels give the bias; a NaN stays in its group") {
  DecorrelatedBatchNorm norm({.num_features = 4, .group_size = 2});
  const Tensor x = correlated({20, 4}, 20).to(f32), clean = norm(x);
  const Tensor constant = full({6, 4}, 0.1).set_requires_grad();
  const Tensor y = norm(constant);
  CHECK(largest(y) < 1e-4);
  CHECK(grad({y}, {constant}, {normal({6, 4}).to(f32)})[0].isfinite().all().item() == 1);
  const Tensor dirty = x.clone();
  dirty.array().slice(0, {3, 4}).slice(1, {1, 2}).fill(std::nan(""));
  const Tensor z = norm(dirty);
  CHECK(z.slice(1, {0, 2}).isnan().all().item() == 1);
  CHECK(z.slice(1, {2, 4}).clone().to_vector<float>() == clean.slice(1, {2, 4}).clone().to_vector<float>());
}

TEST_CASE("R36 R38 R40 one value per channel, empty batches, sizes that do not fit") {
  DecorrelatedBatchNorm norm(4);
  CHECK_THROWS_MESSAGE_HAS(norm(zeros({1, 4})), "more than 1 value per channel, got shape [1, 4]");
  CHECK(norm(zeros({0, 4, 3})).shape() == Shape{0, 4, 3});
  CHECK(norm.num_batches_tracked.item() == 0);
  CHECK(norm.running_mean.abs().max().item() == 0);
  norm.eval();
  CHECK(norm(zeros({1, 4})).shape() == Shape{1, 4});
  CHECK_THROWS_MESSAGE_HAS(DecorrelatedBatchNorm({.num_features = 6, .group_size = 4}),
                           "group_size must be > 0 and divide num_features 6, got 4");
  CHECK_THROWS_MESSAGE_HAS(DecorrelatedBatchNorm({.num_features = 6, .eps = 0}), "eps must be > 0");
  CHECK_THROWS_MESSAGE_HAS(DecorrelatedBatchNorm({.num_features = 6, .iterations = 0}), "iterations");
  CHECK_THROWS_MESSAGE_HAS(DecorrelatedBatchNorm(-1), "num_features must be > 0");
  CHECK_THROWS_MESSAGE_HAS(inverse_square_root(zeros({2, 3})), "must be [.., d, d], got shape [2, 3]");
}

TEST_SUITE_END();
