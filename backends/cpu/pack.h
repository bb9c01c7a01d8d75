// Neighbouring values in one vector register, as a vector of GCC and clang.
#pragma once

#include <cstdint>

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
using Pack = VectorOf<T, register_bytes / static_cast<int>(sizeof(T))>;

}  // namespace norma
