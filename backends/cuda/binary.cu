// binary: y = op(a, b), and y = op(x, s) with a scalar. Views of one shape, any strides (zero where
// broadcast); an operand may be y. Formulas in backends/elementwise.h. An i64 division by zero is noted
// (device_errors.h), and its element is 0.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/device_errors.cuh"
#include "backends/cuda/elements.cuh"
#include "backends/elementwise.h"

namespace norma {
namespace {

template <Binary op, class T>
struct Arithmetic {
  __device__ T operator()(T a, T b) const { return arithmetic<op>(a, b); }
};

struct IntegerDivision {
  DeviceCheck check;
  __device__ std::int64_t operator()(std::int64_t a, std::int64_t b) const {
    if (b == 0) check.note(0, 0);
    return arithmetic<Binary::div>(a, b);
  }
};

template <Binary op, class T>
struct Comparison {
  __device__ bool operator()(T a, T b) const { return compare<op>(a, b); }
};

/// f(x, s), or f(s, x).
template <class Y, class T, class F>
struct WithScalar : F {
  T s;
  std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t> scalar_first;  // not a bool: no padding
  __device__ Y operator()(T x) const {
    const F& f = *this;
    return scalar_first != 0 ? f(s, x) : f(x, s);
  }
};

/// Calls apply.operator()<Y, T>(f) with the function of the op for operands of this dtype.
template <Binary op, class Apply>
void choose(DType dtype, DeviceErrors& errors, Apply&& apply) {
  if constexpr (is_logical(op)) {
    NORMA_CHECK(dtype == boolean, name(op), ": needs bool tensors, got ", dtype);
    apply.template operator()<bool, bool>(Comparison<op, bool>());
  } else if constexpr (is_comparison(op)) {
    for_any(dtype, [&]<class T>() { apply.template operator()<bool, T>(Comparison<op, T>()); });
  } else {
    NORMA_CHECK(dtype != boolean, name(op), ": needs numbers, got bool tensors; convert them with to()");
    if (dtype == i64) {
      if constexpr (op == Binary::div) {
        apply.template operator()<std::int64_t, std::int64_t>(IntegerDivision{errors.divisors()});
      } else {
        apply.template operator()<std::int64_t, std::int64_t>(Arithmetic<op, std::int64_t>());
      }
    } else {
      for_float(dtype, name(op), [&]<class T>() { apply.template operator()<T, T>(Arithmetic<op, T>()); });
    }
  }
}

}  // namespace

void CudaBackend::binary(Binary op, View y, View a, View b) {
  NORMA_CHECK(a.dtype == b.dtype, name(op), ": operands must have one dtype, got ", a.dtype, " and ",
              b.dtype);
  with_binary(op, [&]<Binary o>() {
    choose<o>(a.dtype, errors_, [&]<class Y, class T>(const auto& f) { map<Y, T, T>(stream_, f, y, a, b); });
  });
}

void CudaBackend::binary_scalar(Binary op, View y, View x, double s, bool scalar_first) {
  with_binary(op, [&]<Binary o>() {
    choose<o>(x.dtype, errors_, [&]<class Y, class T>(const auto& f) {
      T value;
      if constexpr (std::is_same_v<T, std::int64_t>) {
        value = convert<T>(std::round(s));
        NORMA_CHECK(o != Binary::div || scalar_first || value != 0 || x.numel() == 0,
                    "div: division by zero of an i64 tensor");
      } else {
        value = convert<T>(s);
      }
      using F = std::remove_cvref_t<decltype(f)>;
      map<Y, T>(stream_, WithScalar<Y, T, F>{f, value, scalar_first ? 1 : 0}, y, x);
    });
  });
}

}  // namespace norma
