// Cross-entropy of logits [rows, classes] and targets (i64) [rows], smoothing s:
//   loss[r] = lse[r] - (1 - s) logits[r][target[r]] - s mean(logits[r]),  lse = ln(sum(exp(logits))); 0 where
//   ignored dlogits = dloss * (exp(logits - lse) - (1 - s) [column = target] - s / classes)
// lse is f64: with large logits an f32 one would cost the probabilities their digits.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/exponentials.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/streaming.h"

namespace norma {

namespace {

void check_targets(Rows n, const std::int64_t* targets, std::int64_t ignore_index) {
  for (std::int64_t r = 0; r < n.rows; ++r) {
    NORMA_CHECK((targets[r] >= 0 && targets[r] < n.d) || targets[r] == ignore_index, "cross_entropy: target ",
                targets[r], " at position ", r, " is outside [0, ", n.d, ")");
  }
}

template <class T>
void forward(Rows n, T* losses, double* lse, const T* logits, const std::int64_t* targets,
             std::int64_t ignore_index, double smoothing) {
  for_each_row(n, [=](std::int64_t r) {
    const T* row = logits + r * n.d;
    const auto [largest, exponentials] = exp_sum(n.d, row);
    const double top = static_cast<double>(largest), log_sum = std::log(exponentials);
    lse[r] = top + log_sum;
    if (targets[r] == ignore_index) {
      losses[r] = 0;
      return;
    }
    // Everything relative to the largest logit, so that large logits cancel before they round.
    double loss = log_sum + (1 - smoothing) * (top - static_cast<double>(row[targets[r]]));
    if (smoothing != 0) {
      const double sum = lane_sum<T>(n.d, [row, top = largest](std::int64_t j) { return top - row[j]; });
      loss += smoothing * sum / static_cast<double>(n.d);
    }
    losses[r] = static_cast<T>(loss);
  });
}

template <class T>
void backward(Rows n, T* dlogits, const T* dlosses, const double* lse, const T* logits,
              const std::int64_t* targets, std::int64_t ignore_index, double smoothing) {
  const bool large = n.rows * n.d * static_cast<std::int64_t>(sizeof(T)) >= streamed_bytes;
  for_each_row(n, [=](std::int64_t r) {
    const T* row = logits + r * n.d;
    T* out = dlogits + r * n.d;
    if (targets[r] == ignore_index) return std::fill(out, out + n.d, T(0));
    const T high = static_cast<T>(lse[r]), low = static_cast<T>(lse[r] - static_cast<double>(high));
    const T uniform = static_cast<T>(smoothing / static_cast<double>(n.d)), dloss = dlosses[r];
    const auto value = [=](std::int64_t j) {
      return dloss * (vector_exp_negative(row[j] - high - low) - uniform);
    };
    if (large) {
      stream_row(n.d, out, value);
    } else {
      for (std::int64_t j = 0; j < n.d; ++j) out[j] = value(j);
    }
    out[targets[r]] -= dloss * static_cast<T>(1 - smoothing);
  });
}

}  // namespace

bool CpuBackend::cross_entropy(View losses, View lse, View logits, View targets, std::int64_t ignore_index,
                               double smoothing) {
  const Rows n = rows_of(logits);
  check_targets(n, pointer<std::int64_t>(targets), ignore_index);
  for_float(logits.dtype, "cross_entropy", [&]<class T>() {
    forward<T>(n, pointer<T>(losses), pointer<double>(lse), pointer<T>(logits),
               pointer<std::int64_t>(targets), ignore_index, smoothing);
  });
  return true;
}

bool CpuBackend::cross_entropy_backward(View dlogits, View dlosses, View lse, View logits, View targets,
                                        std::int64_t ignore_index, double smoothing) {
  const Rows n = rows_of(logits);
  check_targets(n, pointer<std::int64_t>(targets), ignore_index);
  for_float(logits.dtype, "cross_entropy", [&]<class T>() {
    backward<T>(n, pointer<T>(dlogits), pointer<T>(dlosses), pointer<double>(lse), pointer<T>(logits),
                pointer<std::int64_t>(targets), ignore_index, smoothing);
  });
  return true;
}

}  // namespace norma
