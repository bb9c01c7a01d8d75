// The sum of the gradients that a backward walk brings to one tensor. Those of its parts (slices) are written
// into one buffer, each in its place: the parts of a split then cost as much as the whole. Zeros come last,
// and only where no part was written.
#pragma once

#include <memory>
#include <utility>

#include "autograd/node.h"

namespace norma::detail {

class GradientSum {
 public:
  /// sum += gradient, in place where nobody else can see it.
  void add(Tensor gradient) {
    if (Tensor& sum = total(); sum.defined()) {
      add_to(sum, gradient);
    } else {
      sum = std::move(gradient);
    }
  }
  /// sum[part] += gradient, without history. `shape`: of the whole sum.
  void add_part(const Array& gradient, const Shape& shape, const Part& part);
  /// Undefined while nothing was added.
  Tensor& total() {
    if (written_ != nullptr) fill_the_rest();
    return sum_;
  }

 private:
  class Written;
  struct Free {
    void operator()(Written* written) const;
  };

  static void add_to(Tensor& sum, const Tensor& gradient);
  void fill_the_rest();

  Tensor sum_;
  std::unique_ptr<Written, Free> written_;  // where sum_ has values; null: everywhere
};

/// True when the tensor and its memory are held by this handle only: it may be overwritten.
inline bool is_ours_alone(const Tensor& x) { return x.state().use_count() == 1 && x.array().is_sole_owner(); }

}  // namespace norma::detail
