// arg_reduce: index of the largest or smallest element along an axis; cumsum: running sums along an axis.
// Each line along the axis is walked from end to end; lines run in parallel. The extreme of contiguous ones
// is found first, by packs, then its place; running sums grow several lines at a time.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/packed_reduction.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {

namespace {

/// The loop over lines: views a and b without the axis, whose strides come back apart.
Loop<2> lines_of(View a, View b, int axis) {
  a.shape[axis] = b.shape[axis] = 1;
  return make_loop(a, b);
}

/// True when candidate takes the place of best: better, or the first NaN.
template <ArgReduce op, class T>
bool beats(T candidate, T best) {
  if (candidate != candidate) return best == best;
  return op == ArgReduce::argmax ? candidate > best : candidate < best;
}

constexpr Reduce extreme_of(ArgReduce op) { return op == ArgReduce::argmax ? Reduce::max : Reduce::min; }

/// Index of the extreme of n values, `step` apart.
template <ArgReduce op, class T>
std::int64_t place_of_extreme(std::int64_t n, const T* x, std::int64_t step) {
  if constexpr (!std::is_same_v<T, bool>) {
    if (step == 1) return place_of(reduce_run<extreme_of(op)>(n, x), n, x);
  }
  std::int64_t best = 0;
  for (std::int64_t i = 1; i < n; ++i) {
    if (beats<op>(x[i * step], x[best * step])) best = i;
  }
  return best;
}

template <ArgReduce op, class T>
void arg_lines(const View& index_view, const View& x_view, int axis) {
  const Loop<2> lines = lines_of(index_view, x_view, axis);
  std::int64_t* index = pointer<std::int64_t>(index_view);
  const T* x = pointer<T>(x_view);
  const std::int64_t length = x_view.shape[axis], step = x_view.strides[axis];
  const auto body = [&](std::int64_t n, const std::int64_t* offset) {
    if constexpr (!std::is_same_v<T, bool>) {
      if (step == 1 && ShortRows::fit(length)) {
        return for_fours(n, x + offset[1], lines.inner_stride(1),
                         [&](std::int64_t first, std::int64_t count, const T* const(&row)[4]) {
                           std::int64_t places[4];
                           places_in_short_rows<extreme_of(op)>(length, row, places);
                           for (std::int64_t k = 0; k < count; ++k)
                             index[offset[0] + (first + k) * lines.inner_stride(0)] = places[k];
                         });
      }
    }
    for (std::int64_t line = 0; line < n; ++line) {
      index[offset[0] + line * lines.inner_stride(0)] =
          place_of_extreme<op>(length, x + offset[1] + line * lines.inner_stride(1), step);
    }
  };
  parallel_rows(lines, body, rows_per_block(lines.numel(), length));
}

/// Where the next value along a line is, and the next line.
template <class Across>
struct Steps {
  std::int64_t along;
  Across across;
};

/// Running sums of `count` lines, which do not wait for each other. f32 sums run in f64.
template <int count, class T, class Across>
void add_up_lines(std::int64_t length, T* y, Steps<Across> to, const T* x, Steps<Across> from) {
  using Total = std::conditional_t<std::is_floating_point_v<T>, double, T>;
  Total totals[count] = {};
  for (std::int64_t i = 0; i < length; ++i) {
#pragma omp simd
    for (int k = 0; k < count; ++k) {
      totals[k] = arithmetic<Binary::add>(totals[k], static_cast<Total>(x[i * from.along + k * from.across]));
      y[i * to.along + k * to.across] = static_cast<T>(totals[k]);
    }
  }
}

template <class T>
void cumsum_lines(const View& y_view, const View& x_view, int axis, bool reverse) {
  using One = std::integral_constant<std::int64_t, 1>;
  const Loop<2> lines = lines_of(y_view, x_view, axis);
  const std::int64_t length = x_view.shape[axis];
  const std::int64_t last = reverse ? length - 1 : 0, sign = reverse ? -1 : 1;
  const std::int64_t y_step = y_view.strides[axis] * sign, x_step = x_view.strides[axis] * sign;
  const std::int64_t y_line = lines.inner_stride(0), x_line = lines.inner_stride(1);
  T* y = pointer<T>(y_view) + last * y_view.strides[axis];
  const T* x = pointer<T>(x_view) + last * x_view.strides[axis];
  const auto body = [&](std::int64_t n, const std::int64_t* offset) {
    T* const to = y + offset[0];
    const T* const from = x + offset[1];
    std::int64_t line = 0;
    if (y_line == 1 && x_line == 1) {
      for (; line + 32 <= n; line += 32)
        add_up_lines<32, T, One>(length, to + line, {y_step, {}}, from + line, {x_step, {}});
    }
    using Any = std::int64_t;
    for (; line + 8 <= n; line += 8)
      add_up_lines<8, T, Any>(length, to + line * y_line, {y_step, y_line}, from + line * x_line,
                              {x_step, x_line});
    for (; line < n; ++line)
      add_up_lines<1, T, Any>(length, to + line * y_line, {y_step, y_line}, from + line * x_line,
                              {x_step, x_line});
  };
  parallel_rows(lines, body, rows_per_block(lines.numel(), length));
}

}  // namespace

void CpuBackend::arg_reduce(ArgReduce op, View indices, View x, int axis) {
  if (indices.numel() == 0) return;
  for_any(x.dtype, [&]<class T>() {
    if (op == ArgReduce::argmax) {
      arg_lines<ArgReduce::argmax, T>(indices, x, axis);
    } else {
      arg_lines<ArgReduce::argmin, T>(indices, x, axis);
    }
  });
}

void CpuBackend::cumsum(View y, View x, int axis, bool reverse) {
  if (x.numel() == 0) return;
  if (x.dtype == i64) return cumsum_lines<std::int64_t>(y, x, axis, reverse);
  for_float(x.dtype, "cumsum", [&]<class T>() { cumsum_lines<T>(y, x, axis, reverse); });
}

}  // namespace norma
