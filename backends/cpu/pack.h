// Neighbouring values in one vector register, as a vector of GCC and clang, and how they are read and
// written.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#ifdef __SSE2__
#  include <immintrin.h>
#endif

namespace norma {

#if defined(__AVX512F__)
inline constexpr int register_bytes = 64;
#elif defined(__AVX__)
inline constexpr int register_bytes = 32;
#else
inline constexpr int register_bytes = 16;
#endif

template <class T, int n>
using VectorOf __attribute__((vector_size(n * sizeof(T)))) = T;

template <class T>
inline constexpr std::int64_t pack_lanes = register_bytes / static_cast<int>(sizeof(T));
template <class T>
using Pack = std::type_identity_t<VectorOf<T, register_bytes / static_cast<int>(sizeof(T))>>;

/// a becomes a0 b0 a1 b1 .., b what follows.
template <class T>
[[gnu::always_inline]] inline void interleave(Pack<T>& a, Pack<T>& b) {
  constexpr int n = pack_lanes<T>;
  [&]<int... i>(std::integer_sequence<int, i...>) {
    const Pack<T> first = __builtin_shufflevector(a, b, (i / 2 + i % 2 * n)...);
    b = __builtin_shufflevector(a, b, (n / 2 + i / 2 + i % 2 * n)...);
    a = first;
  }
  (std::make_integer_sequence<int, n>());
}

// How a body reads and writes what lies at a column: one element, a pack, or the pack at the end of a row, of
// which only the first lanes exist. only(v) is v with zeros in the others, as load gives; load(x, pack) gives
// those of the pack.
struct AtElement {
  template <class T>
  T load(const T* x) const {
    return *x;
  }
  template <class T>
  void store(T* x, T value) const {
    *x = value;
  }
};

template <class T>
struct AtPack {
  [[gnu::always_inline]] Pack<T> load(const T* x) const {
    Pack<T> pack;
    std::memcpy(&pack, x, sizeof(pack));
    return pack;
  }
  [[gnu::always_inline]] Pack<T> load(const T* x, Pack<T>) const { return load(x); }
  [[gnu::always_inline]] void store(T* x, Pack<T> pack) const { std::memcpy(x, &pack, sizeof(pack)); }
  [[gnu::always_inline]] Pack<T> only(Pack<T> pack) const { return pack; }
};

/// Only where there are masked loads may a row end within a vector register.
#ifdef __AVX2__
inline constexpr bool has_last_packs = true;
#else
inline constexpr bool has_last_packs = false;
#endif

#if defined(__AVX512F__)
class AtLastPack {
 public:
  explicit AtLastPack(std::int64_t count) : exists_(static_cast<std::uint16_t>((1u << count) - 1)) {}

  [[gnu::always_inline]] Pack<float> load(const float* x) const { return _mm512_maskz_loadu_ps(exists_, x); }
  [[gnu::always_inline]] Pack<double> load(const double* x) const {
    return _mm512_maskz_loadu_pd(static_cast<std::uint8_t>(exists_), x);
  }
  [[gnu::always_inline]] Pack<float> load(const float* x, Pack<float> others) const {
    return _mm512_mask_loadu_ps(others, exists_, x);
  }
  [[gnu::always_inline]] Pack<double> load(const double* x, Pack<double> others) const {
    return _mm512_mask_loadu_pd(others, static_cast<std::uint8_t>(exists_), x);
  }
  template <class T>
  requires std::is_integral_v<T>
  [[gnu::always_inline]] Pack<T> load(const T* x, Pack<T> others) const {
    return reinterpret_cast<Pack<T>>(
        _mm512_mask_loadu_epi64(reinterpret_cast<__m512i>(others), static_cast<std::uint8_t>(exists_), x));
  }
  [[gnu::always_inline]] void store(float* x, Pack<float> pack) const {
    _mm512_mask_storeu_ps(x, exists_, pack);
  }
  [[gnu::always_inline]] void store(double* x, Pack<double> pack) const {
    _mm512_mask_storeu_pd(x, static_cast<std::uint8_t>(exists_), pack);
  }
  [[gnu::always_inline]] Pack<float> only(Pack<float> pack) const {
    return _mm512_maskz_mov_ps(exists_, pack);
  }
  [[gnu::always_inline]] Pack<double> only(Pack<double> pack) const {
    return _mm512_maskz_mov_pd(static_cast<std::uint8_t>(exists_), pack);
  }

 private:
  std::uint16_t exists_;  // a bit for each lane
};
#elif defined(__AVX2__)
class AtLastPack {
 public:
  explicit AtLastPack(std::int64_t count)
      : count_(count),
        of_4_bytes_(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                                       _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))),
        of_8_bytes_(_mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3))) {}

  [[gnu::always_inline]] Pack<float> load(const float* x) const { return _mm256_maskload_ps(x, of_4_bytes_); }
  [[gnu::always_inline]] Pack<double> load(const double* x) const {
    return _mm256_maskload_pd(x, of_8_bytes_);
  }
  [[gnu::always_inline]] Pack<float> load(const float* x, Pack<float> others) const {
    return _mm256_blendv_ps(others, load(x), _mm256_castsi256_ps(of_4_bytes_));
  }
  [[gnu::always_inline]] Pack<double> load(const double* x, Pack<double> others) const {
    return _mm256_blendv_pd(others, load(x), _mm256_castsi256_pd(of_8_bytes_));
  }
  template <class T>
  requires std::is_integral_v<T>
  [[gnu::always_inline]] Pack<T> load(const T* x, Pack<T> others) const {
    static_assert(sizeof(T) == 8);
    const __m256i loaded = _mm256_maskload_epi64(reinterpret_cast<const long long*>(x), of_8_bytes_);
    return reinterpret_cast<Pack<T>>(
        _mm256_blendv_epi8(reinterpret_cast<__m256i>(others), loaded, of_8_bytes_));
  }
  template <class T>
  [[gnu::always_inline]] void store(T* x, Pack<T> pack) const {
    store_first<T, pack_lanes<T>>(x, pack);
  }
  [[gnu::always_inline]] Pack<float> only(Pack<float> pack) const {
    return _mm256_and_ps(pack, _mm256_castsi256_ps(of_4_bytes_));
  }
  [[gnu::always_inline]] Pack<double> only(Pack<double> pack) const {
    return _mm256_and_pd(pack, _mm256_castsi256_pd(of_8_bytes_));
  }

 private:
  /// Piece by piece: a masked store takes far longer on some processors.
  template <class T, int n>
  [[gnu::always_inline]] void store_first(T* x, VectorOf<T, n> values) const {
    if constexpr (n == 2) {
      if ((count_ & 1) != 0) *x = values[0];
    } else {
      [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
        VectorOf<T, n / 2> rest = __builtin_shufflevector(values, values, i...);
        if ((count_ & n / 2) != 0) {
          std::memcpy(x, &rest, sizeof rest);
          x += n / 2;
          rest = __builtin_shufflevector(values, values, (i + n / 2)...);
        }
        store_first<T, n / 2>(x, rest);
      }
      (std::make_integer_sequence<int, n / 2>());
    }
  }

  std::int64_t count_;
  __m256i of_4_bytes_, of_8_bytes_;  // all bits set in lanes that exist
};
#endif

}  // namespace norma
