// gelu and silu (backends/activation.h), elementwise on contiguous views of any shape. Bytes of an element,
// forward: 2 sizeof(T), backward: 3 sizeof(T).
#include "backends/activation.h"

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/elements.cuh"

namespace norma {

namespace {

template <class T, template <class, class> class Activation>
struct Value {
  __device__ T operator()(T x) const { return Activation<T, DeviceMath>::value(x); }
};
template <class T, template <class, class> class Activation>
struct Slope {
  __device__ T operator()(T x, T dy) const { return dy * Activation<T, DeviceMath>::slope(x); }
};

template <template <class, class> class Activation>
void forward(cudaStream_t stream, const char* op, const View& y, const View& x) {
  for_float(x.dtype, op, [&]<class T>() { map<T, T>(stream, Value<T, Activation>(), y, x); });
}
template <template <class, class> class Activation>
void backward(cudaStream_t stream, const char* op, const View& dx, const View& x, const View& dy) {
  for_float(x.dtype, op, [&]<class T>() { map<T, T, T>(stream, Slope<T, Activation>(), dx, x, dy); });
}

}  // namespace

bool CudaBackend::gelu(View y, View x, bool tanh_form) {
  tanh_form ? forward<GeluTanh>(stream_, "gelu", y, x) : forward<GeluErf>(stream_, "gelu", y, x);
  return true;
}

bool CudaBackend::gelu_backward(View dx, View x, View dy, bool tanh_form) {
  tanh_form ? backward<GeluTanh>(stream_, "gelu", dx, x, dy) : backward<GeluErf>(stream_, "gelu", dx, x, dy);
  return true;
}

bool CudaBackend::silu(View y, View x) {
  forward<Silu>(stream_, "silu", y, x);
  return true;
}

bool CudaBackend::silu_backward(View dx, View x, View dy) {
  backward<Silu>(stream_, "silu", dx, x, dy);
  return true;
}

}  // namespace norma
