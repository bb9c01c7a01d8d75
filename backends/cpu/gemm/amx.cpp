// The tile unit of bf16_kernels.h: AMX. The tile of an instruction is part of its text, so these are written
// as such, with `memory` clobbered: loads and stores stay in order with what packs and reads the tiles.
#include "backends/cpu/gemm/bf16_kernels.h"

#if defined(__x86_64__) && defined(__linux__)
#  include <cpuid.h>
#  include <sys/syscall.h>
#  include <unistd.h>

#  include <algorithm>

#  include "backends/cpu/gemm/avx512_bf16.h"

#  define TILE_TARGET __attribute__((target("amx-tile,amx-bf16")))

namespace norma {
namespace {

struct Tiles {
  template <int t>
  TILE_TARGET static void zero() {
    asm volatile("tilezero %%tmm%c[tile]" ::[tile] "i"(t));
  }
  template <int t>
  TILE_TARGET static void load(const void* x, std::int64_t bytes) {
    asm volatile("tileloadd (%[x],%[bytes],1), %%tmm%c[tile]" ::[x] "r"(x), [bytes] "r"(bytes), [tile] "i"(t)
                 : "memory");
  }
  template <int t>
  TILE_TARGET static void store(void* x, std::int64_t bytes) {
    asm volatile("tilestored %%tmm%c[tile], (%[x],%[bytes],1)" ::[x] "r"(x), [bytes] "r"(bytes), [tile] "i"(t)
                 : "memory");
  }
  template <int c, int a, int b>
  TILE_TARGET static void multiply() {
    asm volatile("tdpbf16ps %%tmm%c[b], %%tmm%c[a], %%tmm%c[c]" ::[c] "i"(c), [a] "i"(a), [b] "i"(b));
  }
};

/// Eight tiles of 16 rows of 64 bytes: what LDTILECFG reads.
struct alignas(64) Configuration {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

TILE_TARGET void begin() {
  static const Configuration configuration;
  asm volatile("ldtilecfg %[x]" ::[x] "m"(configuration) : "memory");
}
/// Empty tiles need not be saved when the system switches threads.
TILE_TARGET void end() { asm volatile("tilerelease" ::: "memory"); }

bool ask() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const auto bit = [](unsigned word, int at) { return (word >> at & 1) != 0; };
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if (!bit(d, 22) || !bit(d, 24)) return false;                                   // AMX-BF16, AMX-TILE
  if (!bit(b, 16) || !bit(b, 17) || !bit(b, 30) || !bit(b, 31)) return false;     // AVX-512 F, DQ, BW, VL
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0 || !bit(a, 5)) return false;   // AVX512_BF16
  if (__get_cpuid_count(1, 0, &a, &b, &c, &d) == 0 || !bit(c, 27)) return false;  // OSXSAVE
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned saved = 0x600e6;  // by the system: SSE, AVX, AVX-512, tile configuration, tile data
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM
  return (low & saved) == saved && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

}  // namespace
}  // namespace norma

#  include "backends/cpu/gemm/bf16_block.h"

namespace norma {

const Bf16Kernels amx_bf16 = {
    begin,
    end,
    {block<1>, block<2>, block<3>},
    {avx512_bf16_pack<1>, avx512_bf16_pack<2>, avx512_bf16_pack<3>},
    {.group_panels = 1024, .slab_values = 1 << 21, .least_shared = 1 << 19, .cycles = 2}};

bool has_amx() {
  static const bool answer = ask();
  return answer;
}

}  // namespace norma
#else
namespace norma {
bool has_amx() { return false; }
}  // namespace norma
#endif
