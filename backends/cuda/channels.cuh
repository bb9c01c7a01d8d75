// Sums and moments over the channels of x [n, channels, inner], in two stages: blocks write parts, a warp for
// each channel combines them in order. Two walks:
//   planes   long inner: a block takes a piece of a channel, which is a run of each sample;
//   columns  short inner: samples are rows of channels * inner columns. A block takes 32 columns of a band of
//            rows, its threads (32, 8): neighbours read neighbours.
// The cuts depend on the shape only.
#pragma once

#include "backends/cuda/rows.cuh"
#include "backends/cuda/scratch.h"

namespace norma {

inline constexpr int column_threads = 32, row_threads = 8, plane_threads = 256;

/// Sums over a channel, or a part of one: of dy, of dy * x_hat, and how many values there are.
struct ChannelSums {
  double dy = 0, dy_x_hat = 0, count = 0;

  __device__ void add(const ChannelSums& other) {
    dy += other.dy, dy_x_hat += other.dy_x_hat, count += other.count;
  }
};

/// Where part p of channel c lies: `fold` samples side by side make a row of `width` columns.
struct PartPlaces {
  std::int64_t parts, inner, fold, period, width;

  __device__ std::int64_t at(std::int64_t c, std::int64_t p) const {
    const std::int64_t each = fold * inner, band = p / each, f = p % each / inner;
    return band * width + f * period + c * inner + p % inner;
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

/// The moments of the values that visit passes on, over the threads that share them.
template <class T, class Share, class Visit>
__device__ Moments moments_of(double origin, Visit visit) {
  double sum = 0;
  int number = 0;  // of one thread
  visit([&](T value) { sum += mean_term(value, origin), ++number; });
  double count = number;
  Share::sum(sum, count);
  const double mean = count > 0 ? mean_from<T>(sum, count, origin) : 0;
  const Centre<T> centre(mean);
  Accumulator<T> in_t;
  visit([&](T value) { in_t.add(centre(value) * centre(value)); });
  double squares = in_t.total(), unused = 0;
  Share::sum(squares, unused);
  const bool is_safe = count == 0 || is_safe_square<T>(squares);
  if (__syncthreads_or(!is_safe)) {  // columns of a block differ, its barriers are for all
    double exact = 0;
    visit(
        [&](T value) { exact += (static_cast<double>(value) - mean) * (static_cast<double>(value) - mean); });
    Share::sum(exact, unused);
    if (!is_safe) squares = exact;
  }
  return {count, mean, squares};
}

template <class T>
__global__ void __launch_bounds__(column_threads* row_threads)
    column_moments(ColumnWalk walk, Moments* parts, const T* x, const bool* mask) {
  const ColumnShare share(walk);
  const std::int64_t start = share.band * walk.height * walk.width + share.column;
  const double origin = mask == nullptr && share.column < walk.width && start < walk.x.numel()
                            ? static_cast<double>(x[start])
                            : 0;
  const Moments moments = moments_of<T, ColumnShare>(origin, [&](auto use) {
    share.visit(walk, mask, [&](std::int64_t element, std::int64_t) { use(x[element]); });
  });
  if (share.writes(walk)) parts[share.part(walk)] = moments;
}

template <class T, int Width>
__global__ void __launch_bounds__(plane_threads)
    plane_moments(PlaneWalk walk, Moments* parts, const T* x, const bool* mask) {
  using Share = PlaneShare<Width>;
  const Share share(walk);
  const std::int64_t e = share.piece * walk.size, sample = quotient(e, walk.x.inner);
  const double origin =
      mask == nullptr
          ? static_cast<double>(x[e + (sample * (walk.x.channels - 1) + share.channel) * walk.x.inner])
          : 0;
  const Moments moments = moments_of<T, Share>(origin, [&](auto use) {
    share.visit(walk, [&](std::int64_t element, std::int64_t, std::int64_t place) {
      const auto pack = load<Width>(x + element);
#pragma unroll
      for (int k = 0; k < Width; ++k) {
        if (mask == nullptr || mask[place + k]) use(pack.values[k]);
      }
    });
  });
  if (share.writes(walk)) parts[share.part(walk)] = moments;
}

/// Calls finish(channel, Moments) on the device for every channel of x. mask: absent, or [n, inner].
template <class T, class Finish>
void launch_channel_moments(cudaStream_t stream, const Channels& shape, const T* x, const bool* mask,
                            const Finish& finish) {
  if (walks_columns(shape, mask != nullptr)) {
    const ColumnWalk walk(shape, mask != nullptr);
    const DeviceScratch<Moments> parts(walk.parts());
    if (walk.bands > 0) {
      launch(column_moments<T>, dim3(static_cast<unsigned>(walk.bands * walk.tiles)),
             dim3(column_threads, row_threads), 0, stream, walk, parts.data(), x, mask);
    }
    return launch_combine(stream, shape.channels, walk.places(), parts.data(), finish);
  }
  const PlaneWalk walk(shape);
  const DeviceScratch<Moments> parts(walk.parts());
  if (walk.pieces > 0) {
    const dim3 grid(static_cast<unsigned>(walk.parts()));
    constexpr int width = 16 / sizeof(T);
    if (walks_packs<T>(shape.inner, x)) {
      launch(plane_moments<T, width>, grid, dim3(plane_threads), 0, stream, walk, parts.data(), x, mask);
    } else {
      launch(plane_moments<T, 1>, grid, dim3(plane_threads), 0, stream, walk, parts.data(), x, mask);
    }
  }
  launch_combine(stream, shape.channels, walk.places(), parts.data(), finish);
}

/// What makes x_hat = (x - high - low) * rstd.
template <class T>
struct Normal {
  T high, low, rstd;

  __device__ static Normal of(double mean, double rstd) {
    const Centre<T> centre(mean);
    return {centre.high, centre.low, static_cast<T>(rstd)};
  }
  __device__ T x_hat(T x) const { return (sizeof(T) == 8 ? x - high : (x - high) - low) * rstd; }
};

template <class T>
__global__ void prepare_normals(std::int64_t count, Normal<T>* normals, const double* mean,
                                const double* rstd) {
  const std::int64_t i = flat_index();
  if (i < count) normals[i] = Normal<T>::of(mean == nullptr ? 0 : mean[i], rstd[i]);
}

/// The normals of x: channel c of sample i has number i * per_sample + c / channels_each.
template <class T>
struct Normals {
  const Normal<T>* at;
  std::int64_t per_sample, channels_each;
};

template <class T>
__global__ void __launch_bounds__(column_threads* row_threads)
    sum_columns(ColumnWalk walk, ChannelSums* parts, const T* dy, const T* x, const bool* mask,
                Normals<T> normals) {
  const ColumnShare share(walk);
  const Normal<T>* const normal = normals.at + quotient(share.channel, normals.channels_each);
  Accumulator<T> sum, product;
  int number = 0;
  share.visit(walk, mask, [&](std::int64_t element, std::int64_t sample) {
    const T slope = dy[element];
    sum.add(slope);
    product.add(slope * normal[sample * normals.per_sample].x_hat(x[element]));
    ++number;
  });
  double a = sum.total(), b = product.total(), count = number, unused = 0;
  ColumnShare::sum(a, b);
  ColumnShare::sum(count, unused);
  if (!share.writes(walk)) return;
  ChannelSums& part = parts[share.part(walk)];
  part.dy = a, part.dy_x_hat = b, part.count = count;
}

template <class T, int Width>
__global__ void __launch_bounds__(plane_threads)
    sum_planes(PlaneWalk walk, ChannelSums* parts, const T* dy, const T* x, const bool* mask,
               Normals<T> normals) {
  using Share = PlaneShare<Width>;
  const Share share(walk);
  const Normal<T>* const normal = normals.at + quotient(share.channel, normals.channels_each);
  Accumulator<T> sum, product;
  int number = 0;
  share.visit(walk, [&](std::int64_t element, std::int64_t sample, std::int64_t place) {
    const auto slopes = load<Width>(dy + element), pack = load<Width>(x + element);
    const Normal<T> of_sample = normal[sample * normals.per_sample];
    T a = 0, b = 0;
#pragma unroll
    for (int k = 0; k < Width; ++k) {
      if (mask != nullptr && !mask[place + k]) continue;
      a += slopes.values[k];
      b += slopes.values[k] * of_sample.x_hat(pack.values[k]);
      ++number;
    }
    sum.add(a), product.add(b);
  });
  double a = sum.total(), b = product.total(), count = number, unused = 0;
  Share::sum(a, b);
  Share::sum(count, unused);
  if (!share.writes(walk)) return;
  ChannelSums& part = parts[share.part(walk)];
  part.dy = a, part.dy_x_hat = b, part.count = count;
}

/// Calls finish(channel, ChannelSums) on the device for every channel of x.
template <class T, class Finish>
void launch_channel_sums(cudaStream_t stream, const Channels& shape, const T* dy, const T* x,
                         const bool* mask, const Normals<T>& normals, const Finish& finish) {
  if (walks_columns(shape, mask != nullptr)) {
    const ColumnWalk walk(shape, mask != nullptr);
    const DeviceScratch<ChannelSums> parts(walk.parts());
    if (walk.bands > 0) {
      launch(sum_columns<T>, dim3(static_cast<unsigned>(walk.bands * walk.tiles)),
             dim3(column_threads, row_threads), 0, stream, walk, parts.data(), dy, x, mask, normals);
    }
    return launch_combine(stream, shape.channels, walk.places(), parts.data(), finish);
  }
  const PlaneWalk walk(shape);
  const DeviceScratch<ChannelSums> parts(walk.parts());
  if (walk.pieces > 0) {
    const dim3 grid(static_cast<unsigned>(walk.parts()));
    constexpr int width = 16 / sizeof(T);
    if (walks_packs<T>(shape.inner, dy, x)) {
      launch(sum_planes<T, width>, grid, dim3(plane_threads), 0, stream, walk, parts.data(), dy, x, mask,
             normals);
    } else {
      launch(sum_planes<T, 1>, grid, dim3(plane_threads), 0, stream, walk, parts.data(), dy, x, mask,
             normals);
    }
  }
  launch_combine(stream, shape.channels, walk.places(), parts.data(), finish);
}

/// Writes the gradients of the parameters; either may be absent.
template <class T>
struct WriteParameters {
  T *dweight, *dbias;

  __device__ void operator()(std::int64_t c, const ChannelSums& total) const {
    if (dweight != nullptr) dweight[c] = static_cast<T>(total.dy_x_hat);
    if (dbias != nullptr) dbias[c] = static_cast<T>(total.dy);
  }
};

/// dweight = sum of dy * x_hat, dbias = sum of dy over a channel. `statistics`: how many of mean (absent: 0)
/// and rstd there are.
template <class T>
void launch_parameter_gradients(cudaStream_t stream, const Channels& shape, T* dweight, T* dbias, const T* dy,
                                const T* x, const double* mean, const double* rstd, std::int64_t statistics,
                                std::int64_t per_sample, std::int64_t channels_each) {
  if (shape.channels == 0 || (dweight == nullptr && dbias == nullptr)) return;
  const DeviceScratch<Normal<T>> normals(statistics);
  if (statistics > 0)
    launch_flat(prepare_normals<T>, statistics, stream, statistics, normals.data(), mean, rstd);
  launch_channel_sums(stream, shape, dy, x, nullptr, Normals<T>{normals.data(), per_sample, channels_each},
                      WriteParameters<T>{dweight, dbias});
}

}  // namespace norma
