// matmul: c = alpha * a b + beta * c; a [.., m, k], b [.., k, n], c [.., m, n].
//
// Transposed and sliced operands go to the product as they are; what it cannot address (zero, negative or
// interleaved strides) is copied first. Our own kernels (blas.h) take whole products: large ones one after
// another, each in parallel, small ones of a batch side by side. For OpenBLAS the products of all batch
// entries are cut into tiles of c by the shapes alone, each a serial call over the whole of k, and the tiles
// run in parallel. No result depends on the number of threads.
#include <optional>

#include "backends/cpu/blas.h"
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/scratch.h"
#include "backends/matrices.h"
#include "backends/strided.h"

namespace norma {

namespace {

constexpr double tile_work = 4e6;        // multiply-adds of a tile, at least: about 0.1 ms of one core
constexpr std::int64_t most_tiles = 64;  // of one product
constexpr double parallel_work = 1.6e7;  // multiply-adds of a product that is worth all threads

double work_of(const ProductExtents& e) {
  return static_cast<double>(e.m) * static_cast<double>(e.n) * static_cast<double>(e.k);
}

/// Rows and columns per tile: tiles of enough work, not too thin, at most `most_tiles`.
ProductExtents tile_of(const ProductExtents& e) {
  const double work = work_of(e);
  std::int64_t tiles = 1;
  while (tiles < most_tiles && work / static_cast<double>(2 * tiles) >= tile_work) tiles *= 2;
  std::int64_t m = e.m, n = e.n;
  for (; tiles > 1; tiles /= 2) {  // halve the longer side
    std::int64_t& side = m >= n ? m : n;
    side = (side / 2 + 15) / 16 * 16;
  }
  return {m, n, e.k};
}

template <class T>
class Product {
 public:
  Product(const View& c, const View& a, const View& b, double alpha, double beta)
      : extents_(extents_of(c, a)),
        tile_(own_gemm<T>(extents_) ? extents_ : tile_of(extents_)),
        alpha_(alpha),
        beta_(beta) {
    NORMA_ASSERT(as_matrix(a, a_) && as_matrix(b, b_) && as_matrix(c, c_) && !c_.transposed);
    for (int axis = 0; axis < c.rank - 2; ++axis) {
      batch_.push(c.shape[axis], {c.strides[axis], a.strides[axis], b.strides[axis]});
    }
    batch_ = coalesce(batch_, true);
  }

  void run() const {
    if (own_gemm<T>(extents_) && (batch_.numel() == 1 || work_of(extents_) >= parallel_work)) {
      for (std::int64_t entry = 0; entry < batch_.numel(); ++entry)
        run_tile(Position<3>(batch_, entry), 0, 0);
      return;
    }
    const std::int64_t across = (extents_.n + tile_.n - 1) / tile_.n;
    const std::int64_t tiles = (extents_.m + tile_.m - 1) / tile_.m * across;
    const std::int64_t block =
        std::max<std::int64_t>(1, static_cast<std::int64_t>(tile_work / 4 / (work_of(tile_) + 100)));
    parallel_for(batch_.numel() * tiles, block, [&](std::int64_t begin, std::int64_t end) {
      const SerialBlas serial;
      for (std::int64_t task = begin; task < end; ++task) {
        const std::int64_t tile = task % tiles;
        run_tile(Position<3>(batch_, task / tiles), tile / across * tile_.m, tile % across * tile_.n);
      }
    });
  }

 private:
  static std::int64_t place(const auto& matrix, std::int64_t row, std::int64_t column) {
    return matrix.transposed ? column * matrix.leading + row : row * matrix.leading + column;
  }
  void run_tile(const Position<3>& batch, std::int64_t row, std::int64_t column) const {
    Matrix<T> c = c_;
    Matrix<const T> a = a_, b = b_;
    c.data += batch.offset[0] + place(c, row, column);
    a.data += batch.offset[1] + place(a, row, 0);
    b.data += batch.offset[2] + place(b, 0, column);
    gemm<T>(std::min(tile_.m, extents_.m - row), std::min(tile_.n, extents_.n - column), extents_.k, alpha_,
            a, b, beta_, c);
  }

  ProductExtents extents_, tile_;
  double alpha_, beta_;
  Matrix<T> c_;
  Matrix<const T> a_, b_;
  Loop<3> batch_;  // offsets in c, a, b
};

template <class T>
void multiply(CpuBackend& cpu_backend, View c, View a, View b, double alpha, double beta) {
  fold_batch(c, a, b);
  check_extents(extents_of(c, a));
  std::optional<Scratch<T>> copies[3];
  Matrix<T> matrix;
  for (int operand = 0; operand < 2; ++operand) {
    View& view = operand == 0 ? a : b;
    if (as_matrix(view, matrix)) continue;
    const View source = distinct(view, view);
    copies[operand].emplace(source.numel());
    const View copy = compact(view, copies[operand]->data());
    cpu_backend.copy(distinct(copy, view), source);
    view = copy;
  }
  if (as_matrix(c, matrix)) {
    if (!matrix.transposed) return Product<T>(c, a, b, alpha, beta).run();
    return Product<T>(transposed(c), transposed(b), transposed(a), alpha, beta).run();  // c^T = b^T a^T
  }
  copies[2].emplace(c.numel());
  const View result = compact(c, copies[2]->data());
  if (beta != 0) cpu_backend.copy(result, c);
  Product<T>(result, a, b, alpha, beta).run();
  cpu_backend.copy(c, result);
}

}  // namespace

void CpuBackend::matmul(View c, View a, View b, double alpha, double beta) {
  for_float(c.dtype, "matmul", [&]<class T>() {
    if (c.numel() == 0) return;
    if (a.shape[a.rank - 1] != 0 && alpha != 0) return multiply<T>(*this, c, a, b, alpha, beta);
    if (beta == 0) return fill(c, 0, 0);
    if (beta != 1) unary(Unary::affine, c, c, beta, 0);
  });
}

/// The bias is added in the tiles of y, where our own kernels compute the product.
bool CpuBackend::linear(View y, View x, View weight, View bias) {
  Matrix<float> to{}, from{}, factor{};
  const ProductExtents extents = extents_of(y, x);
  if (y.dtype != f32 || y.numel() == 0 || extents.k == 0) return false;
  check_extents(extents);
  if (!own_gemm<float>(extents) || !as_matrix(x, from) || !as_matrix(transposed(weight), factor))
    return false;
  NORMA_ASSERT(as_matrix(y, to) && !to.transposed);
  gemm_plus_row(extents, {from.data, from.leading, from.transposed},
                {factor.data, factor.leading, factor.transposed}, pointer<float>(bias), to);
  return true;
}

}  // namespace norma
