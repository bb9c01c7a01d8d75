// Memory of the cpu backend: aligned blocks, large ones on huge pages where the system offers them (a page
// fault costs about 1 us per 4 KiB page, more than the arithmetic on it).
#include <cstdlib>
#include <cstring>

#include "backends/cpu/blas.h"
#include "backends/cpu/cpu_backend.h"

#ifdef __linux__
#  include <sys/mman.h>
#endif

namespace norma {

namespace {

constexpr std::int64_t cache_line = 64;              // bytes
constexpr std::int64_t huge_page = 2 * 1024 * 1024;  // bytes

}  // namespace

void* CpuBackend::allocate(std::int64_t bytes) {
  const std::int64_t alignment = bytes >= 2 * huge_page ? huge_page : cache_line;
  if (bytes < 0 || bytes > INT64_MAX - alignment) return nullptr;
  const std::int64_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(static_cast<std::size_t>(alignment),
                                  static_cast<std::size_t>(rounded == 0 ? alignment : rounded));
#ifdef __linux__
  if (data != nullptr && alignment == huge_page) {
    (void)madvise(data, static_cast<std::size_t>(rounded), MADV_HUGEPAGE);  // a hint; refusal changes nothing
  }
#endif
  return data;
}

void CpuBackend::release(void* data, std::int64_t /*bytes*/) { std::free(data); }

void CpuBackend::upload(void* device_data, const void* host, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(device_data, host, static_cast<std::size_t>(bytes));
}

void CpuBackend::download(void* host, const void* device_data, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(host, device_data, static_cast<std::size_t>(bytes));
}

Backend* make_cpu_backend() {
  check_blas();
  return new CpuBackend;
}

}  // namespace norma
