// Average pooling: the mean of each window.
//   y[p] = the sum of x[i] over the entries i of window p / counted[p]
//   dx[i] = the sum of dy[p] / counted[p] over the windows p that see i
// Contiguous views, parallel over planes. Windows of up to `most_taps` an axis are summed in T, longer ones
// in f64.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/pools.h"
#include "backends/cpu/scratch.h"
#include "backends/elementwise.h"

namespace norma {
namespace {

constexpr std::int64_t most_taps = 32;

bool has_long_windows(const Pools& p) {
  if (p.pooling.adaptive) return p.height > most_taps * p.rows || p.width > most_taps * p.columns;
  return std::max(p.pooling.window.kernel[0], p.pooling.window.kernel[1]) > most_taps;
}

/// How many entries of a line each window counts.
template <class Sum>
void count_columns(const Pools& p, Sum* counts) {
  for (std::int64_t q = 0; q < p.columns; ++q)
    counts[q] = static_cast<Sum>(p.pooling.counted(1, q, p.columns, p.width));
}
template <class Sum>
Sum count_rows(const Pools& p, std::int64_t r) {
  return static_cast<Sum>(p.pooling.counted(0, r, p.rows, p.height));
}

/// line = the sum of the rows of x that a row of windows sees.
template <class Sum, class T>
void sum_rows(const Pools& p, const Pooling::Entries& rows, Sum* line, const T* x) {
  std::fill_n(line, rows.count == 0 ? p.width : 0, Sum(0));
  for (std::int64_t i = 0; i < rows.count; ++i) {
    const T* const row = x + (rows.first + i * rows.step) * p.width;
    if (i == 0) {
      std::copy_n(row, p.width, line);
    } else {
#pragma omp simd
      for (std::int64_t c = 0; c < p.width; ++c) line[c] += static_cast<Sum>(row[c]);
    }
  }
}

/// sums[q] = the sum of the entries of a line that window q sees.
template <class Sum>
void sum_columns(const Pools& p, Sum* sums, const Sum* line) {
  std::fill_n(sums, p.columns, Sum(0));
  if (!p.sliding) {
    for (std::int64_t q = 0; q < p.columns; ++q) {
      const Pooling::Entries bin = p.column(q);
      for (std::int64_t c = bin.first; c < bin.first + bin.count; ++c) sums[q] += line[c];
    }
    return;
  }
  with_stride(p.stride, [&](auto stride) {
    for (std::int64_t tap = 0; tap < p.taps; ++tap) {
      const Sum* const from = line + tap * p.dilation;
#pragma omp simd
      for (std::int64_t q = 0; q < p.columns; ++q) sums[q] += from[q * stride];
    }
  });
}

template <class Sum, class T>
void pool_planes(const Pools& p, T* y, const T* x) {
  for_planes(p.count, p.size(), p.places(), [&](std::int64_t begin, std::int64_t end) {
    Scratch<Sum> line(p.line), counts(p.columns), sums(p.columns);
    std::fill_n(line.data(), p.line, Sum(0));
    count_columns(p, counts.data());
    for (std::int64_t plane = begin; plane < end; ++plane) {
      for (std::int64_t r = 0; r < p.rows; ++r) {
        sum_rows(p, p.row(r), line.data() + p.left, x + plane * p.size());
        sum_columns(p, sums.data(), line.data());
        const Sum height = count_rows<Sum>(p, r), *const found = sums.data(), *const widths = counts.data();
        T* const to = y + (plane * p.rows + r) * p.columns;
        for (std::int64_t q = 0; q < p.columns; ++q) to[q] = static_cast<T>(found[q] / (height * widths[q]));
      }
    }
  });
}

/// The adjoint of sum_columns: every entry of a line gets what the windows that see it have.
template <class T>
void spread_columns(const Pools& p, T* line, const T* shares) {
  std::fill_n(line, p.line, T(0));
  if (!p.sliding) {
    for (std::int64_t q = 0; q < p.columns; ++q) {
      const Pooling::Entries bin = p.column(q);
      for (std::int64_t c = bin.first; c < bin.first + bin.count; ++c) line[c] += shares[q];
    }
    return;
  }
  with_stride(p.stride, [&](auto stride) {
    for (std::int64_t tap = 0; tap < p.taps; ++tap) {
      T* const to = line + tap * p.dilation;
#pragma omp simd
      for (std::int64_t q = 0; q < p.columns; ++q) to[q * stride] += shares[q];
    }
  });
}

template <class T>
void spread_planes(const Pools& p, T* dx, const T* dy) {
  for_planes(p.count, p.size(), p.places(), [&](std::int64_t begin, std::int64_t end) {
    Scratch<T> line(p.line), counts(p.columns), shares(p.columns);
    count_columns(p, counts.data());
    for (std::int64_t plane = begin; plane < end; ++plane) {
      T* const to = dx + plane * p.size();
      std::fill_n(to, p.size(), T(0));
      for (std::int64_t r = 0; r < p.rows; ++r) {
        const T* const from = dy + (plane * p.rows + r) * p.columns;
        const T height = count_rows<T>(p, r), *const widths = counts.data();
        T* const share = shares.data();
        for (std::int64_t q = 0; q < p.columns; ++q) share[q] = from[q] / (height * widths[q]);
        spread_columns(p, line.data(), share);
        const Pooling::Entries rows = p.row(r);
        for (std::int64_t i = 0; i < rows.count; ++i) {
          T* const row = to + (rows.first + i * rows.step) * p.width;
          const T* const seen = line.data() + p.left;
#pragma omp simd
          for (std::int64_t c = 0; c < p.width; ++c) row[c] += seen[c];
        }
      }
    }
  });
}

}  // namespace

bool CpuBackend::avg_pool(View y, View x, const Pooling& pooling) {
  const Pools pools(x, y, pooling);
  for_float(x.dtype, "avg_pool", [&]<class T>() {
    (has_long_windows(pools) ? pool_planes<double, T> : pool_planes<T, T>)(pools, pointer<T>(y),
                                                                           pointer<T>(x));
  });
  return true;
}

bool CpuBackend::avg_pool_backward(View dx, View dy, const Pooling& pooling) {
  const Pools pools(dx, dy, pooling);
  for_float(dx.dtype, "avg_pool",
            [&]<class T>() { spread_planes<T>(pools, pointer<T>(dx), pointer<T>(dy)); });
  return true;
}

}  // namespace norma
