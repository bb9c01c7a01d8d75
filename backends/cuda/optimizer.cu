// adam: updates of contiguous weights w, moments m and v from gradients g; equations in
// backends/cpu/optimizer.cpp. One pass, each array read and written once.
// sum_of_squares: in f64. Blocks sum pieces of the arrays; then one block adds their results.
//
// Both take many arrays in a launch, by lists: most parameters of a model are small, and a launch for each
// would take longer than its work.
#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/device_value.cuh"
#include "backends/cuda/reduce.cuh"
#include "backends/cuda/scratch.h"
#include "core/captured_work.h"

namespace norma {
namespace {

constexpr int threads = 256;
constexpr std::int64_t piece = 1 << 12;  // elements of a block

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

/// Groups of N arrays of one size, and the blocks that work on them: group k has the blocks from
/// first_block[k] on.
template <int N>
struct List {
  static constexpr int longest = 128 / N;  // kernel arguments take 4 KiB
  std::int64_t groups = 0;
  void* data[longest][N] = {};
  std::int64_t count[longest] = {};
  std::int64_t first_block[longest + 1] = {};

  void push(std::int64_t elements, std::initializer_list<void*> arrays) {
    const std::int64_t k = groups++;
    std::copy(arrays.begin(), arrays.end(), data[k]);
    count[k] = elements;
    first_block[k + 1] = first_block[k] + (elements + piece - 1) / piece;
  }
  std::int64_t blocks() const { return first_block[groups]; }
  /// The group that the calling block works on, and its elements [begin, end).
  __device__ int find(std::int64_t& begin, std::int64_t& end) const {
    int k = 0;
    while (blockIdx.x >= first_block[k + 1]) ++k;
    begin = (blockIdx.x - first_block[k]) * piece;
    end = min(begin + piece, count[k]);
    return k;
  }
};

template <class T>
__global__ void update(List<4> list, AdamFactors<T> o, const AdamFactors<T>* of_replay) {
  if (of_replay != nullptr) o = *of_replay;
  std::int64_t begin, end;
  const int k = list.find(begin, end);
  T* const w = static_cast<T*>(list.data[k][0]);
  const T* const g = static_cast<const T*>(list.data[k][1]);
  T *const m = static_cast<T*>(list.data[k][2]), *const v = static_cast<T*>(list.data[k][3]);
  for (std::int64_t i = begin + threadIdx.x; i < end; i += threads) {
    const T gradient = g[i] + o.decay * w[i];
    const T first = o.beta1 * m[i] + o.rest1 * gradient;
    const T second = o.beta2 * v[i] + o.rest2 * gradient * gradient;
    m[i] = first, v[i] = second;
    w[i] = o.keep * w[i] - o.step * first / (std::sqrt(second) * o.root + o.eps);
  }
}

template <class T>
__global__ void add_squares(List<1> list, double* partials) {
  std::int64_t begin, end;
  const int k = list.find(begin, end);
  const T* const x = static_cast<const T*>(list.data[k][0]);
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

/// Calls run(list, dtype) for lists of groups with one dtype, which add(list, i) fills with group i.
template <int N, class Dtype, class Add, class Run>
void for_lists(std::size_t groups, Dtype&& dtype, Add&& add, Run&& run) {
  List<N> list;
  for (std::size_t i = 0; i < groups; ++i) {
    add(list, i);
    if (i + 1 < groups && list.groups < List<N>::longest && dtype(i + 1) == dtype(i)) continue;
    NORMA_CHECK(list.blocks() <= 2147483647, "cuda: too many elements for one launch");
    if (list.blocks() > 0) run(list, dtype(i));
    list = List<N>();
  }
}

/// of_replay: factors in device memory that take the place of `factors`, or null.
template <class T>
void update_all(cudaStream_t stream, std::span<const AdamTensors> all, const AdamFactors<T>& factors,
                const AdamFactors<T>* of_replay) {
  const auto add = [&](List<4>& list, std::size_t i) {
    const auto& [w, g, m, v] = all[i];
    NORMA_ASSERT(w.is_contiguous() && g.is_contiguous() && m.is_contiguous() && v.is_contiguous());
    list.push(w.numel(), {w.data, g.data, m.data, v.data});
  };
  const auto dtype = [&](std::size_t i) { return all[i].weight.dtype; };
  for_lists<4>(all.size(), dtype, add, [&](const List<4>& list, DType) {
    launch(update<T>, dim3(static_cast<unsigned>(list.blocks())), dim3(threads), 0, stream, list, factors,
           of_replay);
  });
}

}  // namespace

bool CudaBackend::adam(std::span<const AdamTensors> all, const AdamOptions& options) {
  if (all.empty()) return true;
  for_float(all[0].weight.dtype, "adam",
            [&]<class T>() { update_all<T>(stream_, all, AdamFactors<T>(options), nullptr); });
  return true;
}

bool CudaBackend::adam_in_capture(std::span<const AdamTensors> all,
                                  std::shared_ptr<const AdamOptions> options) {
  if (all.empty()) return true;
  CapturedWork* const work = CapturedWork::current(cuda);
  NORMA_ASSERT(work != nullptr);
  for_float(all[0].weight.dtype, "adam", [&]<class T>() {
    const auto factors = std::make_shared<DeviceValue<AdamFactors<T>>>();
    update_all<T>(stream_, all, AdamFactors<T>(*options), factors->data());
    work->before_replay(
        [stream = stream_, factors, options] { factors->set(stream, AdamFactors<T>(*options)); });
  });
  return true;
}

bool CudaBackend::sum_of_squares(View sum, std::span<const View> xs) {
  std::int64_t blocks = 0;
  for (const View& x : xs) blocks += (x.numel() + piece - 1) / piece;
  const DeviceScratch<double> partials(blocks);
  double* next = partials.data();
  const auto add = [&](List<1>& list, std::size_t i) {
    NORMA_ASSERT(xs[i].is_contiguous());
    list.push(xs[i].numel(), {xs[i].data});
  };
  const auto dtype = [&](std::size_t i) { return xs[i].dtype; };
  for_lists<1>(xs.size(), dtype, add, [&](const List<1>& list, DType of_list) {
    for_float(of_list, "sum_of_squares", [&]<class T>() {
      launch(add_squares<T>, dim3(static_cast<unsigned>(list.blocks())), dim3(threads), 0, stream_, list,
             next);
    });
    next += list.blocks();
  });
  launch(add_partials, dim3(1), dim3(threads), 0, stream_, blocks, pointer<double>(sum),
         static_cast<const double*>(partials.data()));
  return true;
}

}  // namespace norma
