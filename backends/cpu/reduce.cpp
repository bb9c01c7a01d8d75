// reduce: y = sum, max, min, any or all of x over the axes where y has extent 1. Any axes, any strides.
// Sums of f32 run in f32 inside short blocks and in f64 between them (sums.h).
//
// The axes of x are split into kept ones (the outputs) and reduced ones. Three ways through memory:
//   rows      a reduced axis is innermost and contiguous: outputs one by one, each a sum of contiguous
//   pieces, or, where these are short, four by four;
//   columns   a kept axis is contiguous (bias gradients): whole rows are added up, column by column;
//   general   anything else, with strides.
// Long reductions to few outputs are cut into chunks whose results are combined in order.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/packed_reduction.h"
#include "backends/cpu/scratch.h"
#include "backends/cpu/sums.h"
#include "backends/reduction.h"

namespace norma {

namespace {

constexpr std::int64_t chunk_elements = 32768;  // of a reduction that is cut
constexpr std::int64_t column_tile = 256;       // outputs side by side whose accumulators stay in L1
constexpr std::int64_t column_block = 64;       // rows added up in T before going to the total

template <Reduce op, class T>
struct Combine : Reduction<op, T> {
  using typename Reduction<op, T>::Total;
  using Reduction<op, T>::is_sum, Reduction<op, T>::merge;
  static constexpr bool is_packed = !std::is_same_v<T, bool>;

  /// Of n contiguous values.
  static Total contiguous(std::int64_t n, const T* x) {
    if constexpr (is_sum && std::is_floating_point_v<T>) {
      return block_sum<T>(n, [x](std::int64_t i) { return x[i]; });
    } else if constexpr (is_packed) {
      return reduce_run<op>(n, x);
    } else {  // eight independent lanes, so that the loop vectorizes
      constexpr int lanes = 8;
      T lane[lanes];
      std::fill(lane, lane + lanes, Combine::template start<T>());
      std::int64_t i = 0;
      for (; i + lanes <= n; i += lanes) {
        for (int l = 0; l < lanes; ++l) lane[l] = merge(lane[l], x[i + l]);
      }
      for (; i < n; ++i) lane[0] = merge(lane[0], x[i]);
      for (int l = 1; l < lanes; ++l) lane[0] = merge(lane[0], lane[l]);
      return lane[0];
    }
  }
  /// Of short rows of x, `stride` apart, to values of y, `y_stride` apart.
  static void short_rows(std::int64_t rows, std::int64_t d, T* y, std::int64_t y_stride, const T* x,
                         std::int64_t stride) {
    if constexpr (is_packed) {
      for_fours(rows, x, stride, [=](std::int64_t first, std::int64_t count, const T* const(&row)[4]) {
        T totals[4];
        reduce_short_rows<op, T>(d, row, totals);
        for (std::int64_t k = 0; k < count; ++k) y[(first + k) * y_stride] = totals[k];
      });
    }
  }
};

/// The reduction of elements [begin, end) of the reduced axes, for the output whose first element is x.
template <class C, class T>
typename C::Total reduce_range(const Loop<1>& reduced, std::int64_t begin, std::int64_t end, const T* x) {
  using Total = typename C::Total;
  Total total = C::template start<Total>();
  for_rows(reduced, begin, end, [&](std::int64_t n, const std::int64_t* offset) {
    const T* row = x + offset[0];
    const std::int64_t stride = reduced.inner_stride(0);
    if (stride == 1) {
      total = C::merge(total, C::contiguous(n, row));
    } else {
      for (std::int64_t i = 0; i < n; ++i) total = C::merge(total, static_cast<Total>(row[i * stride]));
    }
  });
  return total;
}

/// Output by output; few and long ones are cut into chunks.
template <class C, class T>
void reduce_rows(const ReductionPlan& plan, T* y, const T* x) {
  using Total = typename C::Total;
  const std::int64_t outputs = plan.kept.numel(), length = plan.reduced.numel();
  const std::int64_t chunks = (length + chunk_elements - 1) / chunk_elements;
  if (chunks > 1 && outputs < 64) {
    Scratch<Total> partials(outputs * chunks);
    Total* partial = partials.data();
    parallel_for(outputs * chunks, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t task = first; task < last; ++task) {
        const std::int64_t begin = task % chunks * chunk_elements;
        const Position<2> output(plan.kept, task / chunks);
        partial[task] = reduce_range<C>(plan.reduced, begin, std::min(length, begin + chunk_elements),
                                        x + output.offset[1]);
      }
    });
    for (std::int64_t o = 0; o < outputs; ++o) {
      Total total = partial[o * chunks];
      for (std::int64_t chunk = 1; chunk < chunks; ++chunk)
        total = C::merge(total, partial[o * chunks + chunk]);
      y[Position<2>(plan.kept, o).offset[0]] = static_cast<T>(total);
    }
    return;
  }
  const std::int64_t block = rows_per_block(outputs, length);
  const std::int64_t y_stride = plan.kept.inner_stride(0), x_stride = plan.kept.inner_stride(1);
  const bool is_short =
      C::is_packed && plan.reduced.rank == 1 && plan.reduced.inner_stride(0) == 1 && ShortRows::fit(length);
  parallel_for(outputs, block, [&](std::int64_t begin, std::int64_t end) {
    for_rows(plan.kept, begin, end, [&](std::int64_t n, const std::int64_t* offset) {
      T* const to = y + offset[0];
      const T* const from = x + offset[1];
      if (is_short) return C::short_rows(n, length, to, y_stride, from, x_stride);
      for (std::int64_t i = 0; i < n; ++i) {
        to[i * y_stride] = static_cast<T>(reduce_range<C>(plan.reduced, 0, length, from + i * x_stride));
      }
    });
  });
}

/// Adds rows [begin, end) of the reduced axes into `width` totals side by side. Where rows lie one behind the
/// other, `fold` of them are added as one, so that few columns fill vectors too.
template <class C, class T>
void add_columns(const Loop<1>& reduced, std::int64_t begin, std::int64_t end, const T* x, std::int64_t width,
                 std::int64_t fold, typename C::Total* total) {
  using Total = typename C::Total;
  T sums[column_tile];
  for (std::int64_t first = begin; first < end; first += column_block * fold) {
    std::fill(sums, sums + fold * width, C::template start<T>());
    for_rows(reduced, first, std::min(end, first + column_block * fold),
             [&](std::int64_t n, const std::int64_t* offset) {
               for (std::int64_t r = 0; r < n; r += fold) {
                 const T* row = x + offset[0] + r * reduced.inner_stride(0);
                 const std::int64_t count = std::min(fold, n - r) * width;
                 for (std::int64_t j = 0; j < count; ++j) sums[j] = C::merge(sums[j], row[j]);
               }
             });
    for (std::int64_t f = 0; f < fold; ++f) {
      for (std::int64_t j = 0; j < width; ++j)
        total[j] = C::merge(total[j], static_cast<Total>(sums[f * width + j]));
    }
  }
}

/// Tiles of neighbouring outputs (x is contiguous along the innermost kept axis) times chunks of rows.
template <class C, class T>
void reduce_columns(const ReductionPlan& plan, T* y, const T* x) {
  using Total = typename C::Total;
  const std::int64_t columns = plan.kept.inner(), rows = plan.reduced.numel();
  const std::int64_t groups = plan.kept.numel() / columns, tiles = (columns + column_tile - 1) / column_tile;
  const std::int64_t width_of_tile = std::min(columns, column_tile);
  const bool is_dense = plan.reduced.rank == 1 && plan.reduced.inner_stride(0) == columns;
  const std::int64_t fold = is_dense ? std::max<std::int64_t>(1, column_tile / columns) : 1;
  const bool cut = groups * tiles < 64;
  const std::int64_t chunk =
      cut ? std::max(column_block, chunk_elements / width_of_tile) : std::max<std::int64_t>(1, rows);
  const std::int64_t chunks = std::max<std::int64_t>(1, (rows + chunk - 1) / chunk);
  Scratch<Total> partials(groups * tiles * chunks * width_of_tile);
  Total* partial = partials.data();  // [groups, tiles, chunks, width_of_tile]
  const auto add_chunk = [&](std::int64_t task) {
    const std::int64_t c = task % chunks, tile = task / chunks % tiles, group = task / chunks / tiles;
    const Position<2> output(plan.kept, group * columns);
    const std::int64_t first = tile * column_tile;
    Total* total = partial + task * width_of_tile;
    std::fill(total, total + width_of_tile, C::template start<Total>());
    add_columns<C>(plan.reduced, c * chunk, std::min(rows, (c + 1) * chunk), x + output.offset[1] + first,
                   std::min(column_tile, columns - first), fold, total);
  };
  const std::int64_t work = std::max<std::int64_t>(1, std::min(chunk, rows) * width_of_tile);
  parallel_for(groups * tiles * chunks, std::max<std::int64_t>(1, block_elements / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) add_chunk(task);
               });
  const auto write_tile = [&](std::int64_t index) {
    Total* const total = partial + index * chunks * width_of_tile;
    const std::int64_t first = index % tiles * column_tile, width = std::min(column_tile, columns - first);
    for (std::int64_t c = 1; c < chunks; ++c) {
      const Total* more = total + c * width_of_tile;
      for (std::int64_t j = 0; j < width; ++j) total[j] = C::merge(total[j], more[j]);
    }
    T* const to = y + Position<2>(plan.kept, index / tiles * columns + first).offset[0];
    for (std::int64_t j = 0; j < width; ++j) to[j * plan.kept.inner_stride(0)] = static_cast<T>(total[j]);
  };
  parallel_for(groups * tiles, std::max<std::int64_t>(1, block_elements / (chunks * width_of_tile)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t index = begin; index < end; ++index) write_tile(index);
               });
}

template <Reduce op, class T>
void run(const View& y, const View& x) {
  using C = Combine<op, T>;
  ReductionPlan plan = make_plan(y, x);
  if (plan.kept.numel() == 0) return;
  // A contiguous kept axis goes innermost; the reduced axes are walked outside it.
  int contiguous = -1;
  for (int axis = 0; axis < plan.kept.rank; ++axis) {
    if (plan.kept.strides[1][axis] == 1) contiguous = axis;
  }
  const bool rows_are_contiguous = plan.reduced.inner_stride(0) == 1 && plan.reduced.inner() > 1;
  if (contiguous < 0 || rows_are_contiguous || plan.kept.shape[contiguous] < 4 || plan.reduced.numel() < 2) {
    return reduce_rows<C>(plan, static_cast<T*>(y.data), static_cast<const T*>(x.data));
  }
  for (int axis = contiguous; axis < plan.kept.rank - 1; ++axis) detail::swap_axes(plan.kept, axis, axis + 1);
  reduce_columns<C>(plan, static_cast<T*>(y.data), static_cast<const T*>(x.data));
}

template <Reduce op>
void run_numeric(const View& y, const View& x) {
  using Whole = std::conditional_t<op == Reduce::sum, std::uint64_t, std::int64_t>;  // sums wrap around
  if (x.dtype == i64) return run<op, Whole>(y, x);
  for_float(x.dtype, name(op), [&]<class T>() { run<op, T>(y, x); });
}

}  // namespace

void CpuBackend::reduce(Reduce op, View y, View x) {
  if (op == Reduce::any || op == Reduce::all) {
    NORMA_CHECK(x.dtype == boolean, name(op), ": needs a bool tensor, got ", x.dtype);
  }
  switch (op) {
    case Reduce::sum:
      return run_numeric<Reduce::sum>(y, x);
    case Reduce::max:
      return run_numeric<Reduce::max>(y, x);
    case Reduce::min:
      return run_numeric<Reduce::min>(y, x);
    case Reduce::any:
      return run<Reduce::any, bool>(y, x);
    case Reduce::all:
      return run<Reduce::all, bool>(y, x);
  }
}

}  // namespace norma
