// Sums of dy and dy * x_hat over every channel of x [n, channels, inner], by the walks of channel_walks.cuh:
// the gradients of weight and bias.
#pragma once

#include "backends/cuda/channel_walks.cuh"

namespace norma {

/// Sums over a channel, or a part of one: of dy, of dy * x_hat, and how many values there are.
struct ChannelSums {
  double dy = 0, dy_x_hat = 0, count = 0;

  __device__ void add(const ChannelSums& other) {
    dy += other.dy, dy_x_hat += other.dy_x_hat, count += other.count;
  }
};

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
__global__ void __launch_bounds__(column_threads* row_threads, blocks_held(column_threads* row_threads))
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
__global__ void __launch_bounds__(plane_threads, blocks_held(plane_threads))
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
