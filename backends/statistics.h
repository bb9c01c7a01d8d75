// What the norm kernels of all backends share: the readings of a view as rows or channels, centring, and sums
// that are combined from parts.
#pragma once

#include <cstdint>

#include "core/host_device.h"
#include "core/view.h"

namespace norma {

struct Rows {
  std::int64_t rows, d;
};

inline Rows rows_of(const View& x) {
  NORMA_ASSERT(x.rank == 2 && x.is_contiguous());
  return {x.shape[0], x.shape[1]};
}

struct Channels {
  std::int64_t n, channels, inner;

  NORMA_HOST_DEVICE std::int64_t count() const { return n * inner; }  // values in a channel
  NORMA_HOST_DEVICE std::int64_t numel() const { return n * channels * inner; }
};

inline Channels channels_of(const View& x) {
  NORMA_ASSERT(x.rank == 3 && x.is_contiguous());
  return {x.shape[0], x.shape[1], x.shape[2]};
}

/// Runs shorter than this are walked as columns, of samples that are rows. A mask over positions is the same
/// for all columns of a row only where inner is 1.
inline bool walks_columns(const Channels& x, bool masked) {
  return x.inner == 1 || (x.inner < 32 && !masked);
}

/// x - mean. The mean is kept in two parts of T, so that f32 rows with a large mean lose nothing.
template <class T>
struct Centre {
  T high, low;

  NORMA_HOST_DEVICE explicit Centre(double mean)
      : high(static_cast<T>(mean)), low(static_cast<T>(mean - static_cast<double>(high))) {}
  NORMA_HOST_DEVICE T operator()(T x) const {
    if constexpr (sizeof(T) == 8) return x - high;
    return (x - high) - low;
  }
};

/// A sum of squares in T that is trusted: large or small enough, it has neither overflowed nor lost terms.
template <class T>
NORMA_HOST_DEVICE bool is_safe_square(double sum) {
  return sizeof(T) == 8 || (sum > 1e-28 && sum < 1e37);
}

/// Values behind a mean and the sum of squares around it.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  /// Both together (Chan, Golub, LeVeque 1979): centred, so that nothing cancels.
  NORMA_HOST_DEVICE void add(const Moments& other) {
    if (other.count == 0) return;
    const double total = count + other.count, step = other.mean - mean;
    mean = count == 0 ? other.mean : mean + step * (other.count / total);
    squares += other.squares + (count == 0 ? 0 : step * step * (count * other.count / total));
    count = total;
  }
};

/// 1 / (rstd R) of the RMS norm 1 / (R + eps). R is taken from rstd: where it is so much smaller than eps
/// that this loses its digits, the term that the factor belongs to is below the rounding of the others.
NORMA_HOST_DEVICE inline double outside_factor(double rstd, double eps) {
  const double root = 1 / rstd - eps;
  return root > 0 ? 1 / (rstd * root) : 0;
}

}  // namespace norma
