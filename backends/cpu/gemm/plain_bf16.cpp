// The tile unit and the packing of bf16_kernels.h in plain code.
#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "backends/cpu/gemm/bf16_kernels.h"

#define TILE_TARGET

namespace norma {
namespace {

float flushed(float x) { return std::abs(x) < FLT_MIN ? std::copysign(0.0f, x) : x; }
float to_float(Bf16 x) { return flushed(std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16)); }

/// Rounded to nearest, ties to even; subnormals become zero, NaN stays NaN (VCVTNEPS2BF16).
Bf16 to_bf16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(flushed(x));
  if (std::isnan(x)) return static_cast<Bf16>(bits >> 16 | 0x40);
  return static_cast<Bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// x as a sum of bf16 numbers. All but the last are at most the largest finite one, so that what is left of
/// infinity is infinity, where infinity - infinity would be NaN.
template <int parts>
void split(float x, Bf16* part) {
  constexpr float largest = 0x1.fep127f;
  for (int i = 0; i + 1 < parts; ++i) {
    part[i] = to_bf16(std::isnan(x) ? x : std::clamp(x, -largest, largest));
    x -= std::bit_cast<float>(static_cast<std::uint32_t>(part[i]) << 16);
  }
  part[parts - 1] = to_bf16(x);
}

template <int parts>
void pack_panel(const Bf16Panels& g, std::int64_t panel) {
  const std::int64_t begin = panel * bf16_panel, count = std::min<std::int64_t>(bf16_panel, g.count - begin);
  const std::int64_t tiles = count > 16 ? 2 : 1;
  for (std::int64_t first = 0; first < g.k; first += 32) {
    Bf16* const step = g.packed + panel * g.panel_values + first / 32 * parts * tiles * bf16_tile;
    for (std::int64_t o = 0; o < tiles * 16; ++o) {
      for (std::int64_t p = 0; p < 32; ++p) {
        const std::int64_t at = first + p, outer = begin + o;
        float x = 0;
        if (o < count && at < g.k)
          x = g.steps_adjoin ? g.x[outer * g.leading + at] : g.x[at * g.leading + outer];
        Bf16 part[parts];
        split<parts>(x, part);
        const std::int64_t row = o % 16, place = g.pairs ? p / 2 * 32 + row * 2 + p % 2 : row * 32 + p;
        for (int i = 0; i < parts; ++i) step[(i * tiles + o / 16) * bf16_tile + place] = part[i];
      }
    }
  }
}

template <int parts>
void pack(const Bf16Panels& g) {
  for (std::int64_t panel = 0; panel * bf16_panel < g.count; ++panel) pack_panel<parts>(g, panel);
}

struct Tiles {
  inline static thread_local std::uint32_t tile[8][16][16];  // rows of 64 bytes

  template <int t>
  static void zero() {
    std::memset(tile[t], 0, sizeof tile[t]);
  }
  template <int t>
  static void load(const void* x, std::int64_t bytes) {
    for (int i = 0; i < 16; ++i) std::memcpy(tile[t][i], static_cast<const char*>(x) + i * bytes, 64);
  }
  template <int t>
  static void store(void* x, std::int64_t bytes) {
    for (int i = 0; i < 16; ++i) std::memcpy(static_cast<char*>(x) + i * bytes, tile[t][i], 64);
  }
  /// TDPBF16PS: even and odd steps are added up apart, subnormals are zero.
  template <int c, int a, int b>
  static void multiply() {
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 16; ++j) {
        float even = 0, odd = 0;
        for (int p = 0; p < 16; ++p) {
          const std::uint32_t x = tile[a][i][p], y = tile[b][p][j];
          even = flushed(std::fma(to_float(static_cast<Bf16>(x)), to_float(static_cast<Bf16>(y)), even));
          odd = flushed(
              std::fma(to_float(static_cast<Bf16>(x >> 16)), to_float(static_cast<Bf16>(y >> 16)), odd));
        }
        const float sum = flushed(even + odd), before = flushed(std::bit_cast<float>(tile[c][i][j]));
        tile[c][i][j] = std::bit_cast<std::uint32_t>(flushed(before + sum));
      }
    }
  }
};

}  // namespace
}  // namespace norma

#include "backends/cpu/gemm/bf16_block.h"

namespace norma {
// Small, so that small products have several groups and slabs, and shared ones.
const Bf16Kernels plain_bf16 = {
    [] {},
    [] {},
    {block<1>, block<2>, block<3>},
    {pack<1>, pack<2>, pack<3>},
    {.group_panels = 2, .slab_values = 1 << 14, .least_shared = 1 << 10, .cycles = 2}};
}  // namespace norma
