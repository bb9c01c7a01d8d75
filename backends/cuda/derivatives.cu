// Gradients of elementwise ops (backends/derivatives.h) in one pass over memory. Views of one shape, any
// strides; the result may be an operand. Bytes of an element: 3 sizeof(T), of operands in two 4 sizeof(T).
#include "backends/derivatives.h"

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/elements.cuh"

namespace norma {

namespace {

template <Unary op, class T>
struct UnaryGradient {
  T a, b;
  __device__ T operator()(T dy, T v) const { return unary_gradient<op, DeviceMath>(dy, v, a, b); }
};
template <Binary op, int operand, class T>
struct BinaryGradient {
  __device__ T operator()(T dy, T a, T b) const { return binary_gradient<op, operand>(dy, a, b); }
};

}  // namespace

bool CudaBackend::unary_gradient(Unary op, View dx, View dy, View v, double a, double b) {
  return with_unary(op, [&]<Unary o>() {
    if constexpr (has_gradient(o)) {
      for_float(v.dtype, name(o), [&]<class T>() {
        map<T, T, T>(stream_, UnaryGradient<o, T>{static_cast<T>(a), static_cast<T>(b)}, dx, dy, v);
      });
    }
    return has_gradient(o);
  });
}

bool CudaBackend::binary_gradient(Binary op, int operand, View d, View dy, View a, View b) {
  return with_binary(op, [&]<Binary o>() {
    if constexpr (has_gradient(o)) {
      for_float(a.dtype, name(o), [&]<class T>() {
        if (operand == 0) {
          map<T, T, T, T>(stream_, BinaryGradient<o, 0, T>(), d, dy, a, b);
        } else {
          map<T, T, T, T>(stream_, BinaryGradient<o, 1, T>(), d, dy, a, b);
        }
      });
    }
    return has_gradient(o);
  });
}

}  // namespace norma
