// Statistics of channels, y = (x - mean) * rstd * weight + bias for each channel, 0 where the mask is false
// (Ioffe & Szegedy 2015, arXiv:1502.03167).  x, y: [n, channels, inner]  mean, var, rstd: f64 [channels]
// weight, bias: [channels]  mask: [n, inner].
//
// Backward, with x_hat = (x - mean) * rstd, m the number of values of a channel, sums over the counted:
//   dbias = sum(dy),  dweight = sum(dy * x_hat)
//   dx = weight * rstd * (dy - dbias / m - x_hat * dweight / m), without the last two terms for constant
//   statistics.
//
// Statistics: parts of a channel are read twice, the second time from the cache (mean, then squares around
// it), and combined: sizeof(T) bytes of an element. Output: 2 sizeof(T). Backward: sums (2 sizeof(T)), then
// dx (3 sizeof(T)). What a channel's elements share is computed once, by the warp that combines its parts.
#include "backends/cuda/channel_moments.cuh"
#include "backends/cuda/channel_sums.cuh"
#include "backends/cuda/cuda_backend.h"

namespace norma {

namespace {

struct WriteStatistics {
  double *mean, *var;

  __device__ void operator()(std::int64_t c, const Moments& total) const {
    mean[c] = total.mean;
    var[c] = total.count > 0 ? total.squares / total.count : 0;
  }
};

/// Coefficients of a channel; y = (x - high - low) * scale + shift, see Centre.
template <class T>
struct Line {
  T high, low, scale, shift;
};

/// dx = (dy - first - x_hat * second) * slope
template <class T>
struct Slope {
  Normal<T> normal;
  T slope, first, second;
};

template <class T>
__device__ double gain_of(const T* weight, std::int64_t c) {
  return weight == nullptr ? 1 : static_cast<double>(weight[c]);
}

template <class T>
__global__ void prepare_lines(std::int64_t channels, Line<T>* lines, const double* mean, const double* rstd,
                              const T* weight, const T* bias) {
  const std::int64_t c = flat_index();
  if (c >= channels) return;
  const Centre<T> centre(mean[c]);
  lines[c] = {centre.high, centre.low, static_cast<T>(rstd[c] * gain_of(weight, c)),
              bias == nullptr ? T(0) : bias[c]};
}

template <class T>
__global__ void prepare_slopes(std::int64_t channels, Slope<T>* slopes, const double* mean,
                               const double* rstd, const T* weight) {
  const std::int64_t c = flat_index();
  if (c >= channels) return;
  slopes[c] = {Normal<T>::of(mean[c], rstd[c]), static_cast<T>(rstd[c] * gain_of(weight, c)), T(0), T(0)};
}

/// Writes the gradients of the parameters and, unless it is absent, the slopes; statistics depend on x.
template <class T>
struct WriteSlopes {
  WriteParameters<T> parameters;
  Slope<T>* slopes;
  const double *mean, *rstd;
  const T* weight;

  __device__ void operator()(std::int64_t c, const ChannelSums& total) const {
    parameters(c, total);
    if (slopes == nullptr) return;
    const double m = total.count > 1 ? total.count : 1;
    slopes[c] = {Normal<T>::of(mean[c], rstd[c]), static_cast<T>(rstd[c] * gain_of(weight, c)),
                 static_cast<T>(total.dy / m), static_cast<T>(total.dy_x_hat / m)};
  }
};

/// Sample, channel and position of an element, for a walk in memory order.
struct Cursor {
  std::int64_t sample, channel, position;

  __device__ Cursor(const Channels& x, std::int64_t element) {
    const std::int64_t plane = quotient(element, x.inner);
    position = element - plane * x.inner;
    sample = quotient(plane, x.channels);
    channel = plane - sample * x.channels;
  }
  __device__ void advance(const Channels& x) {
    if (++position < x.inner) return;
    position = 0;
    if (++channel < x.channels) return;
    channel = 0, ++sample;
  }
};

template <class T, int Width>
__global__ void batch_norm_elements(Channels shape, T* y, const T* x, const bool* mask,
                                    const Line<T>* lines) {
  const std::int64_t element = flat_index() * Width;
  if (element >= shape.numel()) return;
  Cursor at(shape, element);
  auto pack = load<Width>(x + element);
#pragma unroll
  for (int k = 0; k < Width; ++k, at.advance(shape)) {
    const Line<T> line = lines[at.channel];
    const T centred = sizeof(T) == 8 ? pack.values[k] - line.high : (pack.values[k] - line.high) - line.low;
    const bool counts = mask == nullptr || mask[at.sample * shape.inner + at.position];
    pack.values[k] = counts ? centred * line.scale + line.shift : T(0);
  }
  store(y + element, pack);
}

template <class T, int Width>
__global__ void batch_norm_elements_backward(Channels shape, T* dx, const T* dy, const T* x, const bool* mask,
                                             const Slope<T>* slopes) {
  const std::int64_t element = flat_index() * Width;
  if (element >= shape.numel()) return;
  Cursor at(shape, element);
  auto pack = load<Width>(dy + element);
  const auto from = load<Width>(x + element);
#pragma unroll
  for (int k = 0; k < Width; ++k, at.advance(shape)) {
    const Slope<T> s = slopes[at.channel];
    const bool counts = mask == nullptr || mask[at.sample * shape.inner + at.position];
    const T along = s.normal.x_hat(from.values[k]) * s.second;
    pack.values[k] = counts ? (pack.values[k] - s.first - along) * s.slope : T(0);
  }
  store(dx + element, pack);
}

template <class T>
void forward(cudaStream_t stream, const Channels& shape, T* y, const T* x, const bool* mask,
             const double* mean, const double* rstd, const T* weight, const T* bias) {
  const DeviceScratch<Line<T>> lines(shape.channels);
  launch_flat(prepare_lines<T>, shape.channels, stream, shape.channels, lines.data(), mean, rstd, weight,
              bias);
  constexpr int width = 16 / sizeof(T);
  if (walks_packs<T>(shape.numel(), y, x)) {
    launch_flat(batch_norm_elements<T, width>, shape.numel() / width, stream, shape, y, x, mask,
                lines.data());
  } else {
    launch_flat(batch_norm_elements<T, 1>, shape.numel(), stream, shape, y, x, mask, lines.data());
  }
}

template <class T>
void backward(cudaStream_t stream, const Channels& shape, T* dx, T* dweight, T* dbias, const T* dy,
              const T* x, const bool* mask, const double* mean, const double* rstd, const T* weight,
              bool constant) {
  if (shape.channels == 0) return;
  const DeviceScratch<Slope<T>> slopes(shape.channels);
  const DeviceScratch<Normal<T>> normals(shape.channels);
  if (dweight != nullptr || dbias != nullptr || !constant) {
    launch_flat(prepare_normals<T>, shape.channels, stream, shape.channels, normals.data(), mean, rstd);
    launch_channel_sums(
        stream, shape, dy, x, mask, Normals<T>{normals.data(), 0, 1},
        WriteSlopes<T>{{dweight, dbias}, constant ? nullptr : slopes.data(), mean, rstd, weight});
  }
  if (dx == nullptr || shape.numel() == 0) return;
  if (constant) {
    launch_flat(prepare_slopes<T>, shape.channels, stream, shape.channels, slopes.data(), mean, rstd, weight);
  }
  constexpr int width = 16 / sizeof(T);
  if (walks_packs<T>(shape.numel(), dx, dy, x)) {
    launch_flat(batch_norm_elements_backward<T, width>, shape.numel() / width, stream, shape, dx, dy, x, mask,
                slopes.data());
  } else {
    launch_flat(batch_norm_elements_backward<T, 1>, shape.numel(), stream, shape, dx, dy, x, mask,
                slopes.data());
  }
}

}  // namespace

bool CudaBackend::batch_statistics(View mean, View var, View x, View mask) {
  for_float(x.dtype, "batch_statistics", [&]<class T>() {
    const Channels shape = channels_of(x);
    if (shape.channels == 0) return;
    launch_channel_moments(stream_, shape, pointer<T>(x), pointer<bool>(mask),
                           WriteStatistics{pointer<double>(mean), pointer<double>(var)});
  });
  return true;
}

bool CudaBackend::batch_norm(View y, View x, View mask, View mean, View rstd, View weight, View bias) {
  for_float(x.dtype, "batch_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    forward<T>(stream_, channels_of(x), pointer<T>(y), pointer<T>(x), pointer<bool>(mask),
               pointer<double>(mean), pointer<double>(rstd), pointer<T>(weight), pointer<T>(bias));
  });
  return true;
}

bool CudaBackend::batch_norm_backward(View dx, View dweight, View dbias, View dy, View x, View mask,
                                      View mean, View rstd, View weight, bool constant) {
  for_float(x.dtype, "batch_norm", [&]<class T>() {
    backward<T>(stream_, channels_of(x), pointer<T>(dx), pointer<T>(dweight), pointer<T>(dbias),
                pointer<T>(dy), pointer<T>(x), pointer<bool>(mask), pointer<double>(mean),
                pointer<double>(rstd), pointer<T>(weight), constant);
  });
  return true;
}

}  // namespace norma
