// y = w x / D, D = max(|x|, eps), |x| the 2-norm of a row.  x, y: [rows, d]  w: [1], or absent: 1  norm: f64
// [rows]
// Backward, with u = x / D and s = sum(dy * u):
//   dx = w / D * (dy - u s), without the second term where |x| < eps;  dw = sum of s over the rows
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/moments.h"
#include "backends/cpu/rows.h"

namespace norma {

namespace {

/// max(|x|, eps); NaN stays NaN.
double floored(double norm, double eps) { return norm < eps ? eps : norm; }

template <class T>
T weight_or_one(const T* weight) {
  return weight == nullptr ? T(1) : weight[0];
}

template <class T>
void normalize(OneRow, std::int64_t d, T* y, double* norm, const T* x, T weight, double eps) {
  norm[0] = std::sqrt(squares_of(x, d));
  const T inverse = static_cast<T>(1 / floored(norm[0], eps));
  write_affine<T>(d, y, nullptr, nullptr, [=](std::int64_t j) { return x[j] * inverse * weight; });
}

template <class T>
void normalize(ShortRows rows, std::int64_t d, T* y, double* norm, const T* x, T weight, double eps) {
  PerRow<double> squares;
  squares_of(rows, x, d, squares);
  PerRow<T> inverse;
#pragma omp simd simdlen(4)
  for (int k = 0; k < rows.count; ++k) {
    norm[k] = std::sqrt(squares[k]);
    inverse[k] = static_cast<T>(1 / floored(norm[k], eps));
  }
  write_affine<T>(
      rows, d, y, nullptr, nullptr,
      [ =, &inverse ](int k, std::int64_t j, auto at)
          __attribute__((always_inline)) { return at.load(x + k * d + j) * inverse[k] * weight; });
}

template <class T>
void forward(Rows n, T* y, double* norm, const T* x, const T* weight, double eps) {
  for_rows(n, [=](std::int64_t r, auto rows) {
    normalize(rows, n.d, y + r * n.d, norm + r, x + r * n.d, weight_or_one(weight), eps);
  });
}

/// Returns s.
template <class T>
double backward_row(std::int64_t d, T* dx, const T* dy, const T* x, double norm, double eps, T weight) {
  const T inverse = static_cast<T>(1 / floored(norm, eps));
  const double s = row_sum<T>(d, [=](std::int64_t j) { return dy[j] * (x[j] * inverse); });
  if (dx == nullptr) return s;
  const T second = norm < eps ? T(0) : static_cast<T>(s), scale = weight * inverse;
  along_row(d, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t j = begin; j < end; ++j) dx[j] = scale * (dy[j] - x[j] * inverse * second);
  });
  return s;
}

template <class T>
void backward(Rows n, T* dx, T* dweight, const T* dy, const T* x, const double* norm, const T* weight,
              double eps) {
  Scratch<double> scratch(n.rows);
  double* const s = scratch.data();
  for_each_row(n, [=](std::int64_t r) {
    s[r] = backward_row(n.d, dx == nullptr ? nullptr : dx + r * n.d, dy + r * n.d, x + r * n.d, norm[r], eps,
                        weight_or_one(weight));
  });
  if (dweight != nullptr) {
    dweight[0] = static_cast<T>(row_sum<double>(n.rows, [=](std::int64_t r) { return s[r]; }));
  }
}

}  // namespace

bool CpuBackend::l2_norm(View y, View norm, View x, View weight, double eps) {
  for_float(x.dtype, "l2_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(rows_of(x), pointer<T>(y), pointer<double>(norm), pointer<T>(x), pointer<T>(weight), eps);
  });
  return true;
}

bool CpuBackend::l2_norm_backward(View dx, View dweight, View dy, View x, View norm, View weight,
                                  double eps) {
  for_float(x.dtype, "l2_norm", [&]<class T>() {
    backward<T>(rows_of(x), pointer<T>(dx), pointer<T>(dweight), pointer<T>(dy), pointer<T>(x),
                pointer<double>(norm), pointer<T>(weight), eps);
  });
  return true;
}

}  // namespace norma
