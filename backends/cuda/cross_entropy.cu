// Cross-entropy of logits [rows, classes] and targets (i64) [rows], smoothing s:
//   loss[r] = lse[r] - (1 - s) logits[r][target[r]] - s mean(logits[r]),  lse = ln(sum(exp(logits))); 0 where
//   ignored dlogits = dloss * (exp(logits - lse) - (1 - s) [column = target] - s / classes)
// lse is f64: with large logits an f32 one would cost the probabilities their digits.
//
// Forward: one reading of the logits, sizeof(T) bytes of an element (with smoothing a second one, mostly from
// the cache). Backward: 2 sizeof(T). Both note a target outside [0, classes) (device_errors.h); its loss and
// gradient are 0.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/device_errors.cuh"
#include "backends/cuda/softmax_rows.cuh"

namespace norma {

namespace {

template <class T, int Threads, int Width>
__global__ void __launch_bounds__(Team<Threads>::block_size, blocks_held(Team<Threads>::block_size))
    cross_entropy_rows(Rows n, T* losses, double* lse, const T* logits, const std::int64_t* targets,
                       std::int64_t ignore_index, double smoothing, DeviceCheck check) {
  using Row = Team<Threads>;
  const std::int64_t r = Row::row();
  if (r >= n.rows) return;
  const T* const row = logits + r * n.d;
  const ExpSum<T> total = exp_sum<Threads, Width>(n.d, row, static_cast<T*>(nullptr));
  const double log_sum = std::log(total.sum), top = static_cast<double>(total.largest);
  double below = 0;  // sum of largest - logit
  if (smoothing != 0) {
    along_row<Threads, Width>(n.d, [&](std::int64_t j) {
      const auto pack = load<Width>(row + j);
      T partial = 0;
#pragma unroll
      for (int k = 0; k < Width; ++k) partial += total.largest - pack.values[k];
      below += static_cast<double>(partial);
    });
    below = Row::sum(below);
  }
  if (!Row::is_first()) return;
  lse[r] = top + log_sum;
  const std::int64_t target = targets[r];
  losses[r] = T(0);
  if (target == ignore_index || !check(target, r)) return;
  // Everything relative to the largest logit, so that large logits cancel before they round.
  losses[r] = static_cast<T>(log_sum + (1 - smoothing) * (top - static_cast<double>(row[target])) +
                             smoothing * below / static_cast<double>(n.d));
}

template <class T, int Threads, int Width>
__global__ void __launch_bounds__(Team<Threads>::block_size, blocks_held(Team<Threads>::block_size))
    cross_entropy_rows_backward(Rows n, T* dlogits, const T* dlosses, const double* lse, const T* logits,
                                const std::int64_t* targets, std::int64_t ignore_index, double smoothing,
                                DeviceCheck check) {
  using Row = Team<Threads>;
  const std::int64_t r = Row::row(), at = r * n.d;
  if (r >= n.rows) return;
  const std::int64_t target = targets[r];
  const bool inside = target >= 0 && target < n.d, counts = inside && target != ignore_index;
  if (!inside && target != ignore_index && Row::is_first()) check.note(target, r);
  const T dloss = counts ? dlosses[r] : T(0);
  const T high = static_cast<T>(lse[r]), low = static_cast<T>(lse[r] - static_cast<double>(high));
  const T uniform = static_cast<T>(smoothing / static_cast<double>(n.d));
  const T of_target = dloss * static_cast<T>(1 - smoothing);
  along_row<Threads, Width>(n.d, [&](std::int64_t j) {
    auto pack = load<Width>(logits + at + j);
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      T slope = dloss * (std::exp(pack.values[k] - high - low) - uniform);
      if (j + k == target) slope -= of_target;
      pack.values[k] = counts ? slope : T(0);
    }
    store(dlogits + at + j, pack);
  });
}

}  // namespace

bool CudaBackend::cross_entropy(View losses, View lse, View logits, View targets, std::int64_t ignore_index,
                                double smoothing) {
  for_float(logits.dtype, "cross_entropy", [&]<class T>() {
    if (logits.numel() == 0) return;
    const Rows n = rows_of(logits);
    with_team<T>(n.d, walks_packs<T>(n.d, pointer<T>(logits)), [&]<int Threads, int Width>() {
      launch(cross_entropy_rows<T, Threads, Width>, Team<Threads>::grid(n.rows), Team<Threads>::block(), 0,
             stream_, n, pointer<T>(losses), pointer<double>(lse), pointer<T>(logits),
             pointer<std::int64_t>(targets), ignore_index, smoothing,
             errors_.indices("cross_entropy", n.d, "target"));
    });
  });
  return true;
}

bool CudaBackend::cross_entropy_backward(View dlogits, View dlosses, View lse, View logits, View targets,
                                         std::int64_t ignore_index, double smoothing) {
  for_float(logits.dtype, "cross_entropy", [&]<class T>() {
    if (logits.numel() == 0) return;
    const Rows n = rows_of(logits);
    const bool packs = walks_packs<T>(n.d, pointer<T>(dlogits), pointer<T>(logits));
    with_team<T>(n.d, packs, [&]<int Threads, int Width>() {
      launch(cross_entropy_rows_backward<T, Threads, Width>, Team<Threads>::grid(n.rows),
             Team<Threads>::block(), 0, stream_, n, pointer<T>(dlogits), pointer<T>(dlosses),
             pointer<double>(lse), pointer<T>(logits), pointer<std::int64_t>(targets), ignore_index,
             smoothing, errors_.indices("cross_entropy", n.d, "target"));
    });
  });
  return true;
}

}  // namespace norma
