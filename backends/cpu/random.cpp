// random: element i of a contiguous view from block i of the key, or word i (bernoulli). dropout: y = x *
// mask / (1 - p). Formulas in backends/distributions.h.
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
  const std::uint64_t threshold = bernoulli_threshold(p);
  for_each_words(y_view.numel(), key, [=](std::int64_t begin, std::int64_t n, const std::uint32_t* words) {
    for (std::int64_t k = 0; k < n; ++k) y[begin + k] = convert<T>(bernoulli(words[k], threshold));
  });
}

template <class T>
void drop(const View& y_view, const View& x_view, RandomKey key, double p) {
  NORMA_ASSERT(y_view.is_contiguous() && x_view.is_contiguous());
  T* y = pointer<T>(y_view);
  const T* x = pointer<T>(x_view);
  const std::uint64_t threshold = bernoulli_threshold(1 - p);
  const T scale = p < 1 ? static_cast<T>(1 / (1 - p)) : T(0);
  for_each_words(y_view.numel(), key, [=](std::int64_t begin, std::int64_t n, const std::uint32_t* words) {
    const T kept = scale;  // a local: y might overlap with what the lambda holds
    for (std::int64_t k = 0; k < n; ++k) {
      y[begin + k] = x[begin + k] * (bernoulli(words[k], threshold) ? kept : T(0));
    }
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
      draw<T>(y, key, [=](const RandomBits& bits) { return static_cast<T>(truncated_normal(bits, a, b)); });
    }
  });
}

bool CpuBackend::dropout(View y, View x, RandomKey key, double p) {
  for_float(x.dtype, "dropout", [&]<class T>() { drop<T>(y, x, key, p); });
  return true;
}

}  // namespace norma
