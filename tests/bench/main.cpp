// Google Benchmark's main, which says first how fast this machine is; and operator new, counted.
#include <cstdio>
#include <cstdlib>
#include <new>

#include "core/parallel.h"
#include "tests/bench/core_distance.h"
#include "tests/bench/floor.h"

namespace {

thread_local std::int64_t calls = 0;

std::string rounded(double value, const char* unit) {
  char text[64];
  std::snprintf(text, sizeof text, "%.0f %s", value, unit);
  return text;
}

void describe_machine() {
  using namespace norma::bench;
  benchmark::AddCustomContext("threads", std::to_string(norma::num_threads()));
  benchmark::AddCustomContext("core to core", rounded(core_distance(), "ns"));
  benchmark::AddCustomContext("f32 FMA peak", rounded(peak_rate() / 1e9, "GFLOP/s"));
  for (const std::int64_t kib : {64, 1024, 8192, 65536, 262144}) {
    benchmark::AddCustomContext("copy, " + std::to_string(kib) + " KiB",
                                rounded(copy_rate(kib << 10) / 1e9, "GB/s"));
  }
}

}  // namespace

std::int64_t norma::bench::allocations() { return calls; }

void* operator new(std::size_t bytes) {
  ++calls;
  if (void* const data = std::malloc(bytes == 0 ? 1 : bytes)) return data;
  throw std::bad_alloc();
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t) noexcept { std::free(data); }

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  describe_machine();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
