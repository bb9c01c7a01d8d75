// adam: one update of contiguous weight w, moments m and v from gradient g (Kingma, Ba 2015, arXiv:1412.6980,
// and the decoupled decay of Loshchilov, Hutter 2019, arXiv:1711.05101), c1 = 1 - beta1^step, c2 = 1 -
// beta2^step:
//   decoupled: w *= 1 - lr decay;  else: g += decay w
//   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,  w -= lr / c1 * m / (sqrt(v / c2) + eps)
// One pass, each array read and written once.
// sum_of_squares: in f64, in fixed blocks combined in order (the norm that gradients are clipped by).
#include <cmath>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/scratch.h"
#include "backends/cpu/sums.h"
#include "backends/strided.h"

namespace norma {

namespace {

template <class T>
void update(std::int64_t count, T* w, const T* g, T* m, T* v, const AdamOptions& o) {
  const T beta1 = static_cast<T>(o.beta1), rest1 = static_cast<T>(1 - o.beta1);
  const T beta2 = static_cast<T>(o.beta2), rest2 = static_cast<T>(1 - o.beta2);
  const T step = static_cast<T>(o.lr / o.correction1), root = static_cast<T>(1 / std::sqrt(o.correction2));
  const T eps = static_cast<T>(o.eps);
  const T keep = o.decoupled ? static_cast<T>(1 - o.lr * o.weight_decay) : T(1);
  const T decay = o.decoupled ? T(0) : static_cast<T>(o.weight_decay);
  parallel_for(count, block_elements, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const T gradient = g[i] + decay * w[i];
      m[i] = beta1 * m[i] + rest1 * gradient;
      v[i] = beta2 * v[i] + rest2 * gradient * gradient;
      w[i] = keep * w[i] - step * m[i] / (std::sqrt(v[i]) * root + eps);
    }
  });
}

template <class T>
void add_squares(std::int64_t count, const T* x, double* partial) {
  parallel_for(count, block_elements, [=](std::int64_t begin, std::int64_t end) {
    const T* block = x + begin;
    partial[begin / block_elements] = block_sum<double>(end - begin, [=](std::int64_t i) {
      return static_cast<double>(block[i]) * static_cast<double>(block[i]);
    });
  });
}

}  // namespace

bool CpuBackend::adam(std::span<const AdamTensors> all, const AdamOptions& options) {
  for (const auto& [w, g, m, v] : all) {
    NORMA_ASSERT(w.is_contiguous() && g.is_contiguous() && m.is_contiguous() && v.is_contiguous());
    for_float(w.dtype, "adam", [&, &w = w, &g = g, &m = m, &v = v]<class T>() {
      update<T>(w.numel(), pointer<T>(w), pointer<T>(g), pointer<T>(m), pointer<T>(v), options);
    });
  }
  return true;
}

bool CpuBackend::sum_of_squares(View sum, std::span<const View> xs) {
  double result = 0;
  for (const View& x : xs) {
    NORMA_ASSERT(x.is_contiguous());
    const std::int64_t blocks = (x.numel() + block_elements - 1) / block_elements;
    Scratch<double> partials(blocks);
    for_float(x.dtype, "sum_of_squares",
              [&]<class T>() { add_squares<T>(x.numel(), pointer<T>(x), partials.data()); });
    for (std::int64_t b = 0; b < blocks; ++b) result += partials.data()[b];
  }
  *pointer<double>(sum) = result;
  return true;
}

}  // namespace norma
