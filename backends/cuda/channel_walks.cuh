// Two walks over the channels of x [n, channels, inner], for sums and moments in two stages: blocks write
// parts, a warp for each channel combines them in order.
//   planes   long inner: a block takes a piece of a channel, which is a run of each sample;
//   columns  short inner: samples are rows of channels * inner columns. A block takes 32 columns of a band of
//            rows, its threads (32, 8): neighbours read neighbours.
// The cuts depend on the shape only.
#pragma once

#include "backends/cuda/rows.cuh"
#include "backends/cuda/scratch.h"

namespace norma {

inline constexpr int column_threads = 32, row_threads = 8, plane_threads = 256;

/// Where part p of channel c lies: `fold` samples side by side make a row of `width` columns.
struct PartPlaces {
  std::int64_t parts, inner, fold, period, width;

  __device__ std::int64_t at(std::int64_t c, std::int64_t p) const {
    const std::int64_t row = quotient(p, inner), band = quotient(row, fold);
    return band * width + (row - band * fold) * period + c * inner + (p - row * inner);
  }
};

/// Columns: a few channels share a row with those of other samples, so that all lanes have work.
struct ColumnWalk {
  Channels x;
  std::int64_t period, fold, width, rows, height, bands, tiles;

  ColumnWalk(const Channels& x_, bool masked)
      : x(x_), period(std::max<std::int64_t>(1, x_.channels * x_.inner)) {
    fold = masked ? 1 : std::clamp<std::int64_t>(column_threads / period, 1, std::max<std::int64_t>(1, x.n));
    width = fold * period;
    rows = (x.numel() + width - 1) / width;
    tiles = (width + column_threads - 1) / column_threads;
    height = 256;
    while (height > 32 && (rows + height - 1) / height * tiles < 512)
      height /= 2;  // blocks for all of the device
    bands = (rows + height - 1) / height;
  }
  PartPlaces places() const { return {bands * fold * x.inner, x.inner, fold, period, width}; }
  std::int64_t parts() const { return bands * width; }
};

/// Planes: the n * inner values of a channel in pieces of `size`.
struct PlaneWalk {
  Channels x;
  std::int64_t size, pieces;

  explicit PlaneWalk(const Channels& x_) : x(x_), size(8192), pieces((x_.count() + size - 1) / size) {}
  PartPlaces places() const { return {pieces, 1, 1, x.channels, x.channels}; }
  std::int64_t parts() const { return pieces * x.channels; }
};

/// The calling thread's share of a block of a column walk: one column, every eighth row.
struct ColumnShare {
  std::int64_t band, column, channel, first_row, last_row;

  __device__ explicit ColumnShare(const ColumnWalk& walk) {
    const std::int64_t block = blockIdx.x;
    band = quotient(block, walk.tiles);
    column = (block - band * walk.tiles) * column_threads + threadIdx.x;
    channel = quotient(column % walk.period, walk.x.inner);
    first_row = band * walk.height + threadIdx.y;
    last_row = column < walk.width ? min(walk.rows, (band + 1) * walk.height) : 0;
  }
  /// Calls body(element, sample) for the values that count.
  template <class Body>
  __device__ void visit(const ColumnWalk& walk, const bool* mask, Body&& body) const {
    const std::int64_t numel = walk.x.numel(), f = quotient(column, walk.period);
#pragma unroll 4
    for (std::int64_t r = first_row; r < last_row; r += row_threads) {
      const std::int64_t element = r * walk.width + column;
      if (element < numel && (mask == nullptr || mask[r])) body(element, r * walk.fold + f);
    }
  }
  /// Sums over the threads of the block that share the column.
  __device__ static void sum(double& a, double& b) {
    __shared__ double shared[2][row_threads][column_threads];
    __syncthreads();
    shared[0][threadIdx.y][threadIdx.x] = a, shared[1][threadIdx.y][threadIdx.x] = b;
    __syncthreads();
    a = 0, b = 0;
#pragma unroll
    for (int y = 0; y < row_threads; ++y) a += shared[0][y][threadIdx.x], b += shared[1][y][threadIdx.x];
  }
  __device__ bool writes(const ColumnWalk& walk) const { return threadIdx.y == 0 && column < walk.width; }
  __device__ std::int64_t part(const ColumnWalk& walk) const { return band * walk.width + column; }
};

/// The same for planes: a piece of one channel, in packs of Width that do not cross samples.
template <int Width>
struct PlaneShare {
  std::int64_t piece, channel, first, last;

  __device__ explicit PlaneShare(const PlaneWalk& walk) {
    const std::int64_t block = blockIdx.x;
    channel = quotient(block, walk.pieces);
    piece = block - channel * walk.pieces;
    first = piece * walk.size + threadIdx.x * Width;
    last = min(walk.x.count(), (piece + 1) * walk.size);
  }
  /// Calls body(element of the pack's first value, sample, place in the mask) for the packs.
  template <class Body>
  __device__ void visit(const PlaneWalk& walk, Body&& body) const {
#pragma unroll 2
    for (std::int64_t e = first; e < last; e += plane_threads * Width) {
      const std::int64_t sample = quotient(e, walk.x.inner);
      body(e + (sample * (walk.x.channels - 1) + channel) * walk.x.inner, sample, e);
    }
  }
  __device__ static void sum(double& a, double& b) { block_sum<plane_threads>(a, b); }
  __device__ static bool writes(const PlaneWalk&) { return threadIdx.x == 0; }
  __device__ std::int64_t part(const PlaneWalk& walk) const { return piece * walk.x.channels + channel; }
};

/// A sum in T of a few terms at a time, in f64 between them.
template <class T>
class Accumulator {
 public:
  __device__ void add(T term) {
    if constexpr (sizeof(T) == 8) {
      total_ += term;
    } else {
      partial_ += term;
      if (++held_ == 8) flush();
    }
  }
  __device__ double total() {
    flush();
    return total_;
  }

 private:
  __device__ void flush() {
    total_ += static_cast<double>(partial_);
    partial_ = 0, held_ = 0;
  }
  double total_ = 0;
  T partial_ = 0;
  int held_ = 0;
};

/// A warp for each channel: combines its parts and calls finish(channel, total).
template <class Part, class Finish>
__global__ void combine_channels(std::int64_t channels, PartPlaces places, const Part* parts, Finish finish) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * 4 + threadIdx.y;
  if (c >= channels) return;
  Part total;
  for (std::int64_t p = threadIdx.x; p < places.parts; p += 32) total.add(parts[places.at(c, p)]);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    Part other;
    if constexpr (requires { total.squares; }) {
      other.count = __shfl_down_sync(0xffffffffu, total.count, step);
      other.mean = __shfl_down_sync(0xffffffffu, total.mean, step);
      other.squares = __shfl_down_sync(0xffffffffu, total.squares, step);
    } else {
      other.count = __shfl_down_sync(0xffffffffu, total.count, step);
      other.dy = __shfl_down_sync(0xffffffffu, total.dy, step);
      other.dy_x_hat = __shfl_down_sync(0xffffffffu, total.dy_x_hat, step);
    }
    if (threadIdx.x < static_cast<unsigned>(step)) total.add(other);
  }
  if (threadIdx.x == 0) finish(c, total);
}

template <class Part, class Finish>
void launch_combine(cudaStream_t stream, std::int64_t channels, const PartPlaces& places, const Part* parts,
                    const Finish& finish) {
  launch(combine_channels<Part, Finish>, dim3(static_cast<unsigned>((channels + 3) / 4)), dim3(32, 4), 0,
         stream, channels, places, parts, finish);
}

}  // namespace norma
