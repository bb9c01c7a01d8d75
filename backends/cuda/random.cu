// random: element i of a contiguous view from block i of the key, or word i (bernoulli). dropout: y = x *
// mask / (1 - p). Formulas in backends/distributions.h, the same as on the CPU, so the same masks.
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
struct TruncatedNormal {
  double low, high;
  __device__ T operator()(const RandomBits& bits) const {
    return static_cast<T>(truncated_normal(bits, low, high));
  }
};

template <class T, class Draw>
__global__ void draw_elements(std::int64_t count, MovingKey key, Draw draw, T* y) {
  const std::int64_t i = flat_index();
  if (i < count) y[i] = draw(random_bits(key.now(), i));
}

template <class T>
__global__ void draw_mask(std::int64_t count, MovingKey key, std::uint64_t threshold, T* y) {
  const std::int64_t i = flat_index();
  if (i < count) y[i] = convert<T>(bernoulli(random_word(key.now(), i), threshold));
}

template <class T>
__global__ void drop_elements(std::int64_t count, MovingKey key, std::uint64_t threshold, T scale, T* y,
                              const T* x) {
  const std::int64_t i = flat_index();
  if (i < count) y[i] = x[i] * (bernoulli(random_word(key.now(), i), threshold) ? scale : T(0));
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
      draw<T>(stream_, y, moving(key), TruncatedNormal<T>{a, b});
    }
  });
}

bool CudaBackend::dropout(View y, View x, RandomKey key, double p) {
  NORMA_ASSERT(y.is_contiguous() && x.is_contiguous());
  const std::int64_t count = y.numel();
  if (count == 0) return true;
  for_float(x.dtype, "dropout", [&]<class T>() {
    const T scale = p < 1 ? static_cast<T>(1 / (1 - p)) : T(0);
    launch_flat(drop_elements<T>, count, stream_, count, moving(key), bernoulli_threshold(1 - p), scale,
                pointer<T>(y), pointer<T>(x));
  });
  return true;
}

}  // namespace norma
