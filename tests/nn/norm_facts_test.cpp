// What the norms are known to satisfy: each other's special cases, identities of their gradients, what a
// change of scale does, and the edges. Sections are those of the papers named in the layers' headers.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/normalization.h"
#include "nn/norm/ada_norm.h"
#include "nn/norm/dynamic_tanh.h"
#include "nn/norm/l2_norm.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/layer_scale.h"
#include "nn/norm/norm.h"
#include "nn/norm/rezero.h"
#include "nn/norm/rms_norm.h"
#include "nn/norm/scale_norm.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

double largest(const Tensor& x) { return x.abs().max().item(); }
double distance(const Tensor& a, const Tensor& b) { return largest(a.detach() - b.detach()); }

/// The gradient of sum(upstream * f(x)) with respect to x.
template <class F>
Tensor gradient(F&& f, const Tensor& at, const Tensor& upstream) {
  const Tensor x = at.detach().clone().set_requires_grad();
  return grad({f(x)}, {x}, {upstream})[0];
}

Tensor rms_norm_without_eps(const Tensor& x) { return rms_norm(x, {}, 0); }

template <class Layer>
Layer in_f64(Layer layer) {
  layer.to(f64);
  return layer;
}

}  // namespace

TEST_SUITE_BEGIN("norm facts");

TEST_CASE("LayerNorm is RMSNorm of the centred row") {
  const Tensor x = normal({5, 7}) * 3 + 2;
  const Tensor centred = x - x.mean(-1, keepdim);
  CHECK(distance(layer_norm(x, {}, {}, 1e-3), rms_norm(centred, {}, 1e-3, RmsEps::inside)) < 1e-12);
}

TEST_CASE("RMSNorm is LayerNorm where the row has mean zero, and differs elsewhere") {
  const Tensor x = normal({5, 7}), zero_mean = x - x.mean(-1, keepdim);
  const Tensor weight = normal({7}, 2);
  CHECK(distance(rms_norm(zero_mean, weight, 1e-3, RmsEps::inside), layer_norm(zero_mean, weight, {}, 1e-3)) <
        1e-12);
  CHECK(distance(rms_norm(x + 1, weight), layer_norm(x + 1, weight)) > 0.1);
}

TEST_CASE("ScaleNorm starts as RMSNorm with gain 1; g is a gain of g / sqrt(d)") {
  ScaleNorm norm(9);
  CHECK(norm.weight.item() == doctest::Approx(3).epsilon(1e-7));
  norm.to(f64);
  const Tensor x = normal({4, 9});
  CHECK(distance(norm(x), rms_norm_without_eps(x)) < 1e-6);  // the start is an f32 number
  norm.weight.detach().fill_(1.7);
  CHECK(distance(norm(x), rms_norm(x, full({9}, 1.7 / 3, f64), 0)) < 1e-12);
}

TEST_CASE("a partial RMSNorm over everything is RMSNorm, and over ceil(n p) entries else") {
  const Tensor x = normal({4, 10});
  const auto partial = [&](double p) {
    return RMSNorm({.normalized_shape = {10}, .elementwise_affine = false, .partial = p})(x);
  };
  CHECK(partial(1).to_vector<double>() == rms_norm(x).to_vector<double>());
  for (const auto& [part, counted] :
       {std::pair{0.0625, 1}, {0.1, 1}, {0.10001, 2}, {0.3, 3}, {0.31, 4}, {1e-9, 1}, {0.999, 10}}) {
    const double p = part;
    CAPTURE(p);
    const Tensor root = x.narrow(-1, 0, counted).square().mean(-1, keepdim).sqrt() + 1e-8;
    CHECK(distance(partial(p), x / root) < 1e-12);
  }
  // 100 * 0.07 is above 7 in floating point, by rounding alone.
  const Tensor wide = normal({2, 100});
  const RMSNorm norm({.normalized_shape = {100}, .elementwise_affine = false, .partial = 0.07});
  CHECK(norm(wide).to_vector<double>() == rms_norm(wide, {}, 1e-8, RmsEps::outside, 7).to_vector<double>());
}

TEST_CASE("Xu et al.: closed forms of detached statistics") {
  const Tensor x = normal({4, 6}, 1) * 2 + 1, dy = normal({4, 6}, 2);
  const Tensor centred = x - x.mean(-1, keepdim);
  const Tensor sigma = (centred.square().mean(-1, keepdim) + 0.1).sqrt(), x_hat = centred / sigma;
  const Tensor mean_g = dy.mean(-1, keepdim), mean_gx = (dy * x_hat).mean(-1, keepdim);
  const auto of = [&](bool mean, bool std) {
    const LayerNorm norm({.normalized_shape = {6},
                          .eps = 0.1,
                          .elementwise_affine = false,
                          .detach_mean = mean,
                          .detach_std = std});
    CHECK(distance(norm(x), x_hat) < 1e-12);
    return gradient(norm, x, dy);
  };
  const auto check = [&] {
    CHECK(distance(of(false, false), (dy - mean_g - x_hat * mean_gx) / sigma) < 1e-12);
    CHECK(distance(of(true, false), (dy - x_hat * mean_gx) / sigma) < 1e-12);
    CHECK(distance(of(false, true), (dy - mean_g) / sigma) < 1e-12);
    CHECK(distance(of(true, true), dy / sigma) < 1e-12);
  };
  check();
  const DefinitionsOnly definitions;
  check();
}

TEST_CASE("AdaNorm: C (1 - k y) y, whose factor is a constant for the gradient") {
  const AdaNorm norm({.normalized_shape = {6}, .eps = 0.1, .scale = 2, .k = 0.3});
  const Tensor x = normal({4, 6}, 1) * 2 + 1, dz = normal({4, 6}, 2), y = layer_norm(x, {}, {}, 0.1);
  CHECK(distance(norm(x), 2 * (1 - 0.3 * y) * y) < 1e-12);
  const auto plain = [](const Tensor& in) { return layer_norm(in, {}, {}, 0.1); };
  CHECK(distance(gradient(norm, x, dz), gradient(plain, x, 2 * (1 - 0.3 * y) * dz)) < 1e-12);
}

TEST_CASE("gradients of a LayerNorm row sum to zero; along x_hat they are what eps leaves") {
  const double eps = 0.3;
  const Tensor x = normal({6, 8}, 1) * 2 + 5, weight = normal({8}, 2), dy = normal({6, 8}, 3);
  const Tensor dx = gradient([&](const Tensor& in) { return layer_norm(in, weight, {}, eps); }, x, dy);
  CHECK(largest(dx.sum(-1)) < 1e-13);
  const Tensor v = x.var(-1, false), sigma = (v + eps).sqrt(), x_hat = layer_norm(x, {}, {}, eps);
  const Tensor mean_gx = (dy * weight * x_hat).mean(-1);
  CHECK(distance((dx * x_hat).sum(-1), 8 / sigma * mean_gx * eps / (v + eps)) < 1e-12);
}

TEST_CASE("gradients of RMSNorm, L2Norm and ScaleNorm are orthogonal to x without eps") {
  const Tensor x = normal({6, 8}, 1) + 1, weight = normal({8}, 2), gain = normal({1}, 4),
               dy = normal({6, 8}, 3);
  const auto along = [&](auto&& f) {
    const Tensor dx = gradient(f, x, dy);
    CHECK(largest(dx) > 0.01);
    return largest((dx * x).sum(-1));
  };
  CHECK(along([&](const Tensor& in) { return rms_norm(in, weight, 0); }) < 1e-13);
  CHECK(along([&](const Tensor& in) { return rms_norm(in, weight, 0, RmsEps::inside); }) < 1e-13);
  CHECK(along([&](const Tensor& in) { return rms_norm(in, weight, 0, RmsEps::inside, 3); }) < 1e-13);
  CHECK(along([&](const Tensor& in) { return l2_norm(in); }) < 1e-13);
  CHECK(along([&](const Tensor& in) { return l2_norm(in, gain); }) < 1e-13);
  CHECK(along([&](const Tensor& in) { return layer_norm(in, weight, {}, 0); }) < 1e-13);
}

TEST_CASE("RMSNorm of W x: scaling W divides the gradient of W, scaling x leaves it (paper, eq. 9 and 10)") {
  const Tensor weights = normal({5, 3}, 1), x = normal({4, 3}, 2), dy = normal({4, 5}, 3);
  const auto of = [&](const Tensor& w, const Tensor& in) {
    return gradient([&](const Tensor& at) { return rms_norm_without_eps(linear(in, at)); }, w, dy);
  };
  const Tensor dw = of(weights, x);
  CHECK(largest(dw) > 0.1);
  CHECK(distance(of(4 * weights, x), dw / 4) < 1e-13);
  CHECK(distance(of(weights, 4 * x), dw) < 1e-13);
}

TEST_CASE("scaling the input by a > 0 changes the output by the factor that eps allows") {
  const double eps = 0.05;
  const Tensor x = normal({4, 6}, 1) + 1;
  for (const double a : {0.25, 3.0, 100.0}) {
    CAPTURE(a);
    const auto inside = [&](const Tensor& v) { return (a * a * (v + eps) / (a * a * v + eps)).sqrt(); };
    const Tensor v = x.var(-1, false, keepdim), square = x.square().mean(-1, keepdim), root = square.sqrt();
    const auto layer = [&](const Tensor& in) { return layer_norm(in, {}, {}, eps); };
    CHECK(distance(layer(a * x), layer(x) * inside(v)) < 1e-12);
    const auto in_root = [&](const Tensor& in) { return rms_norm(in, {}, eps, RmsEps::inside); };
    CHECK(distance(in_root(a * x), in_root(x) * inside(square)) < 1e-12);
    const auto out_of_root = [&](const Tensor& in) { return rms_norm(in, {}, eps); };
    CHECK(distance(out_of_root(a * x), out_of_root(x) * (a * (root + eps) / (a * root + eps))) < 1e-12);
    CHECK(distance(l2_norm(a * x), l2_norm(x)) < 1e-14);
  }
}

TEST_CASE("a negative scale flips the output") {
  const Tensor x = normal({4, 6}, 1) + 1;
  CHECK(distance(layer_norm(-3 * x, {}, {}, 0), -layer_norm(x, {}, {}, 0)) < 1e-13);
  CHECK(distance(rms_norm_without_eps(-3 * x), -rms_norm_without_eps(x)) < 1e-13);
  CHECK(distance(l2_norm(-3 * x), -l2_norm(x)) < 1e-13);
}

TEST_CASE("what shifting the input changes: nothing in LayerNorm for one scalar, else all") {
  const Tensor x = normal({4, 6}, 1), uneven = normal({6}, 2);
  CHECK(distance(layer_norm(x + 7), layer_norm(x)) < 1e-12);
  CHECK(distance(layer_norm(x + uneven), layer_norm(x)) > 0.1);
  CHECK(distance(rms_norm(x + 7), rms_norm(x)) > 0.1);
  CHECK(distance(l2_norm(x + 7), l2_norm(x)) > 0.1);
}

TEST_CASE("DynamicTanh is neither scale nor shift invariant, and stays within |weight| + |bias|") {
  DynamicTanh norm(6);
  norm.to(f64);
  const Tensor x = normal({4, 6}, 1);
  CHECK(distance(norm(x), (0.5 * x).tanh()) < 1e-12);
  CHECK(distance(norm(2 * x), norm(x)) > 0.1);
  CHECK(distance(norm(x + 1), norm(x)) > 0.1);
  randomize(norm, 5);
  norm.alpha.detach().fill_(50);
  const Tensor bound = norm.weight.detach().abs() + norm.bias.detach().abs();
  CHECK((norm(1e6 * x).detach().abs() <= bound).all().item() == 1);
}

TEST_CASE("one entry: LayerNorm gives the bias and no gradient, RMSNorm and L2Norm the sign") {
  const Tensor x = tensor<double>({3, -0.5, 1e4}, {3, 1}), dy = normal({3, 1}, 2);
  const Tensor weight = tensor({2}, f64), bias = tensor({0.25}, f64);
  const auto layer = [&](const Tensor& in) { return layer_norm(in, weight, bias); };
  CHECK(layer(x).to_vector<double>() == std::vector<double>(3, 0.25));
  CHECK(largest(gradient(layer, x, dy)) == 0);
  CHECK(distance(rms_norm_without_eps(x), x.sign()) < 1e-15);
  CHECK(distance(l2_norm(x), x.sign()) < 1e-15);
  CHECK(largest(gradient([](const Tensor& in) { return l2_norm(in); }, x, dy)) < 1e-15);
}

TEST_CASE("two entries: LayerNorm gives +-1 up to eps; a constant row the bias") {
  CHECK(distance(layer_norm(tensor<double>({1, 5, 9, -9}, {2, 2})), tensor<double>({-1, 1, 1, -1}, {2, 2})) <
        1e-5);
  const Tensor weight = normal({3}, 1), bias = normal({3}, 2);
  CHECK(layer_norm(full({2, 3}, 4, f64), weight, bias)[1].to_vector<double>() == bias.to_vector<double>());
}

TEST_CASE("sizes from 1e-20 to 1e20 in f32: unit rows stay unit rows") {
  const Tensor base = normal({3, 16}, 1).to(f32);
  for (const double size : {1e-20, 1e-10, 1e10, 1e20}) {
    CAPTURE(size);
    const Tensor x = base * size;
    CHECK(distance(layer_norm(x, {}, {}, 0), layer_norm(base, {}, {}, 0)) < 1e-5);
    CHECK(distance(rms_norm_without_eps(x), rms_norm_without_eps(base)) < 1e-5);
    CHECK(distance(l2_norm(x, {}, 0), l2_norm(base, {}, 0)) < 1e-5);
    CHECK(gradient([](const Tensor& in) { return l2_norm(in); }, x, base).isfinite().all().item() == 1);
  }
}

TEST_CASE("LayerScale starts by depth; ReZero passes nothing at first, and only its own gradient flows") {
  CHECK(layer_scale_init(12) == 0.1);
  CHECK(layer_scale_init(18) == 0.1);
  CHECK(layer_scale_init(24) == 1e-5);
  CHECK(layer_scale_init(36) == 1e-6);
  const Tensor x = normal({2, 3}).to(f32);
  CHECK(distance(LayerScale(3)(x), x * 0.1) < 1e-8);
  CHECK(distance(LayerScale(3, 1e-5)(x), x * 1e-5) < 1e-12);
  const ReZero rezero;
  const Tensor in = x.clone().set_requires_grad(), dy = normal({2, 3}, 2).to(f32);
  const auto gradients = grad({rezero(in)}, {in, rezero.weight}, {dy});
  CHECK(largest(rezero(x)) == 0);
  CHECK(largest(gradients[0]) == 0);
  CHECK(distance(gradients[1], (x * dy).sum().reshape({1})) < 1e-6);
}

TEST_CASE("every method by name: the same in both modes, and per token exactly where it says so") {
  const Tensor x = normal({2, 5, 32}).to(f32);
  const Tensor changed = x.clone();
  changed[1].narrow(0, 4, 1).fill_(3);
  for (const NormInfo& info : norm_methods()) {
    CAPTURE(std::string(info.name));
    AnyLayer norm = make_norm(info.name, 32);
    CHECK_FALSE(info.what.empty());
    CHECK(is_per_token(info.name) == info.per_token);
    const Tensor y = norm(x), z = norm(changed);
    const auto first = [](const Tensor& t) {
      return t.detach().flatten(0, 1).narrow(0, 0, 9).to_vector<float>();
    };
    CHECK((first(y) == first(z)) == info.per_token);
    if (!info.per_token) continue;
    norm.eval();
    CHECK(norm(x).to_vector<float>() == y.to_vector<float>());
  }
}

TEST_SUITE_END();
