// reduce: y = sum, max, min, any or all of x over the axes where y has extent 1. Any axes, any strides.
//
// Each output is cut into chunks, and each (output, chunk) is one task:
//   columns   a thread for each task, where neighbouring outputs are neighbours in memory (bias gradients) or
//             tasks are short: the threads of a warp then read side by side;
//   rows      a warp or a block for each task, whose lanes share its elements.
// Where a reduction was cut, the totals of its chunks go to scratch memory and a second launch reduces them.
// f32 sums run in f32 over a few elements and in f64 between those and between lanes.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/elements.cuh"
#include "backends/cuda/reduce.cuh"
#include "backends/cuda/scratch.h"
#include "backends/reduction.h"

namespace norma {
namespace {

constexpr int piece = 16;  // elements added up in T before they go to the total

/// What one launch reduces: outputs o and chunks c of the reduced elements, to y[o] or to partials[o][c].
struct Tasks {
  Strided<2> kept;     // y, x
  Strided<1> reduced;  // x
  std::int64_t outputs, length, chunks, chunk;
};

/// The elements begin, begin + step, ... below end of one output's reduction, which starts at x.
template <class R, class T>
__device__ typename R::Total reduce_some(const Strided<1>& reduced, std::int64_t begin, std::int64_t end,
                                         std::int64_t step, const T* x) {
  using Total = typename R::Total;
  Total total = R::template start<Total>();
  for (std::int64_t first = begin; first < end;) {
    T sum = R::template start<T>();
    for (int i = 0; i < piece && first < end; ++i, first += step) sum = R::merge(sum, x[reduced.at(first)]);
    total = R::merge(total, static_cast<Total>(sum));
  }
  return total;
}

template <class R, class T, class Y>
__global__ void reduce_columns(Tasks tasks, Y* y, typename R::Total* partials, const T* x) {
  const std::int64_t task = flat_index();
  if (task >= tasks.outputs * tasks.chunks) return;
  const std::int64_t output = task % tasks.outputs, c = task / tasks.outputs;
  std::int64_t offset[2];
  tasks.kept.locate(output, offset);
  const std::int64_t begin = c * tasks.chunk, end = min(begin + tasks.chunk, tasks.length);
  const auto total = reduce_some<R>(tasks.reduced, begin, end, 1, x + offset[1]);
  if (partials == nullptr) {
    y[offset[0]] = static_cast<Y>(total);
  } else {
    partials[output * tasks.chunks + c] = total;
  }
}

/// Over the lanes of each warp; all of them get the result.
template <class R, class Total>
__device__ Total merge_warp(Total total) {
  const auto merge = [](auto a, auto b) { return R::merge(a, b); };
  if constexpr (std::is_same_v<Total, bool>) {
    return warp_reduce(static_cast<int>(total), merge) != 0;
  } else {
    return warp_reduce(total, merge);
  }
}

/// blockDim.x lanes share a task: a warp (several tasks in a block, along y), or a whole block.
template <class R, class T, class Y>
__global__ void reduce_rows(Tasks tasks, Y* y, typename R::Total* partials, const T* x) {
  using Total = typename R::Total;
  __shared__ Total of_warp[32];
  const std::int64_t task = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool exists = task < tasks.outputs * tasks.chunks;
  const std::int64_t output = task / tasks.chunks, c = task % tasks.chunks;
  std::int64_t offset[2] = {};
  Total total = R::template start<Total>();
  if (exists) {
    tasks.kept.locate(output, offset);
    const std::int64_t begin = c * tasks.chunk, end = min(begin + tasks.chunk, tasks.length);
    total = reduce_some<R>(tasks.reduced, begin + threadIdx.x, end, blockDim.x, x + offset[1]);
  }
  total = merge_warp<R>(total);
  if (blockDim.x > 32) {
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = total;
    __syncthreads();
    if (threadIdx.x < 32) {
      total = threadIdx.x < blockDim.x / 32 ? of_warp[threadIdx.x] : R::template start<Total>();
      total = merge_warp<R>(total);
    }
  }
  if (!exists || threadIdx.x != 0) return;
  if (partials == nullptr) {
    y[offset[0]] = static_cast<Y>(total);
  } else {
    partials[task] = total;
  }
}

template <class R, class T, class Y>
void launch_tasks(cudaStream_t stream, const Tasks& tasks, bool by_columns, Y* y, typename R::Total* partials,
                  const T* x) {
  const std::int64_t count = tasks.outputs * tasks.chunks;
  if (by_columns) return launch_flat(reduce_columns<R, T, Y>, count, stream, tasks, y, partials, x);
  const unsigned lanes = tasks.chunk >= 2048 ? 256 : 32, side_by_side = 256 / lanes;
  const std::int64_t grid = (count + side_by_side - 1) / side_by_side;
  NORMA_CHECK(grid <= 2147483647, "cuda: ", count, " sums are more than one launch can have");
  launch(reduce_rows<R, T, Y>, dim3(static_cast<unsigned>(grid)), dim3(lanes, side_by_side), 0, stream, tasks,
         y, partials, x);
}

/// Chunks for each output: enough tasks to fill a large GPU, and none too short for a thread, or for a warp.
std::int64_t chunks_of(std::int64_t outputs, std::int64_t length, bool by_columns) {
  const std::int64_t enough = by_columns ? 1 << 17 : 1 << 12, shortest = by_columns ? 64 : 4096;
  return std::max<std::int64_t>(1, std::min(enough / outputs, length / shortest));
}

/// Moves a kept axis of x that is contiguous innermost; false when there is none worth it.
bool put_columns_inside(Loop<2>& kept) {
  for (int axis = 0; axis < kept.rank; ++axis) {
    if (kept.strides[1][axis] != 1 || kept.shape[axis] < 16) continue;
    for (int a = axis; a < kept.rank - 1; ++a) detail::swap_axes(kept, a, a + 1);
    return true;
  }
  return false;
}

template <Reduce op, class T>
void run(cudaStream_t stream, const View& y_view, const View& x_view) {
  using R = Reduction<op, T>;
  using Total = typename R::Total;
  ReductionPlan plan = make_plan(y_view, x_view);
  const std::int64_t outputs = plan.kept.numel(), length = plan.reduced.numel();
  if (outputs == 0) return;
  const bool rows_are_contiguous = plan.reduced.inner_stride(0) == 1 && plan.reduced.inner() > 1;
  const bool by_columns = length < 16 || (!rows_are_contiguous && put_columns_inside(plan.kept));
  const std::int64_t chunks = chunks_of(outputs, length, by_columns), chunk = (length + chunks - 1) / chunks;
  const Tasks tasks{Strided<2>(plan.kept), Strided<1>(plan.reduced), outputs, length, chunks, chunk};
  T* const y = pointer<T>(y_view);
  const T* const x = pointer<T>(x_view);
  if (chunks == 1) return launch_tasks<R, T, T>(stream, tasks, by_columns, y, nullptr, x);
  const DeviceScratch<Total> partials(outputs * chunks);
  launch_tasks<R, T, T>(stream, tasks, by_columns, y, partials.data(), x);
  Loop<2> totals;  // y, partials
  for (int axis = 0; axis < plan.kept.rank; ++axis) {
    std::int64_t inside = chunks;
    for (int inner = axis + 1; inner < plan.kept.rank; ++inner) inside *= plan.kept.shape[inner];
    totals.push(plan.kept.shape[axis], {plan.kept.strides[0][axis], inside});
  }
  Loop<1> row;
  row.push(chunks, {1});
  const Tasks last{Strided<2>(totals), Strided<1>(row), outputs, chunks, 1, chunks};
  launch_tasks<Reduction<op, Total>, Total, T>(stream, last, chunks < 16, y, nullptr, partials.data());
}

template <Reduce op>
void run_numeric(cudaStream_t stream, const View& y, const View& x) {
  if (x.dtype == i64) return run<op, std::int64_t>(stream, y, x);
  for_float(x.dtype, name(op), [&]<class T>() { run<op, T>(stream, y, x); });
}

}  // namespace

void CudaBackend::reduce(Reduce op, View y, View x) {
  if (op == Reduce::any || op == Reduce::all) {
    NORMA_CHECK(x.dtype == boolean, name(op), ": needs a bool tensor, got ", x.dtype);
  }
  switch (op) {
    case Reduce::sum:
      return run_numeric<Reduce::sum>(stream_, y, x);
    case Reduce::max:
      return run_numeric<Reduce::max>(stream_, y, x);
    case Reduce::min:
      return run_numeric<Reduce::min>(stream_, y, x);
    case Reduce::any:
      return run<Reduce::any, bool>(stream_, y, x);
    case Reduce::all:
      return run<Reduce::all, bool>(stream_, y, x);
  }
}

}  // namespace norma
