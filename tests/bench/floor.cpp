#include "tests/bench/floor.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <map>
#include <vector>

#include "core/allocator.h"
#include "core/array.h"
#include "core/parallel.h"

namespace norma::bench {
namespace {

using Clock = std::chrono::steady_clock;

template <class F>
double seconds_of(F&& body) {
  const Clock::time_point start = Clock::now();
  body();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The shortest of the times within 30 ms, 9 at least: a rate that the machine can keep, free of other
/// guests.
template <class F>
double best_seconds(F&& body) {
  body();
  double best = 1e9, total = 0;
  for (int i = 0; i < 9 || total < 0.03; ++i) {
    const double seconds = seconds_of(body);
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
using Vector [[gnu::vector_size(vector_bytes)]] = float;
constexpr int chains = 12;  // in flight at once: latency 4, two units, and some to spare

// Returns something that depends on all of them, so that none is left out.
float fused_multiply_adds(std::int64_t rounds) {
  Vector sums[chains];
  for (int c = 0; c < chains; ++c) sums[c] = Vector{} + static_cast<float>(c);
  Vector a = Vector{} + 0.999F, b = Vector{} + 0.001F;
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) sums[c] = sums[c] * a + b;
  }
  Vector total = sums[0];
  for (int c = 1; c < chains; ++c) total += sums[c];
  return total[0];
}

double measured_peak() {
  constexpr std::int64_t rounds = 20'000;
  const int threads = num_threads();
  std::vector<float> results(static_cast<std::size_t>(threads) * 16);  // a cache line each
  const double seconds = best_seconds([&] {
    parallel_for(threads, 1, [&](std::int64_t begin, std::int64_t) {
      results[static_cast<std::size_t>(begin) * 16] = fused_multiply_adds(rounds);
    });
  });
  benchmark::DoNotOptimize(results.data());
  const auto operations = static_cast<double>(rounds) * 2 * chains * (vector_bytes / 4) * threads;
  return operations / seconds;
}

double measured_copy(std::int64_t bytes) {
  const std::int64_t half = bytes / 8;  // floats in each array
  const Array x = Array::ones(Shape{half}), y = Array::zeros(Shape{half});
  float* const to = y.data<float>();
  const float* const from = x.data<float>();
  const std::int64_t block = std::max<std::int64_t>(1024, (half + num_threads() - 1) / num_threads());
  const int repeats = static_cast<int>(std::max<std::int64_t>(1, (16 << 20) / bytes));  // 100 us or more
  const double seconds = best_seconds([&] {
    parallel_for(half, block, [=](std::int64_t begin, std::int64_t end) {
      for (int r = 0; r < repeats; ++r) {
        std::copy(from + begin, from + end, to + begin);
        benchmark::ClobberMemory();
      }
    });
  });
  return static_cast<double>(8 * half) * repeats / seconds;
}

}  // namespace

double peak_rate() {
  static const double rate = measured_peak();
  return rate;
}

double copy_rate(std::int64_t bytes) {
  static std::map<std::int64_t, double> rates;
  const auto size = static_cast<std::int64_t>(
      std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(bytes, 8 << 10, 256 << 20))));
  const auto [place, fresh] = rates.try_emplace(size);
  if (fresh) place->second = measured_copy(size);
  return place->second;
}

Floor moving(std::int64_t bytes) { return {static_cast<double>(bytes) / copy_rate(bytes)}; }
Floor computing(double operations) { return {operations / peak_rate()}; }

void measure(benchmark::State& state, Floor floor, const std::function<void()>& body) {
  body();
  const std::int64_t news = allocations(), system = memory_stats(cpu).system_allocations;
  const double seconds = seconds_of([&] {
    for (auto _ : state) body();
  });
  const auto runs = static_cast<double>(state.iterations());
  state.counters["floor"] = floor.seconds;
  state.counters["of_floor"] = floor.seconds * runs / seconds;
  state.counters["new"] = static_cast<double>(allocations() - news) / runs;
  state.counters["system"] = static_cast<double>(memory_stats(cpu).system_allocations - system) / runs;
}

}  // namespace norma::bench
