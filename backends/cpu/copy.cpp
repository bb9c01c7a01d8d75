// copy: y = x with conversion; fill: y = value; where: y = condition ? a : b. Views of one shape, any
// strides.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/transposed_copy.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {

namespace {

/// Rows without gaps that are too short for a loop of their own: `outer` goes over all axes but the last.
template <class T>
void copy_short_rows(const Loop<2>& loop, T* y, const T* x) {
  const std::int64_t length = loop.inner();
  Loop<2> outer = loop;
  --outer.rank;
  const auto copy = [&](auto constant) {  // bytes of a row, 0 where they are not constant
    const std::size_t bytes = constant != 0 ? constant : static_cast<std::size_t>(length) * sizeof(T);
    const std::int64_t y_stride = outer.inner_stride(0), x_stride = outer.inner_stride(1);
    parallel_rows(
        outer,
        [=](std::int64_t n, const std::int64_t* offset) {
          T* to = y + offset[0];
          const T* from = x + offset[1];
          for (std::int64_t i = 0; i < n; ++i, to += y_stride, from += x_stride) std::memcpy(to, from, bytes);
        },
        std::max<std::int64_t>(1, even_block(loop.numel()) / length));
  };
  using std::integral_constant;
  switch (static_cast<std::size_t>(length) * sizeof(T)) {
    case 64:
      return copy(integral_constant<std::size_t, 64>());
    case 128:
      return copy(integral_constant<std::size_t, 128>());
    case 256:
      return copy(integral_constant<std::size_t, 256>());
    default:
      return copy(integral_constant<std::size_t, 0>());
  }
}

template <class Y, class X>
void copy_views(const View& y_view, const View& x_view) {
  const Loop<2> loop = make_loop(y_view, x_view);
  Y* y = pointer<Y>(y_view);
  const X* x = pointer<X>(x_view);
  if (const auto transposition = as_transposition(loop, 2)) return copy_transposed(*transposition, y, x);
  if constexpr (std::is_same_v<Y, X>) {
    constexpr std::int64_t longest = 1024 / sizeof(X);
    if (loop.rank > 1 && loop.inner_stride(0) == 1 && loop.inner_stride(1) == 1 && loop.inner() <= longest)
      return copy_short_rows(loop, y, x);
  }
  parallel_rows(loop, [&](std::int64_t n, const std::int64_t* offset) {
    copy_row(n, y + offset[0], loop.inner_stride(0), x + offset[1], loop.inner_stride(1));
  });
}

template <class T>
void fill_view(const View& y_view, T value) {
  const Loop<1> loop = make_loop(y_view);
  T* y = pointer<T>(y_view);
  parallel_rows(loop, [&](std::int64_t n, const std::int64_t* offset) {
    T* row = y + offset[0];
    const std::int64_t stride = loop.inner_stride(0);
    if (stride == 1) return std::fill(row, row + n, value);
    for (std::int64_t i = 0; i < n; ++i) row[i * stride] = value;
  });
}

/// y[i] = condition[i] ? a[i] : b[i]; with a_is_one or b_is_one a[0] or b[0]. Both are read, and conditions
/// are read as bytes: a choice between values has no branch, so that compilers make vectors of it.
template <bool a_is_one, bool b_is_one, class T>
void choose(std::int64_t n, T* y, const bool* condition, const T* a, const T* b) {
  const auto* const chosen = reinterpret_cast<const unsigned char*>(condition);
  const T a_first = *a, b_first = *b;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const T p = a_is_one ? a_first : a[i], q = b_is_one ? b_first : b[i];
    y[i] = chosen[i] != 0 ? p : q;
  }
}

template <class T>
void where_views(const View& y_view, const View& condition_view, const View& a_view, const View& b_view) {
  const Loop<4> loop = make_loop(y_view, condition_view, a_view, b_view);
  T* y = pointer<T>(y_view);
  const bool* condition = pointer<bool>(condition_view);
  const T *a = pointer<T>(a_view), *b = pointer<T>(b_view);
  const std::int64_t ys = loop.inner_stride(0), cs = loop.inner_stride(1);
  const std::int64_t as = loop.inner_stride(2), bs = loop.inner_stride(3);
  parallel_rows(loop, [&](std::int64_t n, const std::int64_t* offset) {
    T* y_row = y + offset[0];
    const bool* c_row = condition + offset[1];
    const T *a_row = a + offset[2], *b_row = b + offset[3];
    if (ys == 1 && cs == 1 && as == 1 && bs == 1) {
      choose<false, false>(n, y_row, c_row, a_row, b_row);
    } else if (ys == 1 && cs == 1 && as == 1 && bs == 0) {
      choose<false, true>(n, y_row, c_row, a_row, b_row);
    } else if (ys == 1 && cs == 1 && as == 0 && bs == 1) {
      choose<true, false>(n, y_row, c_row, a_row, b_row);
    } else {
      for (std::int64_t i = 0; i < n; ++i) y_row[i * ys] = c_row[i * cs] ? a_row[i * as] : b_row[i * bs];
    }
  });
}

}  // namespace

void CpuBackend::copy(View y, View x) {
  for_any(y.dtype, [&]<class Y>() { for_any(x.dtype, [&]<class X>() { copy_views<Y, X>(y, x); }); });
}

void CpuBackend::fill(View y, double value, std::int64_t integral) {
  for_any(y.dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, std::int64_t>) {
      fill_view<T>(y, integral);
    } else {
      fill_view<T>(y, convert<T>(value));
    }
  });
}

void CpuBackend::where(View y, View condition, View a, View b) {
  for_any(y.dtype, [&]<class T>() { where_views<T>(y, condition, a, b); });
}

}  // namespace norma
