// Cross-entropy of logits [rows, classes] and targets (i64) [rows], smoothing s:
//   loss[r] = lse[r] - (1 - s) logits[r][target[r]] - s mean(logits[r]),  lse = ln(sum(exp(logits))); 0 where
//   ignored dlogits = dloss * (exp(logits - lse) - (1 - s) [column = target] - s / classes)
// lse is f64: with large logits an f32 one would cost the probabilities their digits.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/exponentials.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/softmax_rows.h"
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
struct Forward {
  std::int64_t classes;
  T* losses;
  double* lse;
  const T* logits;
  const std::int64_t* targets;
  std::int64_t ignore_index;
  double smoothing;

  /// Everything relative to the largest logit, so that large logits cancel before they round. below: the sum
  /// of top - logit, for smoothing.
  void write(std::int64_t r, T largest, double exponentials, double below) const {
    const double top = static_cast<double>(largest), log_sum = std::log(exponentials);
    lse[r] = top + log_sum;
    if (targets[r] == ignore_index) {
      losses[r] = 0;
      return;
    }
    const double target = static_cast<double>(logits[r * classes + targets[r]]);
    double loss = log_sum + (1 - smoothing) * (top - target);
    if (smoothing != 0) loss += smoothing * below / static_cast<double>(classes);
    losses[r] = static_cast<T>(loss);
  }
  void row(std::int64_t r) const {
    const T* row = logits + r * classes;
    const auto [largest, exponentials] = exp_sum(classes, row);
    const auto below = [row, top = largest](std::int64_t j) { return top - row[j]; };
    write(r, largest, exponentials, smoothing == 0 ? 0 : lane_sum<T>(classes, below));
  }
  void short_rows(std::int64_t first, std::int64_t count) const {
    TurnedRows<T> turned(count, classes, logits + first * classes);
    LaneVector<T> top, sum, below{};
    raised_exp_sum<T, false>(turned, top, sum);
    if (smoothing != 0) {
      turned.sum(
          below, [&](LaneVector<T> & term, std::int64_t j) __attribute__((always_inline)) {
            load(term, turned.at(j));
            term = top - term;
          });
    }
    for (int k = 0; k < count; ++k) {
      write(first + k, top[k], 0x1p-64 * static_cast<double>(sum[k]), static_cast<double>(below[k]));
    }
  }
};

template <class T>
void forward(Rows n, const Forward<T>& body) {
  if (TurnedRows<T>::fit(n.d)) {
    return for_turned_rows(n, [&](std::int64_t first, std::int64_t count) { body.short_rows(first, count); });
  }
  for_each_row(n, [&](std::int64_t r) { body.row(r); });
}

/// lse in two parts, so that large ones do not cost probabilities their digits.
template <class T>
void split(double lse, T& high, T& low) {
  high = static_cast<T>(lse);
  low = static_cast<T>(lse - static_cast<double>(high));
}

template <class T>
struct Backward {
  std::int64_t classes;
  T* dlogits;
  const T* dlosses;
  const double* lse;
  const T* logits;
  const std::int64_t* targets;
  std::int64_t ignore_index;
  double smoothing;
  bool large;

  T uniform() const { return static_cast<T>(smoothing / static_cast<double>(classes)); }
  void subtract_target(std::int64_t r) const {
    dlogits[r * classes + targets[r]] -= dlosses[r] * static_cast<T>(1 - smoothing);
  }
  void row(std::int64_t r) const {
    const T* row = logits + r * classes;
    T* out = dlogits + r * classes;
    if (targets[r] == ignore_index) return std::fill(out, out + classes, T(0));
    T high, low;
    split(lse[r], high, low);
    const auto value = [=, dloss = dlosses[r], uniform = uniform()](std::int64_t j) {
      return dloss * (vector_exp_negative(row[j] - high - low) - uniform);
    };
    if (large) {
      stream_row(classes, out, value);
    } else {
      for (std::int64_t j = 0; j < classes; ++j) out[j] = value(j);
    }
    subtract_target(r);
  }
  void short_rows(std::int64_t first, std::int64_t count) const {
    TurnedRows<T> turned(count, classes, logits + first * classes);
    LaneVector<T> high{}, low{}, dloss{};
    for (int k = 0; k < count; ++k) {
      T parts[2];
      split(lse[first + k], parts[0], parts[1]);
      high.set(k, parts[0]), low.set(k, parts[1]), dloss.set(k, dlosses[first + k]);
    }
    turned.set([&, uniform = uniform() ](LaneVector<T> & value, std::int64_t j)
                   __attribute__((always_inline)) {
                     load(value, turned.at(j));
                     value = value - high - low;
                     exp_negative<T>(value);
                     value = dloss * (value - uniform);
                   });
    turned.write(dlogits + first * classes);
    for (std::int64_t r = first; r < first + count; ++r) {
      if (targets[r] != ignore_index) {
        subtract_target(r);
      } else {
        std::fill_n(dlogits + r * classes, classes, T(0));
      }
    }
  }
};

template <class T>
void backward(Rows n, const Backward<T>& body) {
  if (TurnedRows<T>::fit(n.d)) {
    return for_turned_rows(n, [&](std::int64_t first, std::int64_t count) { body.short_rows(first, count); });
  }
  for_each_row(n, [&](std::int64_t r) { body.row(r); });
}

}  // namespace

bool CpuBackend::cross_entropy(View losses, View lse, View logits, View targets, std::int64_t ignore_index,
                               double smoothing) {
  const Rows n = rows_of(logits);
  check_targets(n, pointer<std::int64_t>(targets), ignore_index);
  for_float(logits.dtype, "cross_entropy", [&]<class T>() {
    forward<T>(n, {n.d, pointer<T>(losses), pointer<double>(lse), pointer<T>(logits),
                   pointer<std::int64_t>(targets), ignore_index, smoothing});
  });
  return true;
}

bool CpuBackend::cross_entropy_backward(View dlogits, View dlosses, View lse, View logits, View targets,
                                        std::int64_t ignore_index, double smoothing) {
  const Rows n = rows_of(logits);
  check_targets(n, pointer<std::int64_t>(targets), ignore_index);
  for_float(logits.dtype, "cross_entropy", [&]<class T>() {
    const bool large = n.rows * n.d * static_cast<std::int64_t>(sizeof(T)) >= streamed_bytes;
    backward<T>(n, {n.d, pointer<T>(dlogits), pointer<T>(dlosses), pointer<double>(lse), pointer<T>(logits),
                    pointer<std::int64_t>(targets), ignore_index, smoothing, large});
  });
  return true;
}

}  // namespace norma
