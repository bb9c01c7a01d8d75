#include "autograd/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "autograd/node.h"
#include "autograd/ops.h"

namespace norma {
namespace {

using Values = std::vector<double>;

bool same_bits(const Values& a, const Values& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
}

/// Fixed numbers of order 1, none close to zero, for directions and upstream gradients.
Tensor direction(const Shape& shape, Device device, Generator& generator) {
  Values values(static_cast<std::size_t>(shape.numel()));
  for (double& value : values) {
    const double size = 0.5 + generator.uniform();
    value = generator.uniform() < 0.5 ? size : -size;
  }
  return tensor(values, shape, device);
}

/// A copy in memory of its own whose axes have the same order and whose innermost stride is the same.
Array copy_with_layout(const Array& x) {
  std::vector<int> order(static_cast<std::size_t>(x.rank())), back(order.size());
  std::iota(order.begin(), order.end(), 0);
  const auto stride = [&](int axis) { return x.strides()[static_cast<std::size_t>(axis)]; };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return stride(a) > stride(b); });
  for (std::size_t i = 0; i < order.size(); ++i)
    back[static_cast<std::size_t>(order[i])] = static_cast<int>(i);
  if (order.empty() || x.numel() == 0) return x.clone();
  const Array sorted = x.permute(order);
  const std::int64_t step = std::max<std::int64_t>(stride(order.back()), 1);
  const Array memory =
      Array::zeros(sorted.shape().with(-1, sorted.shape()[-1] * step), x.dtype(), x.device());
  const Array copy = memory.slice(-1, {.step = step}).permute(back);
  copy.copy_from(x);
  return copy;
}

double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// One comparison of a derivative with its central difference, and where it stands.
struct Place {
  std::size_t input;
  std::int64_t element, output;  // -1: the whole, along a random direction
};

class Checker {
 public:
  Checker(const TensorFunction& function, const std::vector<Tensor>& inputs, const GradCheckOptions& options)
      : function_(function), options_(options), generator_(options.seed) {
    bool any = false;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      leaves_.push_back(leaf(inputs, i));
      any = any || leaves_.back().requires_grad();
    }
    NORMA_CHECK(any, "gradcheck: none of the ", inputs.size(), " inputs requires a gradient");
  }

  GradCheckReport run() {
    const EnableGrad recording;
    const Tensor y = evaluate();
    const Values weights = options_.random_direction
                               ? direction(y.shape(), y.device(), generator_).to_vector<double>()
                               : Values();
    const auto first = analytical(y, weights);
    const Tensor again = evaluate();
    const auto second = analytical(again, weights);
    if (!same_bits(y.to_vector<double>(), again.to_vector<double>())) {
      fail("gradcheck: nondeterministic: two evaluations at the same inputs gave different results");
      return report_;
    }
    for (std::size_t i = 0; i < first.size(); ++i) {
      for (std::size_t o = 0; o < first[i].size(); ++o) {
        if (same_bits(first[i][o], second[i][o])) continue;
        fail(detail::concat(
            "gradcheck: nondeterministic: two backward passes gave different gradients for input ", i));
        return report_;
      }
    }
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      if (!leaves_[i].requires_grad()) continue;
      if (options_.random_direction) {
        check_direction(i, first[i][0], weights);
      } else {
        check_jacobian(i, first[i]);
      }
    }
    return report_;
  }

 private:
  /// A leaf of our own: the check changes its values.
  static Tensor leaf(const std::vector<Tensor>& inputs, std::size_t i) {
    const Tensor& x = inputs[i];
    if (!x.defined()) return x;
    NORMA_CHECK(x.dtype() != f32, "gradcheck: input ", i, " ", x.shape(),
                " is f32; differences need f64, convert with to(f64)");
    if (!x.requires_grad()) return x.detach();
    NORMA_CHECK(!overlaps_itself(x.array()), "gradcheck: input ", i, " ", x.shape(),
                " overlaps itself in memory (an expanded axis): changing one element would change several; "
                "pass contiguous()");
    return Tensor(copy_with_layout(x.array())).set_requires_grad();
  }

  Tensor evaluate() const {
    Tensor y = function_(leaves_);
    NORMA_CHECK(y.defined() && y.dtype() == f64, "gradcheck: the function must return an f64 tensor, got ",
                y.defined() ? name(y.dtype()) : "an undefined tensor");
    return y;
  }

  /// gradients[input][output]: one gradient per output element, or the one of <weights, y>.
  std::vector<std::vector<Values>> analytical(const Tensor& y, const Values& weights) const {
    const std::size_t count = weights.empty() ? static_cast<std::size_t>(y.numel()) : 1;
    std::vector<Tensor> wanted;
    for (const Tensor& x : leaves_) {
      if (x.requires_grad()) wanted.push_back(x);
    }
    std::vector<std::vector<Values>> gradients(leaves_.size());
    for (std::size_t o = 0; o < count; ++o) {
      Values seed = weights;
      if (seed.empty()) {
        seed.assign(count, 0);
        seed[o] = 1;
      }
      std::vector<Tensor> found(wanted.size());
      if (y.requires_grad())
        found = grad({y}, wanted, {tensor(seed, y.shape(), y.device())},
                     {.retain_graph = true, .allow_unused = true});
      for (std::size_t i = 0, next = 0; i < leaves_.size(); ++i) {
        if (!leaves_[i].requires_grad()) continue;
        const Tensor& dx = found[next++];
        gradients[i].push_back(dx.defined() ? dx.to_vector<double>()
                                            : Values(static_cast<std::size_t>(leaves_[i].numel()), 0));
      }
    }
    return gradients;
  }

  /// Values of the function with input i moved to `values`; the input is put back.
  Values at(std::size_t i, const Values& values, const Values& original) const {
    const Array& place = leaves_[i].array();
    const auto put = [&](const Values& v) { place.copy_from(Array::from(v, place.shape(), place.device())); };
    put(values);
    try {
      Values y = evaluate().to_vector<double>();
      put(original);
      return y;
    } catch (...) {
      put(original);
      throw;
    }
  }

  /// (f(x + h u) - f(x - h u)) / 2 h
  Values difference(std::size_t i, const Values& u) const {
    const Values original = leaves_[i].to_vector<double>();
    Values up = original, down = original;
    for (std::size_t e = 0; e < u.size(); ++e) {
      up[e] += options_.step * u[e];
      down[e] -= options_.step * u[e];
    }
    Values above = at(i, up, original);
    const Values below = at(i, down, original);
    NORMA_CHECK(above.size() == below.size(), "gradcheck: the shape of the result changes with the input");
    for (std::size_t o = 0; o < above.size(); ++o) above[o] = (above[o] - below[o]) / (2 * options_.step);
    return above;
  }

  void check_jacobian(std::size_t i, const std::vector<Values>& gradients) {
    const std::size_t count = static_cast<std::size_t>(leaves_[i].numel());
    for (std::size_t e = 0; e < count; ++e) {
      Values u(count, 0);
      u[e] = 1;
      const Values numerical = difference(i, u);
      for (std::size_t o = 0; o < gradients.size(); ++o)
        compare({i, static_cast<std::int64_t>(e), static_cast<std::int64_t>(o)}, gradients[o][e],
                numerical[o]);
    }
  }

  void check_direction(std::size_t i, const Values& gradient, const Values& weights) {
    const Values u = direction(leaves_[i].shape(), leaves_[i].device(), generator_).to_vector<double>();
    compare({i, -1, -1}, dot(gradient, u), dot(weights, difference(i, u)));
  }

  void compare(Place place, double analytical, double numerical) {
    const double error = std::abs(analytical - numerical);
    const double allowed = options_.absolute + options_.relative * std::abs(numerical);
    const bool right = error <= allowed;  // false for NaN
    const double rated = std::isfinite(error) ? error / allowed : HUGE_VAL;
    if (std::isfinite(error)) report_.worst_error = std::max(report_.worst_error, error);
    if (right || rated <= worst_rated_) return;
    worst_rated_ = rated;
    const std::string where =
        place.element < 0 ? std::string(" along a random direction")
                          : detail::concat(", element ", place.element, ", output element ", place.output);
    fail(detail::concat("gradcheck: input ", place.input, where, ": analytical ", analytical, ", numerical ",
                        numerical, " (difference ", error, ", allowed ", allowed, ")"));
    if (!std::isfinite(error)) report_.worst_error = error;
  }

  void fail(std::string message) {
    report_.passed = false;
    report_.message = std::move(message);
  }

  const TensorFunction& function_;
  GradCheckOptions options_;
  Generator generator_;
  std::vector<Tensor> leaves_;
  GradCheckReport report_;
  double worst_rated_ = 0;
};

}  // namespace

GradCheckReport gradcheck(const TensorFunction& function, const std::vector<Tensor>& inputs,
                          const GradCheckOptions& options) {
  return Checker(function, inputs, options).run();
}

GradCheckReport gradgradcheck(const TensorFunction& function, const std::vector<Tensor>& inputs,
                              const GradCheckOptions& options) {
  const EnableGrad recording;
  Generator generator(options.seed + 1);
  const Tensor y = function(inputs);
  check_defined("gradgradcheck", "the result of the function", y);
  // The upstream gradient is an input too: derivatives with respect to it are part of the backward pass.
  std::vector<Tensor> extended = inputs;
  extended.push_back(direction(y.shape(), y.device(), generator).set_requires_grad());
  std::vector<Tensor> contractions;
  for (const Tensor& x : inputs) {
    contractions.push_back(x.requires_grad() ? direction(x.shape(), x.device(), generator) : Tensor());
  }
  const auto contracted_gradient = [&](const std::vector<Tensor>& at) {
    const EnableGrad inner;
    const std::vector<Tensor> xs(at.begin(), at.end() - 1);
    std::vector<Tensor> wanted;
    std::vector<Tensor> weights;
    for (std::size_t i = 0; i < xs.size(); ++i) {
      if (!contractions[i].defined()) continue;
      wanted.push_back(xs[i]);
      weights.push_back(contractions[i]);
    }
    Tensor total = Tensor::scalar(0, f64, at.back().device());
    const Tensor result = function(xs);
    if (!result.requires_grad()) return total;
    const auto found =
        norma::grad({result}, wanted, {at.back()}, {.create_graph = true, .allow_unused = true});
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i].defined()) total = total + (found[i] * weights[i]).sum();
    }
    return total;
  };
  GradCheckReport report = gradcheck(contracted_gradient, extended, options);
  if (!report.passed) report.message = "second derivative, " + report.message;
  return report;
}

}  // namespace norma
