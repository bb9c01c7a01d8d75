#include "nn/residual.h"

#include "autograd/ops.h"

namespace norma::nn {
namespace {
using Norms = SublayerNorms;
}

Tensor Stream::value() const { return branch_.defined() ? x_ + branch_ : x_; }

Stream::Normed Stream::through(AnyLayer& norm) const {
  if (!branch_.defined()) return {x_, norm(x_)};
  auto [sum, normed] = norm.add_then(x_, branch_);
  return {std::move(sum), std::move(normed)};
}

Residual Residual::plain() {
  return {.equation = "x + F(x)", .norms = 0, .apply = [](const Stream& s, const Norms&, const Sublayer& f) {
            const Tensor x = s.value();
            return Stream(x, f(x));
          }};
}

Residual Residual::pre() {
  return {.equation = "x + F(N(x))", .apply = [](const Stream& s, const Norms& n, const Sublayer& f) {
            const auto [x, normed] = s.through(n.first);
            return Stream(x, f(normed));
          }};
}

Residual Residual::post() {
  return {.equation = "N(x + F(x))", .apply = [](const Stream& s, const Norms& n, const Sublayer& f) {
            const Tensor x = s.value();
            return Stream(Stream(x, f(x)).through(n.first).normed);
          }};
}

Residual Residual::normed() {
  return {.equation = "N(x) + F(N(x))", .apply = [](const Stream& s, const Norms& n, const Sublayer& f) {
            const Tensor u = s.through(n.first).normed;
            return Stream(u, f(u));
          }};
}

Residual Residual::output() {
  return {.equation = "x + N(F(x))", .apply = [](const Stream& s, const Norms& n, const Sublayer& f) {
            const Tensor x = s.value();
            return Stream(x, n.first(f(x)));
          }};
}

Residual Residual::sandwich() {
  return {.equation = "x + N2(F(N1(x)))",
          .norms = 2,
          .apply = [](const Stream& s, const Norms& n, const Sublayer& f) {
            const auto [x, normed] = s.through(n.first);
            return Stream(x, n.second(f(normed)));
          }};
}

Residual Residual::scaled_post(double a) {
  return {.equation = norma::detail::concat("N(", a, " x + F(x))"),
          .apply = [a](const Stream& s, const Norms& n, const Sublayer& f) {
            const Tensor x = s.value();
            return Stream(Stream(x * a, f(x)).through(n.first).normed);
          }};
}

Residual Residual::scaled_pre(double c) {
  return {.equation = norma::detail::concat("x + F(", c, " N(x))"),
          .apply = [c](const Stream& s, const Norms& n, const Sublayer& f) {
            const auto [x, normed] = s.through(n.first);
            return Stream(x, f(normed * c));
          }};
}

Residual Residual::rezero() {
  Residual scheme = output();
  scheme.equation = "x + a F(x)";
  scheme.first = "rezero";
  return scheme;
}

Residual Residual::layer_scale() {
  Residual scheme = sandwich();
  scheme.equation = "x + s F(N(x))";
  scheme.second = "layer_scale";
  return scheme;
}

}  // namespace norma::nn
