// Mean and squares of every channel of x [n, channels, inner], by the walks of channel_walks.cuh.
#pragma once

#include "backends/cuda/channel_walks.cuh"

namespace norma {

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
__global__ void __launch_bounds__(column_threads* row_threads, blocks_held(column_threads* row_threads))
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
__global__ void __launch_bounds__(plane_threads, blocks_held(plane_threads))
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

}  // namespace norma
