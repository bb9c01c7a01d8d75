// random: element i of a contiguous view from block i of the key, or 16 bits of two (bernoulli). dropout: y =
// x * mask / (1 - p). Formulas in backends/distributions.h, the same as on the CPU, so the same masks.
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/elements.cuh"
#include "backends/distributions.h"
#include "backends/elementwise.h"

namespace norma {
namespace {

template <class T>
struct Uniform {
  T low, high, last;
  __device__ T operator()(const RandomBits& bits) const { return uniform<T>(bits, low, high, last); }
};

template <class T>
struct Normal {
  double mean, deviation;
  __device__ T operator()(const RandomBits& bits) const {
    return static_cast<T>(normal(bits, mean, deviation));
  }
};

template <class T>
struct Truncated {
  TruncatedNormal draw;
  __device__ T operator()(const RandomBits& bits) const { return static_cast<T>(draw(bits)); }
};

template <class T, class Draw>
__global__ void draw_elements(std::int64_t count, MovingKey key, Draw draw, T* y) {
  const std::int64_t i = flat_index();
  if (i < count) y[i] = draw(random_bits(key.now(), i));
}

template <class T>
__global__ void draw_mask(std::int64_t count, MovingKey key, std::uint64_t threshold, T* y) {
  const std::int64_t i = flat_index();
  if (i < count) y[i] = convert<T>(bernoulli(key.now(), i, threshold));
}

/// Of the 32 elements of a warp the mask is one word of kept.
template <class T>
__global__ void drop_elements(std::int64_t count, MovingKey key, std::uint64_t threshold, T scale, T* y,
                              unsigned* kept, const T* x) {
  const std::int64_t i = flat_index();
  const bool keeps = i < count && bernoulli(key.now(), i, threshold);
  const unsigned of_warp = __ballot_sync(~0u, keeps);
  if (i >= count) return;
  if (i % 32 == 0) kept[i / 32] = of_warp;
  y[i] = x[i] * (keeps ? scale : T(0));
}

template <class T>
__global__ void drop_gradients(std::int64_t count, T scale, T* dx, const T* dy, const unsigned* kept) {
  const std::int64_t i = flat_index();
  if (i < count) dx[i] = dy[i] * ((kept[i / 32] >> (i % 32) & 1) != 0 ? scale : T(0));
}

template <class T>
T scale_of(double p) {
  return p < 1 ? static_cast<T>(1 / (1 - p)) : T(0);
}

template <class T, class Draw>
void draw(cudaStream_t stream, const View& y, MovingKey key, const Draw& one) {
  const std::int64_t count = y.numel();
  if (count > 0) launch_flat(draw_elements<T, Draw>, count, stream, count, key, one, pointer<T>(y));
}

}  // namespace

void CudaBackend::random(Random distribution, View y, RandomKey key, double a, double b) {
  NORMA_ASSERT(y.is_contiguous());
  if (distribution == Random::bernoulli) {
    const std::int64_t count = y.numel();
    if (count == 0) return;
    return for_any(y.dtype, [&]<class T>() {
      launch_flat(draw_mask<T>, count, stream_, count, moving(key), bernoulli_threshold(a), pointer<T>(y));
    });
  }
  for_float(y.dtype, "random", [&]<class T>() {
    if (distribution == Random::uniform) {
      const T low = static_cast<T>(a), high = static_cast<T>(b);
      draw<T>(stream_, y, moving(key), Uniform<T>{low, high, last_below(high, low)});
    } else if (distribution == Random::normal) {
      draw<T>(stream_, y, moving(key), Normal<T>{a, b});
    } else {
      draw<T>(stream_, y, moving(key), Truncated<T>{TruncatedNormal(a, b)});
    }
  });
}

bool CudaBackend::dropout(View y, View kept, View x, RandomKey key, double p) {
  NORMA_ASSERT(y.is_contiguous() && x.is_contiguous());
  const std::int64_t count = y.numel();
  if (count == 0) return true;
  for_float(x.dtype, "dropout", [&]<class T>() {
    launch_flat(drop_elements<T>, count, stream_, count, moving(key), bernoulli_threshold(1 - p),
                scale_of<T>(p), pointer<T>(y), static_cast<unsigned*>(kept.data), pointer<T>(x));
  });
  return true;
}

bool CudaBackend::dropout_backward(View dx, View dy, View kept, double p) {
  NORMA_ASSERT(dx.is_contiguous() && dy.is_contiguous());
  const std::int64_t count = dx.numel();
  if (count == 0) return true;
  for_float(dx.dtype, "dropout", [&]<class T>() {
    launch_flat(drop_gradients<T>, count, stream_, count, scale_of<T>(p), pointer<T>(dx), pointer<T>(dy),
                static_cast<const unsigned*>(kept.data));
  });
  return true;
}

}  // namespace norma
