// dim3 and the short vectors of CUDA, with CUDA's alignments.
#pragma once

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// NAME2, NAME3 and NAME4 of T. Two are aligned as one of twice the size; four likewise, to 16 bytes at most.
#define NORMA_EMULATOR_VECTORS(name, T)                                 \
  struct alignas(2 * sizeof(T)) name##2 {                               \
    T x, y;                                                             \
  };                                                                    \
  struct name##3 {                                                      \
    T x, y, z;                                                          \
  };                                                                    \
  struct alignas(sizeof(T) == 8 ? 16 : 4 * sizeof(T)) name##4 {         \
    T x, y, z, w;                                                       \
  };                                                                    \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }         \
  constexpr name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
NORMA_EMULATOR_VECTORS(char, signed char)
NORMA_EMULATOR_VECTORS(uchar, unsigned char)
NORMA_EMULATOR_VECTORS(short, short)
NORMA_EMULATOR_VECTORS(ushort, unsigned short)
NORMA_EMULATOR_VECTORS(int, int)
NORMA_EMULATOR_VECTORS(uint, unsigned)
NORMA_EMULATOR_VECTORS(longlong, long long)
NORMA_EMULATOR_VECTORS(ulonglong, unsigned long long)
NORMA_EMULATOR_VECTORS(float, float)
NORMA_EMULATOR_VECTORS(double, double)
#undef NORMA_EMULATOR_VECTORS
