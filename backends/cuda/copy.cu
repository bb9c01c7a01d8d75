// copy: y = x with conversion; fill: y = value; where: y = condition ? a : b. Views of one shape, any
// strides. copy of equal dtypes between contiguous views is the runtime's own; one that transposes goes
// through shared memory, so that reads and writes both run along rows.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/elements.cuh"
#include "backends/elementwise.h"
#include "backends/transposition.h"

namespace norma {
namespace {

template <class Y, class X>
struct Convert {
  __device__ Y operator()(X x) const { return convert<Y>(x); }
};

constexpr int tile = Transposition::tile, tile_rows = 8;  // a block of (tile, tile_rows) threads

/// What copy_tiles needs of a Transposition.
struct Tiles {
  Strided<2> tiles;
  std::int64_t down, across;  // tiles
  std::int64_t rows, columns, y_row, x_column;
};

/// A block for each tile: it is read along x's rows and written along y's columns.
template <class Y, class X>
__global__ void copy_tiles(Tiles t, Y* y, const X* x) {
  __shared__ X values[tile][tile + 1];  // one column more: reading down a column meets all banks
  std::int64_t offset[2];
  t.tiles.locate(blockIdx.x, offset);
  const std::int64_t rows = t.rows - blockIdx.x / t.across % t.down * tile;
  const std::int64_t columns = t.columns - blockIdx.x % t.across * tile;
  const int lane = static_cast<int>(threadIdx.x), first = static_cast<int>(threadIdx.y);
  for (int column = first; column < tile; column += tile_rows) {
    if (column < columns && lane < rows) values[column][lane] = x[offset[1] + column * t.x_column + lane];
  }
  __syncthreads();
  for (int row = first; row < tile; row += tile_rows) {
    if (row < rows && lane < columns) y[offset[0] + row * t.y_row + lane] = convert<Y>(values[lane][row]);
  }
}

template <class Y, class X>
void copy_views(cudaStream_t stream, const View& y, const View& x) {
  const auto transposition = as_transposition(make_loop(y, x));
  if (!transposition || transposition->tiles.numel() > 2147483647)
    return map<Y, X>(stream, Convert<Y, X>(), y, x);
  const Loop<2>& loop = transposition->tiles;
  const Tiles tiles{Strided<2>(loop),       loop.shape[loop.rank - 2], loop.inner(),
                    transposition->rows,    transposition->columns,    transposition->y_row,
                    transposition->x_column};
  launch(copy_tiles<Y, X>, dim3(static_cast<unsigned>(loop.numel())), dim3(tile, tile_rows), 0, stream, tiles,
         pointer<Y>(y), pointer<X>(x));
}

template <class T>
struct Constant {
  T value;
  __device__ T operator()() const { return value; }
};

template <class T>
struct Choose {
  __device__ T operator()(bool condition, T a, T b) const { return condition ? a : b; }
};

}  // namespace

void CudaBackend::copy(View y, View x) {
  if (y.numel() == 0) return;
  if (y.dtype == x.dtype && y.is_contiguous() && x.is_contiguous()) {
    NORMA_CUDA(cudaMemcpyAsync(y.data, x.data, static_cast<std::size_t>(y.numel() * size_of(y.dtype)),
                               cudaMemcpyDeviceToDevice, stream_));
    return;
  }
  for_any(y.dtype, [&]<class Y>() { for_any(x.dtype, [&]<class X>() { copy_views<Y, X>(stream_, y, x); }); });
}

void CudaBackend::fill(View y, double value, std::int64_t integral) {
  for_any(y.dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, std::int64_t>) {
      map<T>(stream_, Constant<T>{integral}, y);
    } else {
      map<T>(stream_, Constant<T>{convert<T>(value)}, y);
    }
  });
}

void CudaBackend::where(View y, View condition, View a, View b) {
  for_any(y.dtype, [&]<class T>() { map<T, bool, T, T>(stream_, Choose<T>(), y, condition, a, b); });
}

}  // namespace norma
