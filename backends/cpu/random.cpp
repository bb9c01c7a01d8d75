// random: element i of a contiguous view from block i of the key, or 16 bits of two (bernoulli). dropout: y =
// x * mask / (1 - p). Formulas in backends/distributions.h.
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/random_words.h"
#include "backends/distributions.h"
#include "backends/elementwise.h"
#include "backends/strided.h"

namespace norma {

namespace {

// A few blocks of random bits at a time, so that both they and the numbers made of them are vectors.
template <class T, class Draw>
void draw(const View& y_view, RandomKey key, Draw&& one) {
  T* y = pointer<T>(y_view);
  parallel_for(y_view.numel(), block_elements, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) std::uint32_t words[word_lanes];
    alignas(64) T drawn[block_lanes];
    for (; begin < end; begin += block_lanes) {
      random_words(key, begin, words);
      for (int l = 0; l < block_lanes; ++l) {
        drawn[l] = one({words[4 * l], words[4 * l + 1], words[4 * l + 2], words[4 * l + 3]});
      }
      std::copy_n(drawn, std::min<std::int64_t>(block_lanes, end - begin), y + begin);
    }
  });
}

template <class T>
void draw_mask(const View& y_view, RandomKey key, double p) {
  T* y = pointer<T>(y_view);
  for_each_mask(y_view.numel(), key, p, [=](std::int64_t begin, std::int64_t n, const std::uint8_t* kept) {
    for (std::int64_t k = 0; k < n; ++k) y[begin + k] = convert<T>(kept[k] != 0);
  });
}

template <class T>
T scale_of(double p) {
  return p < 1 ? static_cast<T>(1 / (1 - p)) : T(0);
}

/// Eight bytes, 0 or 1, become the bits of one, the first the lowest: the product has byte j's at 56 + j.
inline std::uint8_t packed_bits(const std::uint8_t* bytes) {
  std::uint64_t eight;
  std::memcpy(&eight, bytes, 8);
  return static_cast<std::uint8_t>(eight * 0x0102040810204080u >> 56);
}

template <class T>
void drop(std::int64_t count, T* y, std::uint8_t* bits, const T* x, RandomKey key, double p) {
  for_each_mask(count, key, 1 - p, [=](std::int64_t begin, std::int64_t n, const std::uint8_t* kept) {
    const T scale = scale_of<T>(p);  // a local: y might overlap with what the lambda holds
    T* const to = y + begin;
    const T* const from = x + begin;
    const auto some = [=](std::int64_t count_here) {
#pragma omp simd
      for (std::int64_t k = 0; k < count_here; ++k) to[k] = from[k] * (kept[k] != 0 ? scale : T(0));
      for (std::int64_t k = 0; k < count_here; k += 8) bits[(begin + k) / 8] = packed_bits(kept + k);
    };
    if (n == mask_lanes) return some(mask_lanes);  // a constant: straight vectors
    some(n);
  });
}

template <class T>
void drop_gradients(std::int64_t count, T* dx, const T* dy, const std::uint8_t* bits, double p) {
  parallel_for(count, block_elements, [=](std::int64_t begin, std::int64_t end) {
    const T scale = scale_of<T>(p);
    const auto eight = [=](int n, T* to, const T* from, int byte) {
#pragma omp simd
      for (int k = 0; k < n; ++k) to[k] = from[k] * ((byte >> k & 1) != 0 ? scale : T(0));
    };
    std::int64_t i = begin;
    for (; i + 8 <= end; i += 8) eight(8, dx + i, dy + i, bits[i / 8]);
    if (i < end) eight(static_cast<int>(end - i), dx + i, dy + i, bits[i / 8]);
  });
}

}  // namespace

void CpuBackend::random(Random distribution, View y, RandomKey key, double a, double b) {
  NORMA_ASSERT(y.is_contiguous());
  if (distribution == Random::bernoulli) {
    return for_any(y.dtype, [&]<class T>() { draw_mask<T>(y, key, a); });
  }
  for_float(y.dtype, "random", [&]<class T>() {
    const T low = static_cast<T>(a), high = static_cast<T>(b);
    if (distribution == Random::uniform) {
      const T last = last_below(high, low);
      draw<T>(y, key, [=](const RandomBits& bits) { return uniform<T>(bits, low, high, last); });
    } else if (distribution == Random::normal) {
      draw<T>(y, key, [=](const RandomBits& bits) { return static_cast<T>(normal(bits, a, b)); });
    } else {
      const TruncatedNormal cut(a, b);
      draw<T>(y, key, [=](const RandomBits& bits) { return static_cast<T>(cut(bits)); });
    }
  });
}

bool CpuBackend::dropout(View y, View kept, View x, RandomKey key, double p) {
  NORMA_ASSERT(y.is_contiguous() && x.is_contiguous());
  for_float(x.dtype, "dropout", [&]<class T>() {
    drop<T>(y.numel(), pointer<T>(y), static_cast<std::uint8_t*>(kept.data), pointer<T>(x), key, p);
  });
  return true;
}

bool CpuBackend::dropout_backward(View dx, View dy, View kept, double p) {
  NORMA_ASSERT(dx.is_contiguous() && dy.is_contiguous());
  for_float(dx.dtype, "dropout", [&]<class T>() {
    drop_gradients<T>(dx.numel(), pointer<T>(dx), pointer<T>(dy), static_cast<const std::uint8_t*>(kept.data),
                      p);
  });
  return true;
}

}  // namespace norma
