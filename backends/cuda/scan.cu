// arg_reduce: index of the largest or smallest element along an axis; cumsum: running sums along an axis, of
// f32 in f64. A warp for each line along the axis.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/elements.cuh"
#include "backends/cuda/reduce.cuh"
#include "backends/elementwise.h"

namespace norma {
namespace {

constexpr unsigned warps = 8;  // of a block

/// True when the candidate takes the place of the best: it is better, or a NaN beside a number.
template <ArgReduce op, class T>
__device__ bool beats(T candidate, T best) {
  if (candidate != candidate) return best == best;
  return op == ArgReduce::argmax ? candidate > best : candidate < best;
}

/// Of two indices into a line, that of the better element; among equals the first.
template <ArgReduce op, class T>
__device__ std::int64_t better(const T* line, std::int64_t step, std::int64_t i, std::int64_t j) {
  const T a = line[i * step], b = line[j * step];
  if (beats<op>(a, b)) return i;
  if (beats<op>(b, a)) return j;
  return min(i, j);
}

/// lines: index, x.
template <ArgReduce op, class T>
__global__ void arg_lines(std::int64_t count, Strided<2> lines, std::int64_t length, std::int64_t step,
                          std::int64_t* index, const T* x) {
  const std::int64_t line = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.y;
  if (line >= count) return;
  std::int64_t offset[2];
  lines.locate(line, offset);
  const T* from = x + offset[1];
  std::int64_t best = min(static_cast<std::int64_t>(threadIdx.x), length - 1);
  for (std::int64_t i = best + 32; i < length; i += 32) best = better<op>(from, step, best, i);
  best = warp_reduce(best, [=](auto i, auto j) { return better<op>(from, step, i, j); });
  if (threadIdx.x == 0) index[offset[0]] = best;
}

/// lines: y, x, at their first elements in the order of the sum.
template <class T, class Total>
__global__ void sum_lines(std::int64_t count, Strided<2> lines, std::int64_t length, std::int64_t y_step,
                          std::int64_t x_step, T* y, const T* x) {
  const std::int64_t line = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.y;
  if (line >= count) return;
  std::int64_t offset[2];
  lines.locate(line, offset);
  const int lane = static_cast<int>(threadIdx.x);
  Total before = 0;  // the sum of all earlier pieces of 32
  for (std::int64_t first = 0; first < length; first += 32) {
    const std::int64_t i = first + lane;
    Total sum = i < length ? static_cast<Total>(x[offset[1] + i * x_step]) : Total(0);
    for (int distance = 1; distance < 32; distance *= 2) {
      const Total other = __shfl_up_sync(~0u, sum, static_cast<unsigned>(distance));
      if (lane >= distance) sum = arithmetic<Binary::add>(other, sum);
    }
    sum = arithmetic<Binary::add>(before, sum);
    if (i < length) y[offset[0] + i * y_step] = static_cast<T>(sum);
    before = __shfl_sync(~0u, sum, 31);
  }
}

template <class... Parameters, class... Arguments>
void launch_lines(void (*kernel)(Parameters...), std::int64_t lines, cudaStream_t stream,
                  Arguments&&... arguments) {
  const std::int64_t grid = (lines + warps - 1) / warps;
  NORMA_CHECK(grid <= 2147483647, "cuda: ", lines, " lines are more than one launch can have");
  launch(kernel, dim3(static_cast<unsigned>(grid)), dim3(32, warps), 0, stream, lines,
         std::forward<Arguments>(arguments)...);
}

}  // namespace

void CudaBackend::arg_reduce(ArgReduce op, View indices, View x, int axis) {
  if (indices.numel() == 0) return;
  const std::int64_t length = x.shape[axis], step = x.strides[axis];
  x.shape[axis] = 1;
  const Loop<2> lines = make_loop(indices, x);
  for_any(x.dtype, [&]<class T>() {
    const auto kernel =
        op == ArgReduce::argmax ? arg_lines<ArgReduce::argmax, T> : arg_lines<ArgReduce::argmin, T>;
    launch_lines(kernel, lines.numel(), stream_, Strided<2>(lines), length, step,
                 pointer<std::int64_t>(indices), pointer<T>(x));
  });
}

void CudaBackend::cumsum(View y, View x, int axis, bool reverse) {
  if (x.numel() == 0) return;
  const std::int64_t length = x.shape[axis], last = reverse ? length - 1 : 0, sign = reverse ? -1 : 1;
  const std::int64_t y_step = y.strides[axis], x_step = x.strides[axis];
  x.shape[axis] = y.shape[axis] = 1;
  const Loop<2> lines = make_loop(y, x);
  const auto run = [&]<class T>() {
    using Total = std::conditional_t<std::is_floating_point_v<T>, double, T>;
    launch_lines(sum_lines<T, Total>, lines.numel(), stream_, Strided<2>(lines), length, y_step * sign,
                 x_step * sign, pointer<T>(y) + last * y_step, pointer<T>(x) + last * x_step);
  };
  if (x.dtype == i64) return run.template operator()<std::int64_t>();
  for_float(x.dtype, "cumsum", run);
}

}  // namespace norma
