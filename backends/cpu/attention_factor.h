// Products of attention with one right factor: rows of q, k, v or dy of a head, or their transpose. One block
// of queries after another multiplies it, so it is packed once where our own kernels take f32 products.
// Causality makes a triangle of the other matrix; tiles outside of it are left out.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/blas.h"
#include "backends/cpu/gemm/panel_product.h"
#include "backends/cpu/lane_vector.h"
#include "backends/cpu/scratch.h"

namespace norma {

/// True when none of the values of x [k, n] is NaN or infinite.
template <class T>
bool is_finite(std::int64_t k, std::int64_t n, Matrix<const T> x) {
  if (x.leading == n) n *= k, k = 1;
  LaneVector<T> zeros{}, more{}, values, others;  // x * 0 is 0 or NaN
  T zero = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    const T* row = x.data + i * x.leading;
    std::int64_t j = 0;
    for (; j + 2 * vector_lanes <= n; j += 2 * vector_lanes) {
      load(values, row + j);
      load(others, row + j + vector_lanes);
      zeros += values * T(0);
      more += others * T(0);
    }
    for (; j + vector_lanes <= n; j += vector_lanes) {
      load(values, row + j);
      zeros += values * T(0);
    }
    for (; j < n; ++j) zero += row[j] * T(0);
  }
  return zero + sum_of(zeros + more) == 0;
}

/// Where rows of a matrix end: of row i the columns [0, of(i)) count.
struct Ends {
  std::int64_t first, rise;  // the end of row 0, and what each row adds: 0 or 1
  std::int64_t columns;      // of the matrix: no row has more

  std::int64_t of(std::int64_t i) const { return std::clamp<std::int64_t>(first + i * rise, 0, columns); }
  /// The first of `rows` rows that has column j; `rows` if none has.
  std::int64_t first_with(std::int64_t j, std::int64_t rows) const {
    return rise == 0 ? (j < first ? 0 : rows) : std::clamp<std::int64_t>(j + 1 - first, 0, rows);
  }
};

template <class T>
class Factor {
 public:
  /// For matrices [k, n] that lie as b does; kernels: nullptr for products by gemm.
  Factor(const GemmKernels* kernels, Matrix<const T> b, std::int64_t k, std::int64_t n)
      : kernels_(kernels), k_(k), n_(n), memory_(room_for(b)) {}

  /// From now on the factor is b. Where left factors hide some of it by zeros, and not all of it is finite,
  /// elements that are exactly 0 are left out instead of multiplied: a NaN behind a mask must not leak.
  void set(Matrix<const T> b, bool hides = false) {
    b_ = b, skip_zeros_ = false;
    std::int64_t packed = 0;
    if constexpr (in_panels) {
      if (by_tiles()) panels_ = make_panels(*kernels_, b, k_, n_, memory_.data()), packed = room_for(b);
    }
    if (!hides) return;
    NORMA_ASSERT(!b.transposed);
    skip_zeros_ = packed > 0 ? !is_finite<T>(1, packed, {memory_.data(), packed}) : !is_finite<T>(k_, n_, b);
  }

  /// Calls body(first, count) for m rows of a product, a tile's at a time; for all at once by gemm.
  template <class Body>
  void for_tiles(std::int64_t m, Body&& body) const {
    const std::int64_t most = by_tiles() ? kernels_->rows : m, tiles = (m + most - 1) / most;
    const std::int64_t height = (m + tiles - 1) / tiles;
    for (std::int64_t i = 0; i < m; i += height) body(i, std::min(height, m - i));
  }

  /// c [m, n] = alpha * a b; what lies beyond the ends of its rows is not wanted.
  void multiply_within(const Ends& ends, std::int64_t m, double alpha, Matrix<const T> a, Matrix<T> c) const {
    if (!by_tiles()) return gemm<T>(m, ends.columns, k_, alpha, a, b_, 0, c);
    for_tiles(m, [&](std::int64_t i, std::int64_t rows) {
      multiply_tiles({rows, ends.of(i + rows - 1), k_}, alpha, below(a, i), 0, 0, below(c, i));
    });
  }
  /// c [m, n] = a b; a is 0 beyond the ends of its rows.
  void multiply(const Ends& ends, std::int64_t m, Matrix<const T> a, Matrix<T> c) const {
    if (!by_tiles()) return multiply_all({m, n_, ends.columns}, a, b_, false, c);
    for_tiles(m, [&](std::int64_t i, std::int64_t rows) {
      multiply_tiles({rows, n_, ends.of(i + rows - 1)}, 1, below(a, i), 0, 0, below(c, i));
    });
  }
  /// c [columns of a, n] (+)= a^T b', where b' are the rows of b from `first` on; a is 0 beyond the ends of
  /// its `rows` rows.
  void multiply_transposed(const Ends& ends, std::int64_t rows, Matrix<const T> a, std::int64_t first,
                           bool add, Matrix<T> c) const {
    if (!by_tiles()) {
      return multiply_all({ends.columns, n_, rows}, {a.data, a.leading, true}, below(b_, first), add, c);
    }
    for_tiles(ends.columns, [&](std::int64_t j, std::int64_t columns) {
      const std::int64_t i = ends.first_with(j, rows);
      multiply_tiles({columns, n_, rows - i}, 1, {a.data + i * a.leading + j, a.leading, true}, first + i,
                     add, below(c, j));
    });
  }

  /// Columns of row i that the last two read: to its end, and up to this one if there are more.
  std::int64_t columns_read(const Ends& ends, std::int64_t i) const {
    return by_tiles() ? std::min(ends.columns, ends.of(i) + kernels_->rows - 1) : ends.columns;
  }

 private:
  static constexpr bool in_panels = sizeof(T) == 4;

  bool by_tiles() const { return in_panels && kernels_ != nullptr && !skip_zeros_; }
  std::int64_t room_for(Matrix<const T> b) const {
    if constexpr (in_panels) return kernels_ == nullptr ? 0 : panel_values(*kernels_, b, k_, n_);
    return 0;
  }
  template <class U>
  static Matrix<U> below(Matrix<U> x, std::int64_t row) {
    return {x.data + row * x.leading, x.leading};
  }

  void multiply_tiles(const ProductExtents& extents, double alpha, Matrix<const T> a, std::int64_t first,
                      bool add, Matrix<T> c) const {
    if constexpr (in_panels) {
      const Panels b{panels_.data + first * panels_.step, panels_.step, panels_.panel};
      multiply_panels(*kernels_, {extents, static_cast<T>(alpha), a, b, add ? T(1) : T(0), c});
    }
  }

  /// c (+)= a b, element by element of a where zeros are skipped.
  void multiply_all(const ProductExtents& e, Matrix<const T> a, Matrix<const T> b, bool add,
                    Matrix<T> c) const {
    if (!skip_zeros_) return gemm<T>(e.m, e.n, e.k, 1, a, b, add ? 1 : 0, c);
    for (std::int64_t i = 0; i < e.m; ++i) {
      T* to = c.data + i * c.leading;
      if (!add) std::fill(to, to + e.n, T(0));
      for (std::int64_t l = 0; l < e.k; ++l) {
        const T weight = a.transposed ? a.data[l * a.leading + i] : a.data[i * a.leading + l];
        if (weight == T(0)) continue;
        const T* from = b.data + l * b.leading;
        for (std::int64_t j = 0; j < e.n; ++j) to[j] += weight * from[j];
      }
    }
  }

  const GemmKernels* kernels_;
  std::int64_t k_, n_;
  Scratch<T> memory_;
  Matrix<const T> b_{};
  bool skip_zeros_ = false;
  Panels panels_{};
};

}  // namespace norma
