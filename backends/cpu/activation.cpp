// gelu and silu (backends/activation.h), elementwise on contiguous views of any shape.
#include "backends/activation.h"

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/vector_math.h"
#include "backends/strided.h"

namespace norma {

namespace {

template <template <class, class> class Activation>
void forward(const char* op, const View& y_view, const View& x_view) {
  NORMA_ASSERT(y_view.is_contiguous() && x_view.is_contiguous());
  for_float(x_view.dtype, op, [&]<class T>() {
    T* y = pointer<T>(y_view);
    const T* x = pointer<T>(x_view);
    parallel_for(x_view.numel(), even_block(x_view.numel(), costly_elements),
                 [=](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) y[i] = Activation<T, VectorMath>::value(x[i]);
                 });
  });
}

template <template <class, class> class Activation>
void backward(const char* op, const View& dx_view, const View& x_view, const View& dy_view) {
  NORMA_ASSERT(dx_view.is_contiguous() && x_view.is_contiguous() && dy_view.is_contiguous());
  for_float(x_view.dtype, op, [&]<class T>() {
    T* dx = pointer<T>(dx_view);
    const T *x = pointer<T>(x_view), *dy = pointer<T>(dy_view);
    parallel_for(x_view.numel(), even_block(x_view.numel(), costly_elements),
                 [=](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i)
                     dx[i] = dy[i] * Activation<T, VectorMath>::slope(x[i]);
                 });
  });
}

}  // namespace

bool CpuBackend::gelu(View y, View x, bool tanh_form) {
  tanh_form ? forward<GeluTanh>("gelu", y, x) : forward<GeluErf>("gelu", y, x);
  return true;
}

bool CpuBackend::gelu_backward(View dx, View x, View dy, bool tanh_form) {
  tanh_form ? backward<GeluTanh>("gelu", dx, x, dy) : backward<GeluErf>("gelu", dx, x, dy);
  return true;
}

bool CpuBackend::silu(View y, View x) {
  forward<Silu>("silu", y, x);
  return true;
}

bool CpuBackend::silu_backward(View dx, View x, View dy) {
  backward<Silu>("silu", dx, x, dy);
  return true;
}

}  // namespace norma
