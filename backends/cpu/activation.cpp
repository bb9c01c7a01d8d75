// gelu (Hendrycks, Gimpel 2016, arXiv:1606.08415) and silu, elementwise on contiguous views of any shape.
//   erf form:   y = x Phi(x),          dy/dx = Phi(x) + x phi(x)
//   tanh form:  y = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3), which is x/2 (1 + tanh u) without
//   cancellation;
//               dy/dx = s + x s (1 - s) 2u'
//   silu:       y = x sigmoid(x),      dy/dx = s (1 + x (1 - s))
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/vector_math.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {

namespace {

constexpr double two_root_two_over_pi = 1.5957691216057308;  // 2 sqrt(2 / pi)
constexpr double cubic = 0.044715;

template <class T>
T logistic(T x) {
  return sigmoid(x, vector_exp(-std::fabs(x)));
}

template <class T>
struct GeluTanh {
  /// From here on s (1 - s) is 0, while x^2 would overflow further out.
  static constexpr T far = sizeof(T) == 4 ? T(10.5) : T(22);

  static T sigmoid_of(T x) { return logistic(T(two_root_two_over_pi) * x * (T(1) + T(cubic) * x * x)); }
  static T value(T x) { return x * sigmoid_of(x); }
  static T slope(T x) {
    x = x > far ? far : x < -far ? -far : x;
    const T s = sigmoid_of(x);
    return s + x * s * (T(1) - s) * (T(two_root_two_over_pi) * (T(1) + T(3 * cubic) * x * x));
  }
};

template <class T>
struct GeluErf {
  static constexpr T root_half = T(0.7071067811865476), density = T(0.3989422804014327);  // phi(0)

  static T cdf(T x) { return T(0.5) * (T(1) + vector_erf(x * root_half)); }
  static T value(T x) { return x * cdf(x); }
  static T slope(T x) { return cdf(x) + x * (density * vector_exp(T(-0.5) * x * x)); }
};

template <class T>
struct Silu {
  static T value(T x) { return x * logistic(x); }
  static T slope(T x) {
    const T s = logistic(x);
    return s * (T(1) + x * (T(1) - s));
  }
};

template <template <class> class Activation>
void forward(const char* op, const View& y_view, const View& x_view) {
  NORMA_ASSERT(y_view.is_contiguous() && x_view.is_contiguous());
  for_float(x_view.dtype, op, [&]<class T>() {
    T* y = pointer<T>(y_view);
    const T* x = pointer<T>(x_view);
    parallel_for(x_view.numel(), block_elements, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) y[i] = Activation<T>::value(x[i]);
    });
  });
}

template <template <class> class Activation>
void backward(const char* op, const View& dx_view, const View& x_view, const View& dy_view) {
  NORMA_ASSERT(dx_view.is_contiguous() && x_view.is_contiguous() && dy_view.is_contiguous());
  for_float(x_view.dtype, op, [&]<class T>() {
    T* dx = pointer<T>(dx_view);
    const T *x = pointer<T>(x_view), *dy = pointer<T>(dy_view);
    parallel_for(x_view.numel(), block_elements, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) dx[i] = dy[i] * Activation<T>::slope(x[i]);
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
