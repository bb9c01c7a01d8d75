// SpectralNorm: power iteration, its state, its gradient.
#include "nn/norm/spectral_norm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/convolution.h"
#include "nn/linear.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

double largest(const Tensor& x) { return x.detach().abs().max().item(); }

/// The largest singular value, by many power iterations on w^T w from a fixed start.
double largest_singular_value(const Tensor& w) {
  const Tensor matrix = w.detach().to(f64).reshape({w.size(0), -1});
  Tensor v = normal({matrix.size(1)}, 31);
  for (int i = 0; i < 3000; ++i) {
    v = matmul(matrix.t(), matmul(matrix, v));
    v = v / v.norm();
  }
  return matmul(matrix, v).norm().item();
}

SpectralNorm made(AnyLayer layer, SpectralNormOptions options = {}) {
  Generator generator(3);
  options.generator = &generator;
  SpectralNorm norm(std::move(layer), options);
  norm.to(f64);
  return norm;
}

}  // namespace

TEST_SUITE_BEGIN("spectral norm");

TEST_CASE("the largest singular value goes to 1") {
  for (const AnyLayer& layer : {AnyLayer(Linear(7, 5)), AnyLayer(Conv2d(3, 8, 3)), AnyLayer(Linear(1, 4))}) {
    SpectralNorm norm = made(layer);
    CHECK(std::abs(largest_singular_value(norm.weight()) - 1) < 0.1);  // from 15 iterations at the start
    const Tensor x =
        norm.weight_orig.dim() == 2 ? zeros({2, norm.weight_orig.size(1)}, f64) : zeros({1, 3, 4, 4}, f64);
    for (int i = 0; i < 2000; ++i) norm(x);
    CHECK(std::abs(largest_singular_value(norm.weight()) - 1) < 1e-10);
    CHECK(std::abs(norm.weight_u.norm().item() - 1) < 1e-12);
    CHECK(std::abs(norm.weight_v.norm().item() - 1) < 1e-12);
  }
}

TEST_CASE("one training call is one step of power iteration; eval changes nothing") {
  SpectralNorm norm = made(Linear(4, 3));
  const Tensor w = normal({3, 4}, 8), x = normal({2, 4}, 9);
  norm.weight_orig = w;
  Tensor v = matmul(w.t(), norm.weight_u);
  v = v / v.norm();
  Tensor u = matmul(w, v);
  const double sigma = u.norm().item();
  u = u / sigma;
  const Tensor y = norm(x);
  CHECK(largest(norm.weight_v - v) < 1e-14);
  CHECK(largest(norm.weight_u - u) < 1e-14);
  const Tensor bias = norm.named_parameters().back().second;
  CHECK(largest(y - linear(x, w / sigma, bias)) < 1e-12);
  norm.eval();
  const auto before = norm.weight_u.to_vector<double>();
  CHECK(norm(x).to_vector<double>() == norm(x).to_vector<double>());
  CHECK(norm.weight_u.to_vector<double>() == before);
  AnyLayer folded = norm.folded();
  CHECK(largest(folded(x) - norm(x)) < 1e-14);
  CHECK(folded.get<Linear>() != nullptr);
}

TEST_CASE("more iterations for each call come closer") {
  SpectralNorm one = made(Linear(6, 6)), many = made(Linear(6, 6), {.n_power_iterations = 200});
  const Tensor w = normal({6, 6}, 4);
  one.weight_orig = w, many.weight_orig = w;
  one(zeros({1, 6}, f64)), many(zeros({1, 6}, f64));
  const auto miss = [](SpectralNorm& norm) { return std::abs(largest_singular_value(norm.weight()) - 1); };
  CHECK(miss(many) < miss(one));
  CHECK(miss(many) < 1e-6);
}

TEST_CASE("the gradient takes u and v as constants: dW = (G - <G, W_SN> u v^T) / sigma") {
  SpectralNorm norm = made(Linear(4, 3, false));
  norm.eval();
  const Tensor w_sn = norm.weight(), dw = normal({3, 4}, 5);
  const Tensor gradient = grad({w_sn}, {norm.weight_orig}, {dw})[0];
  const Tensor uv = norm.weight_u.reshape({3, 1}) * norm.weight_v.reshape({1, 4});
  const double sigma = (norm.weight_orig * uv).sum().item();
  const Tensor expected = (dw - (dw * w_sn).sum() * uv) / sigma;
  CHECK(largest(gradient - expected) < 1e-12);
}

TEST_CASE("two training calls before one backward") {
  SpectralNorm norm = made(Linear(4, 3));
  const Tensor x = normal({2, 4}, 1);
  const Tensor sum = norm(x).sum() + norm(x * 2).square().sum();
  sum.backward();
  CHECK(norm.weight_orig.grad().isfinite().all().item() == 1);
}

TEST_CASE("a weight of zeros stays zero, with finite gradients, and recovers") {
  SpectralNorm norm = made(Linear(4, 3));
  norm.weight_orig = zeros({3, 4}, f64);
  const Tensor y = norm(normal({2, 4}, 1));
  CHECK(y.isfinite().all().item() == 1);
  y.square().sum().backward();
  CHECK(norm.weight_orig.grad().isfinite().all().item() == 1);
  CHECK(std::abs(norm.weight_u.norm().item() - 1) < 1e-6);  // still the first one, made in f32
  norm.weight_orig = full({3, 4}, 2, f64);
  norm(normal({2, 4}, 1));
  CHECK(std::abs(largest_singular_value(norm.weight()) - 1) < 1e-10);
}

TEST_CASE("what does not fit is refused") {
  CHECK_THROWS_MESSAGE_HAS(SpectralNorm(Linear(2, 3), {.dim = 2}), "SpectralNorm: dim must lie in [0, 1]");
  CHECK_THROWS_MESSAGE_HAS(SpectralNorm(Linear(2, 3), {.n_power_iterations = 0}), "at least 1, got 0");
  CHECK_THROWS_MESSAGE_HAS(SpectralNorm(Linear(2, 3), {.eps = std::nan("")}), "eps must be finite and >= 0");
}

TEST_SUITE_END();
