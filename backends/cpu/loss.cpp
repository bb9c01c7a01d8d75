// Losses of values and targets (backends/losses.h): one by one or summed, in one pass over memory, and both
// gradients in another. Contiguous views. Sums of f32 run in f32 inside short blocks and in f64 between them
// (sums.h).
#include "backends/losses.h"

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/sums.h"
#include "backends/cpu/vector_math.h"
#include "backends/strided.h"

namespace norma {

namespace {

/// Calls body.operator()<Formulas, T>(): the formulas of a loss for T.
template <class Body>
void with_loss(Loss kind, DType dtype, Body&& body) {
  for_float(dtype, "loss", [&]<class T>() {
    if (kind == Loss::squared) return body.template operator()<SquaredLoss<T, VectorMath>, T>();
    body.template operator()<LogisticLoss<T, VectorMath>, T>();
  });
}

/// Elements of a block: a logistic loss takes tens of instructions.
std::int64_t block_of(Loss kind, std::int64_t n) {
  return even_block(n, kind == Loss::squared ? block_elements : costly_elements);
}

/// d_i = (scale dy_i) slope(x_i, t_i), in [begin, end); dy_step: 0 where one dy serves all.
template <class T, class Slope>
void gradient(std::int64_t begin, std::int64_t end, T* d, const T* dy, std::int64_t dy_step, const T* x,
              const T* t, T scale, Slope slope) {
  if (dy_step == 0) {
    const T factor = scale * dy[0];
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) d[i] = factor * slope(x[i], t[i]);
  } else {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) d[i] = scale * dy[i] * slope(x[i], t[i]);
  }
}

}  // namespace

bool CpuBackend::loss(Loss kind, View losses, View x_view, View t_view, double scale) {
  NORMA_ASSERT(losses.is_contiguous() && x_view.is_contiguous() && t_view.is_contiguous());
  const std::int64_t n = x_view.numel(), block = block_of(kind, n);
  const bool is_summed = losses.rank < x_view.rank;
  with_loss(kind, x_view.dtype, [&]<class Formulas, class T>() {
    T* const y = pointer<T>(losses);
    const T *const x = pointer<T>(x_view), *const t = pointer<T>(t_view);
    if (is_summed) {
      const double sum = row_sum<T>(
          n, [=](std::int64_t i) { return Formulas::value(x[i], t[i]); }, block);
      y[0] = static_cast<T>(scale * sum);
    } else {
      parallel_for(n, block, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) y[i] = Formulas::value(x[i], t[i]);
      });
    }
  });
  return true;
}

bool CpuBackend::loss_backward(Loss kind, View dx_view, View dt_view, View dy_view, View x_view, View t_view,
                               double scale) {
  NORMA_ASSERT(dy_view.is_contiguous() && x_view.is_contiguous() && t_view.is_contiguous());
  const std::int64_t n = x_view.numel(), dy_step = dy_view.numel() == 1 ? 0 : 1;
  with_loss(kind, x_view.dtype, [&]<class Formulas, class T>() {
    T *const dx = pointer<T>(dx_view), *const dt = pointer<T>(dt_view);
    const T *const dy = pointer<T>(dy_view), *const x = pointer<T>(x_view), *const t = pointer<T>(t_view);
    const T factor = static_cast<T>(scale);
    parallel_for(n, block_of(kind, n), [=](std::int64_t begin, std::int64_t end) {
      if (dx != nullptr)
        gradient(begin, end, dx, dy, dy_step, x, t, factor, [](T v, T w) { return Formulas::slope(v, w); });
      if (dt != nullptr)
        gradient(begin, end, dt, dy, dy_step, x, t, factor,
                 [](T v, T w) { return Formulas::target_slope(v, w); });
    });
  });
  return true;
}

}  // namespace norma
