// What a reduction is, for all backends that are fast: how values are combined, and which axes are kept.
#pragma once

#include <limits>
#include <type_traits>

#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {

/// Start value, type of the total, and how two values of T or two totals are combined.
template <Reduce op, class T>
struct Reduction {
  static constexpr bool is_sum = op == Reduce::sum;
  using Total = std::conditional_t<is_sum && std::is_floating_point_v<T>, double, T>;

  template <class A>
  NORMA_HOST_DEVICE static A start() {
    constexpr bool has_infinity = std::numeric_limits<A>::has_infinity;
    if constexpr (op == Reduce::max) {
      return has_infinity ? -std::numeric_limits<A>::infinity() : std::numeric_limits<A>::lowest();
    } else if constexpr (op == Reduce::min) {
      return has_infinity ? std::numeric_limits<A>::infinity() : std::numeric_limits<A>::max();
    } else {
      return A(op == Reduce::all);
    }
  }
  template <class A>
  NORMA_HOST_DEVICE static A merge(A a, A b) {
    if constexpr (op == Reduce::sum && std::is_unsigned_v<A>)
      return a + b;  // i64, which wraps around
    else if constexpr (op == Reduce::sum)
      return arithmetic<Binary::add>(a, b);
    if constexpr (op == Reduce::max) return arithmetic<Binary::maximum>(a, b);
    if constexpr (op == Reduce::min) return arithmetic<Binary::minimum>(a, b);
    if constexpr (op == Reduce::any) return a || b;
    if constexpr (op == Reduce::all) return a && b;
  }
};

/// Kept axes with the strides of (y, x); reduced axes with the strides of x.
struct ReductionPlan {
  Loop<2> kept;
  Loop<1> reduced;
};

inline ReductionPlan make_plan(const View& y, const View& x) {
  NORMA_ASSERT(y.rank == x.rank);
  ReductionPlan plan;
  for (int axis = 0; axis < x.rank; ++axis) {
    if (y.shape[axis] == x.shape[axis]) {
      plan.kept.push(x.shape[axis], {y.strides[axis], x.strides[axis]});
    } else {
      NORMA_ASSERT(y.shape[axis] == 1);
      plan.reduced.push(x.shape[axis], {x.strides[axis]});
    }
  }
  plan.kept = coalesce(plan.kept, true);
  plan.reduced = coalesce(plan.reduced, true);
  return plan;
}

}  // namespace norma
