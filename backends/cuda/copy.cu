// copy: y = x with conversion; fill: y = value; where: y = condition ? a : b. Views of one shape, any
// strides. copy of equal dtypes between contiguous views is the runtime's own.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/elements.cuh"
#include "backends/elementwise.h"

namespace norma {
namespace {

template <class Y, class X>
struct Convert {
  __device__ Y operator()(X x) const { return convert<Y>(x); }
};

template <class T>
struct Constant {
  T value;
  __device__ T operator()() const { return value; }
};

template <class T>
struct Choose {
  __device__ T operator()(bool condition, T a, T b) const { return condition ? a : b; }
};

}  // namespace

void CudaBackend::copy(View y, View x) {
  if (y.dtype == x.dtype && y.is_contiguous() && x.is_contiguous()) {
    if (y.numel() == 0) return;
    NORMA_CUDA(cudaMemcpyAsync(y.data, x.data, static_cast<std::size_t>(y.numel() * size_of(y.dtype)),
                               cudaMemcpyDeviceToDevice, stream_));
    return;
  }
  for_any(y.dtype, [&]<class Y>() {
    for_any(x.dtype, [&]<class X>() { map<Y, X>(stream_, Convert<Y, X>(), y, x); });
  });
}

void CudaBackend::fill(View y, double value, std::int64_t integral) {
  for_any(y.dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, std::int64_t>) {
      map<T>(stream_, Constant<T>{integral}, y);
    } else {
      map<T>(stream_, Constant<T>{convert<T>(value)}, y);
    }
  });
}

void CudaBackend::where(View y, View condition, View a, View b) {
  for_any(y.dtype, [&]<class T>() { map<T, bool, T, T>(stream_, Choose<T>(), y, condition, a, b); });
}

}  // namespace norma
