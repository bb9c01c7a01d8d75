// adam: one update of contiguous weight w, moments m and v from gradient g; equations in
// backends/cpu/optimizer.cpp. One pass, each array read and written once.
// sum_of_squares: in f64. Blocks sum pieces of all arrays, which a kernel gets by lists; then one block adds
// their results.
#include <cmath>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/elements.cuh"
#include "backends/cuda/reduce.cuh"
#include "backends/cuda/scratch.h"

namespace norma {
namespace {

constexpr int threads = 256;
constexpr std::int64_t piece = 1 << 14;  // elements of a block
constexpr int longest_list = 64;         // arrays of a launch: kernel arguments take 4 KiB

template <class T>
struct AdamFactors {
  T beta1, rest1, beta2, rest2, step, root, eps, keep, decay, unused = 0;

  explicit AdamFactors(const AdamOptions& o)
      : beta1(static_cast<T>(o.beta1)),
        rest1(static_cast<T>(1 - o.beta1)),
        beta2(static_cast<T>(o.beta2)),
        rest2(static_cast<T>(1 - o.beta2)),
        step(static_cast<T>(o.lr / o.correction1)),
        root(static_cast<T>(1 / std::sqrt(o.correction2))),
        eps(static_cast<T>(o.eps)),
        keep(o.decoupled ? static_cast<T>(1 - o.lr * o.weight_decay) : T(1)),
        decay(o.decoupled ? T(0) : static_cast<T>(o.weight_decay)) {}
};

template <class T>
__global__ void update(std::int64_t count, AdamFactors<T> o, T* w, const T* g, T* m, T* v) {
  const std::int64_t i = flat_index();
  if (i >= count) return;
  const T gradient = g[i] + o.decay * w[i];
  const T first = o.beta1 * m[i] + o.rest1 * gradient;
  const T second = o.beta2 * v[i] + o.rest2 * gradient * gradient;
  m[i] = first, v[i] = second;
  w[i] = o.keep * w[i] - o.step * first / (std::sqrt(second) * o.root + o.eps);
}

/// Arrays and the blocks that sum them: array k has the blocks from first_block[k] on.
struct List {
  std::int64_t arrays = 0;
  const void* data[longest_list] = {};
  std::int64_t count[longest_list] = {};
  std::int64_t first_block[longest_list + 1] = {};
};

template <class T>
__global__ void add_squares(List list, double* partials) {
  int k = 0;
  while (blockIdx.x >= list.first_block[k + 1]) ++k;
  const T* x = static_cast<const T*>(list.data[k]);
  const std::int64_t begin = (blockIdx.x - list.first_block[k]) * piece;
  const std::int64_t end = min(begin + piece, list.count[k]);
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += threads) {
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

__global__ void add_partials(std::int64_t count, double* sum, const double* partials) {
  double total = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += threads) total += partials[i];
  total = block_sum<threads>(total);
  if (threadIdx.x == 0) *sum = total;
}

std::int64_t blocks_of(const View& x) { return (x.numel() + piece - 1) / piece; }

}  // namespace

bool CudaBackend::adam(View weight, View gradient, View m, View v, const AdamOptions& options) {
  NORMA_ASSERT(weight.is_contiguous() && gradient.is_contiguous() && m.is_contiguous() && v.is_contiguous());
  const std::int64_t count = weight.numel();
  if (count == 0) return true;
  for_float(weight.dtype, "adam", [&]<class T>() {
    launch_flat(update<T>, count, stream_, count, AdamFactors<T>(options), pointer<T>(weight),
                pointer<T>(gradient), pointer<T>(m), pointer<T>(v));
  });
  return true;
}

bool CudaBackend::sum_of_squares(View sum, std::span<const View> xs) {
  std::int64_t blocks = 0;
  for (const View& x : xs) blocks += blocks_of(x);
  const DeviceScratch<double> partials(blocks);
  double* next = partials.data();
  List list;
  const auto launch_list = [&](DType dtype) {
    const std::int64_t grid = list.first_block[list.arrays];
    NORMA_CHECK(grid <= 2147483647, "sum_of_squares: too many elements for one launch");
    if (grid > 0) {
      for_float(dtype, "sum_of_squares", [&]<class T>() {
        launch(add_squares<T>, dim3(static_cast<unsigned>(grid)), dim3(threads), 0, stream_, list, next);
      });
    }
    next += grid;
    list = List();
  };
  for (std::size_t i = 0; i < xs.size(); ++i) {
    NORMA_ASSERT(xs[i].is_contiguous());
    const std::int64_t k = list.arrays++;
    list.data[k] = xs[i].data;
    list.count[k] = xs[i].numel();
    list.first_block[k + 1] = list.first_block[k] + blocks_of(xs[i]);
    const bool last = i + 1 == xs.size();
    if (last || list.arrays == longest_list || xs[i + 1].dtype != xs[i].dtype) launch_list(xs[i].dtype);
  }
  launch(add_partials, dim3(1), dim3(threads), 0, stream_, blocks, pointer<double>(sum),
         static_cast<const double*>(partials.data()));
  return true;
}

}  // namespace norma
