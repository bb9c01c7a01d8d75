// c = alpha * a b + beta * d, where c has few rows; few columns become few rows by c^T = b^T a^T.
// Where the columns of b lie in memory one after another, an element of c is a sum of products along k, in 16
// lanes; where rows do, rows of b times values of a are added to rows of c. No chain of additions is longer
// than `chain`: what it came to is added to the sum of those before.
#include "backends/cpu/gemm/thin_product.h"

#include <algorithm>
#include <optional>

#include "backends/cpu/lane_vector.h"
#include "backends/cpu/scratch.h"
#include "core/parallel.h"

namespace norma {
namespace {

constexpr std::int64_t lanes = vector_lanes;
template <class T>
constexpr std::int64_t most_rows = sizeof(T) == 4 ? 7 : 3;
constexpr std::int64_t least_steps = 128;  // of k, with more rows than one
constexpr std::int64_t chain = 384;
constexpr std::int64_t widest = 256;         // columns of c whose sums stay in L1
constexpr std::int64_t task_work = 1 << 16;  // multiply-adds that are worth a thread

template <class T>
struct Strided {
  T* data;
  std::int64_t row, column;
  T& operator()(std::int64_t i, std::int64_t j) const { return data[i * row + j * column]; }
};

template <class T>
class ThinProduct {
  static constexpr int together = sizeof(T) == 4 ? 4 : 2;  // vectors of sums: as many as registers hold

 public:
  explicit ThinProduct(const MatrixProduct<T>& p) : e_(p.extents), alpha_(p.alpha), beta_(p.beta) {
    Matrix<const T> a = p.a;
    b_ = p.b;
    c_ = {p.c.data, p.c.leading, 1};
    d_ = {p.c.data, p.c.leading, 1};
    if (p.row != nullptr) d_ = {p.row, 0, 1};
    if (e_.n < e_.m) {
      std::swap(e_.m, e_.n), std::swap(a, b_), std::swap(c_.row, c_.column), std::swap(d_.row, d_.column);
      a.transposed = !a.transposed, b_.transposed = !b_.transposed;
    }
    a_ = a.data, a_row_ = a.leading;
    if (!a.transposed) return;
    T* const copy = copy_of_a_.emplace(e_.m * e_.k).data();
    for (std::int64_t i = 0; i < e_.m; ++i)
      for (std::int64_t k = 0; k < e_.k; ++k) copy[i * e_.k + k] = a.data[k * a.leading + i];
    a_ = copy, a_row_ = e_.k;
  }

  void run() const {
    const std::int64_t work = e_.m * e_.k;  // of a column
    if (b_.transposed) {
      const std::int64_t block = std::max<std::int64_t>(1, task_work / work / 4) * 4;
      return parallel_for(e_.n, block, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = 0; i < e_.m; i += together)
          with_rows(i, [&](auto rows) { dots<rows>(i, begin, end); });
      });
    }
    const std::int64_t width = std::clamp(e_.n / 8 / lanes * lanes, 4 * lanes, widest);
    const std::int64_t blocks = (e_.n + width - 1) / width;
    parallel_for(blocks, std::max<std::int64_t>(1, task_work / work / width),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t block = begin; block < end; ++block)
                     for (std::int64_t i = 0; i < e_.m; i += together)
                       with_rows(i, [&](auto rows) {
                         add_rows<rows>(i, block * width, std::min(width, e_.n - block * width));
                       });
                 });
  }

 private:
  /// Calls body(count), the rows from i on as a constant: at most `together`.
  template <class Body>
  void with_rows(std::int64_t i, const Body& body) const {
    const std::int64_t left = std::min<std::int64_t>(together, e_.m - i);
    if (left == 1) return body(std::integral_constant<int, 1>());
    if (left == 2) return body(std::integral_constant<int, 2>());
    if constexpr (together == 4) {
      if (left == 3) return body(std::integral_constant<int, 3>());
      body(std::integral_constant<int, 4>());
    }
  }
  void write(std::int64_t i, std::int64_t j, T sum) const {
    c_(i, j) = beta_ == 0 ? alpha_ * sum : alpha_ * sum + beta_ * d_(i, j);
  }

  template <int rows>
  void dots(std::int64_t i, std::int64_t begin, std::int64_t end) const {
    constexpr int columns = together / rows;
    std::int64_t j = begin;
    for (; j + columns <= end; j += columns) dots<rows, columns>(i, j);
    for (; j < end; ++j) dots<rows, 1>(i, j);
  }

  /// c [rows, columns] at (i, j).
  template <int rows, int columns>
  void dots(std::int64_t i, std::int64_t j) const {
    const T* const a = a_ + i * a_row_;
    const T* const b = b_.data + j * b_.leading;
    const std::int64_t whole = e_.k / lanes * lanes;
    T totals[rows][columns] = {};
    for (std::int64_t k = 0; k < whole;) {
      LaneVector<T> sums[rows][columns];
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < columns; ++c) sums[r][c] = T(0);
      for (const std::int64_t last = std::min(whole, k + chain * lanes); k < last; k += lanes) {
        LaneVector<T> x[columns];
#pragma GCC unroll 4
        for (int c = 0; c < columns; ++c) load(x[c], b + c * b_.leading + k);
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          LaneVector<T> y;
          load(y, a + r * a_row_ + k);
#pragma GCC unroll 4
          for (int c = 0; c < columns; ++c) sums[r][c] += x[c] * y;
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < columns; ++c) totals[r][c] += sum_of(sums[r][c]);
    }
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) {
        T rest = 0;
        for (std::int64_t k = whole; k < e_.k; ++k) rest += a[r * a_row_ + k] * b[c * b_.leading + k];
        write(i + r, j + c, totals[r][c] + rest);
      }
  }

  /// c [rows, width] at (i, j), at most `widest` columns.
  template <int rows>
  void add_rows(std::int64_t i, std::int64_t j, std::int64_t width) const {
    T totals[rows][widest], sums[rows][widest];
    for (std::int64_t k = 0; k < e_.k; k += chain) {
      const std::int64_t last = std::min(e_.k, k + chain);
      for (int r = 0; r < rows; ++r) std::fill_n(sums[r], width, T(0));
      std::int64_t step = k;
      for (; step + together <= last; step += together) add_steps<rows, together>(sums, i, j, step, width);
      for (; step < last; ++step) add_steps<rows, 1>(sums, i, j, step, width);
      for (int r = 0; r < rows; ++r)
        for (std::int64_t column = 0; column < width; ++column)
          totals[r][column] = (k == 0 ? T(0) : totals[r][column]) + sums[r][column];
    }
    for (int r = 0; r < rows; ++r)
      for (std::int64_t column = 0; column < width; ++column) write(i + r, j + column, totals[r][column]);
  }

  /// sums += a [rows, steps] at (i, k) times b [steps, width] at (k, j).
  template <int rows, int steps>
  void add_steps(T (&sums)[rows][widest], std::int64_t i, std::int64_t j, std::int64_t k,
                 std::int64_t width) const {
    T factors[rows][steps];
    for (int r = 0; r < rows; ++r) std::copy_n(a_ + (i + r) * a_row_ + k, steps, factors[r]);
    const T* const b = b_.data + k * b_.leading + j;
    std::int64_t column = 0;
    for (; column + lanes <= width; column += lanes) {
      LaneVector<T> x[steps];
#pragma GCC unroll 4
      for (int s = 0; s < steps; ++s) load(x[s], b + s * b_.leading + column);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        LaneVector<T> sum;
        load(sum, sums[r] + column);
#pragma GCC unroll 4
        for (int s = 0; s < steps; ++s) sum += LaneVector<T>(factors[r][s]) * x[s];
        store(sums[r] + column, sum);
      }
    }
    for (; column < width; ++column)
      for (int r = 0; r < rows; ++r)
        for (int s = 0; s < steps; ++s) sums[r][column] += factors[r][s] * b[s * b_.leading + column];
  }

  ProductExtents e_;
  T alpha_, beta_;
  const T* a_;  // rows of k values
  std::int64_t a_row_;
  Matrix<const T> b_;
  Strided<T> c_;
  Strided<const T> d_;
  std::optional<Scratch<T>> copy_of_a_;
};

}  // namespace

template <class T>
bool is_thin(const ProductExtents& e) {
  const std::int64_t rows = std::min(e.m, e.n);
  return rows == 1 || (rows <= most_rows<T> && e.k >= least_steps);
}

template <class T>
void thin_product(const MatrixProduct<T>& product) {
  ThinProduct<T>(product).run();
}

template bool is_thin<float>(const ProductExtents&);
template bool is_thin<double>(const ProductExtents&);
template void thin_product(const MatrixProduct<float>&);
template void thin_product(const MatrixProduct<double>&);

}  // namespace norma
