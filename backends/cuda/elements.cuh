// Kernels with one thread for each element: where element i of a strided view lies, and map, the kernel of
// all elementwise operations. Contiguous operands go through in packs of up to 16 bytes, any others element
// by element.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "backends/cuda/launch.h"
#include "backends/strided.h"

namespace norma {

inline constexpr int flat_block = 256;  // threads

/// The number of the calling thread in a grid of one dimension.
__device__ inline std::int64_t flat_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// Launches at least `count` > 0 threads in one dimension; a kernel leaves those from `count` on idle.
template <class... Parameters, class... Arguments>
void launch_flat(void (*kernel)(Parameters...), std::int64_t count, cudaStream_t stream,
                 Arguments&&... arguments) {
  const std::int64_t block = count < flat_block ? (count + 31) / 32 * 32 : flat_block;
  const std::int64_t grid = (count + block - 1) / block;
  NORMA_CHECK(grid <= 2147483647, "cuda: ", count, " elements are more than one launch can have");
  launch(kernel, dim3(static_cast<unsigned>(grid)), dim3(static_cast<unsigned>(block)), 0, stream,
         std::forward<Arguments>(arguments)...);
}

/// A Loop as kernels take it: innermost axis first, all in words of 64 bits.
template <int N>
struct Strided {
  std::int64_t rank = 0;
  std::int64_t small = 0;  // not 0: fewer than 2^31 elements, so that 32 bits number them
  std::int64_t shape[max_rank] = {};
  std::int64_t strides[N][max_rank] = {};

  explicit Strided(const Loop<N>& loop) : rank(loop.rank), small(loop.numel() < (std::int64_t{1} << 31)) {
    for (int axis = 0; axis < loop.rank; ++axis) {
      shape[axis] = loop.shape[loop.rank - 1 - axis];
      for (int k = 0; k < N; ++k) strides[k][axis] = loop.strides[k][loop.rank - 1 - axis];
    }
  }

  /// offset[k] = where element i (row-major over the loop) lies in operand k.
  __device__ void locate(std::int64_t i, std::int64_t (&offset)[N]) const {
    if (small != 0) {
      locate_by(static_cast<std::uint32_t>(i), offset);
    } else {
      locate_by(static_cast<std::uint64_t>(i), offset);
    }
  }
  /// The same for a loop over one operand.
  __device__ std::int64_t at(std::int64_t i) const {
    static_assert(N == 1);
    std::int64_t offset[1];
    locate(i, offset);
    return offset[0];
  }

 private:
  template <class Index>  // division, which most of the work is, takes half the time in 32 bits or less
  __device__ void locate_by(Index i, std::int64_t (&offset)[N]) const {
    for (int k = 0; k < N; ++k) offset[k] = 0;
    for (std::int64_t axis = 0; axis < rank; ++axis) {
      Index along = i;
      if (axis + 1 < rank) {
        const Index extent = static_cast<Index>(shape[axis]);
        along = i % extent;
        i /= extent;
      }
      for (int k = 0; k < N; ++k) offset[k] += static_cast<std::int64_t>(along) * strides[k][axis];
    }
  }
};

/// `width` neighbouring values, moved in one instruction.
template <class T, int width>
struct alignas(width * sizeof(T)) Pack {
  T values[width];
};

/// For formulas that are templates over the functions of a backend.
struct DeviceMath {
  template <class T>
  __device__ static T exp(T x) {
    return std::exp(x);
  }
  template <class T>
  __device__ static T erf(T x) {
    return std::erf(x);
  }
  template <class T>
  __device__ static T sin(T x) {
    return std::sin(x);
  }
  template <class T>
  __device__ static T cos(T x) {
    return std::cos(x);
  }
  template <class T>
  __device__ static T pow(T x, T y) {
    return std::pow(x, y);
  }
};

namespace detail {

template <int width, class F, class Y, class... X>
__device__ void map_pack(const F& f, Pack<Y, width>& y, const Pack<X, width>&... x) {
#pragma unroll
  for (int i = 0; i < width; ++i) y.values[i] = f(x.values[i]...);
}

template <int width, class F, class Y, class... X>
__global__ void map_contiguous(std::int64_t count, F f, Y* y, const X*... x) {
  const std::int64_t pack = flat_index(), first = pack * width;
  if (first + width <= count) {
    Pack<Y, width> result;
    map_pack<width>(f, result, reinterpret_cast<const Pack<X, width>*>(x)[pack]...);
    reinterpret_cast<Pack<Y, width>*>(y)[pack] = result;
  } else {
    for (std::int64_t i = first; i < count; ++i) y[i] = f(x[i]...);
  }
}

template <class F, class Y, class... X, std::size_t... operand>
__device__ void map_one(const F& f, const std::int64_t* offset, std::index_sequence<operand...>, Y* y,
                        const X*... x) {
  y[offset[0]] = f(x[offset[operand + 1]]...);
}

template <class F, class Y, class... X>
__global__ void map_strided(std::int64_t count, Strided<1 + sizeof...(X)> elements, F f, Y* y,
                            const X*... x) {
  const std::int64_t i = flat_index();
  if (i >= count) return;
  std::int64_t offset[1 + sizeof...(X)];
  elements.locate(i, offset);
  map_one(f, offset, std::index_sequence_for<X...>(), y, x...);
}

template <int N>
bool is_contiguous(const Loop<N>& loop) {
  for (int k = 0; k < N; ++k)
    if (loop.rank != 1 || (loop.inner_stride(k) != 1 && loop.shape[0] > 1)) return false;
  return true;
}

}  // namespace detail

/// y = f(x...) element by element, for views of one shape and any strides; an x may be y. F is a struct with
/// a __device__ operator(), whose members are initialized throughout.
template <class Y, class... X, class F, class... Views>
void map(cudaStream_t stream, const F& f, const View& y, const Views&... x) {
  static_assert(sizeof...(X) == sizeof...(Views));
  const auto loop = make_loop(y, x...);
  const std::int64_t count = loop.numel();
  if (count == 0) return;
  constexpr std::size_t largest = std::max({sizeof(Y), sizeof(X)...});
  constexpr int width = static_cast<int>(16 / largest);
  const auto is_aligned = [](const void* data, std::size_t size) {
    return reinterpret_cast<std::uintptr_t>(data) % (size * width) == 0;
  };
  if (detail::is_contiguous(loop) && is_aligned(y.data, sizeof(Y)) && (is_aligned(x.data, sizeof(X)) && ...))
    return launch_flat(detail::map_contiguous<width, F, Y, X...>, (count + width - 1) / width, stream, count,
                       f, pointer<Y>(y), pointer<X>(x)...);
  launch_flat(detail::map_strided<F, Y, X...>, count, stream, count,
              Strided<1 + static_cast<int>(sizeof...(X))>(loop), f, pointer<Y>(y), pointer<X>(x)...);
}

}  // namespace norma
