// The gradient checker: derivatives against central differences in f64.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/tensor.h"

namespace norma {

using TensorFunction = std::function<Tensor(const std::vector<Tensor>& inputs)>;

struct GradCheckOptions {
  double step = 1e-6;
  double absolute = 1e-5;
  double relative = 1e-3;
  bool random_direction = false;  // one random direction instead of the full Jacobian: fast, for large inputs
  std::uint64_t seed = 1;
};

/// What the check found. Converts to true when all is well.
struct GradCheckReport {
  bool passed = true;
  std::string message;  // names op, input, element, output element and both values of the worst mismatch
  double worst_error = 0;
  explicit operator bool() const { return passed; }
};

/// Compares the gradient of `function` with respect to every f64 input that requires a gradient with central
/// differences, and runs it twice to detect nondeterminism. Throws Error when an input is f32, when none
/// requires a gradient, or when an input overlaps itself in memory (expanded): the numbers would be wrong.
/// Points where the function has a kink (relu at 0, ties of max) must be avoided by the caller.
GradCheckReport gradcheck(const TensorFunction& function, const std::vector<Tensor>& inputs,
                          const GradCheckOptions& options = {});

/// The same for second derivatives: the gradient, contracted with fixed random tensors, is checked by
/// gradcheck.
GradCheckReport gradgradcheck(const TensorFunction& function, const std::vector<Tensor>& inputs,
                              const GradCheckOptions& options = {});

}  // namespace norma
