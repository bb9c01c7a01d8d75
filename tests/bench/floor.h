// What a row of `make bench` could take at best on this machine, and the share of it that is reached.
//
//   void softmax_op(benchmark::State& state) {
//     measure(state, moving(3 * 4 * numel), [&] { ... });
//   }
//
// Counters of a row: `floor`, the time that its least traffic or arithmetic takes at the rates measured in
// this very run; `of_floor`, floor / time; `new`, calls of operator new in a run; `system`, how often a run
// asked the system for memory of arrays.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>

namespace norma::bench {

/// A bound from below, in seconds.
struct Floor {
  double seconds = 0;
  friend Floor operator+(Floor a, Floor b) { return {a.seconds + b.seconds}; }  // one after the other
};

/// Reading and writing this many bytes, as fast as copies go whose two arrays together have as many (at most
/// 256 MiB).
Floor moving(std::int64_t bytes);
/// This many f32 additions and multiplications, two to an FMA of the widest vectors that the build may use.
Floor computing(double operations);

/// Measured once each: bytes read and written a second, and operations a second, on num_threads() threads.
double copy_rate(std::int64_t bytes);
double peak_rate();

/// Calls of operator new by this thread so far.
std::int64_t allocations();

/// Times `body`, after one call that is not counted.
void measure(benchmark::State& state, Floor floor, const std::function<void()>& body);

}  // namespace norma::bench
