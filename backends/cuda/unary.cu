// unary: y = op(x). Views of one shape, any strides; x may be y. Formulas in backends/elementwise.h.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/elements.cuh"
#include "backends/elementwise.h"

namespace norma {
namespace {

template <Unary op, class T>
struct FloatUnary {
  T a, b;
  __device__ T operator()(T x) const { return float_unary<op>(x, a, b); }
};

/// The common exponents without pow, which takes a hundred instructions. All threads take one branch.
template <class T>
struct Power {
  T exponent;
  __device__ T operator()(T x) const {
    if (exponent == T(2)) return x * x;
    if (exponent == T(3)) return x * x * x;
    if (exponent == T(1)) return x;
    if (exponent == T(-1)) return T(1) / x;
    if (exponent == T(-2)) return T(1) / (x * x);
    return std::pow(x, exponent);
  }
};

template <Unary op>
struct IntegerUnary {
  std::int64_t a, b;
  __device__ std::int64_t operator()(std::int64_t x) const { return integer_unary<op>(x, a, b); }
};

template <Unary op, class T>
struct Predicate {
  __device__ bool operator()(T x) const { return predicate<op>(x); }
};

template <Unary op>
void run(cudaStream_t stream, const View& y, const View& x, double a, double b) {
  if constexpr (op == Unary::logical_not) {
    NORMA_CHECK(x.dtype == boolean, name(op), ": needs a bool tensor, got ", x.dtype);
    map<bool, bool>(stream, Predicate<op, bool>(), y, x);
  } else if constexpr (is_predicate(op)) {
    for_float(x.dtype, name(op), [&]<class T>() { map<bool, T>(stream, Predicate<op, T>(), y, x); });
  } else {
    if constexpr (has_integer_form(op)) {
      if (x.dtype == i64) {
        const IntegerUnary<op> f{convert<std::int64_t>(std::round(a)), convert<std::int64_t>(std::round(b))};
        return map<std::int64_t, std::int64_t>(stream, f, y, x);
      }
    }
    for_float(x.dtype, name(op), [&]<class T>() {
      if constexpr (op == Unary::power) {
        map<T, T>(stream, Power<T>{static_cast<T>(a)}, y, x);
      } else {
        map<T, T>(stream, FloatUnary<op, T>{static_cast<T>(a), static_cast<T>(b)}, y, x);
      }
    });
  }
}

}  // namespace

void CudaBackend::unary(Unary op, View y, View x, double a, double b) {
  with_unary(op, [&]<Unary o>() { run<o>(stream_, y, x, a, b); });
}

}  // namespace norma
