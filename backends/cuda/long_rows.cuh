// The same as layer_rows.cuh for a few long rows, which one block each would leave most of the device idle:
// the rows are the channels of [1, rows, d], in pieces (channel_walks.cuh), and the output is written element
// by element. One more reading of x forward; backward g = dy * weight is kept in dx, which the later passes
// read: 7 sizeof(T) bytes of an element instead of 3.
#pragma once

#include "backends/cuda/channel_moments.cuh"
#include "backends/cuda/channel_sums.cuh"

namespace norma {

inline bool are_long(Rows n) { return n.d >= 32768 && n.rows < 128; }

struct WriteRowStatistics {
  double *mean, *rstd, eps;

  __device__ void operator()(std::int64_t r, const Moments& total) const {
    mean[r] = total.mean, rstd[r] = 1 / std::sqrt(total.squares / total.count + eps);
  }
};

template <class T>
__global__ void add_elements(std::int64_t count, T* sum, const T* a, const T* b) {
  const std::int64_t i = flat_index();
  if (i < count) sum[i] = a[i] + b[i];
}

template <class T, int Width, class Places>
__global__ void __launch_bounds__(flat_block)
    normalize_elements(Rows n, Places places, T* y, const double* mean, const double* rstd, const T* x,
                       const T* weight, const T* bias) {
  const std::int64_t element = flat_index() * Width, r = quotient(element, n.d);
  if (r >= n.rows) return;
  const Normal<T> normal = Normal<T>::of(mean[r], rstd[r]);
  auto pack = load<Width>(x + element);
#pragma unroll
  for (int k = 0; k < Width; ++k) pack.values[k] = normal.x_hat(pack.values[k]);
  apply_affine(pack, places, weight, bias, r, element - r * n.d);
  store(y + element, pack);
}

/// g = dy * weight
template <class T, int Width, class Places>
__global__ void __launch_bounds__(flat_block)
    weigh_elements(Rows n, Places places, T* g, const T* dy, const T* weight) {
  const std::int64_t element = flat_index() * Width, r = quotient(element, n.d);
  if (r >= n.rows) return;
  auto pack = load<Width>(dy + element);
  apply_affine<Places, Width, T>(pack, places, weight, nullptr, r, element - r * n.d);
  store(g + element, pack);
}

/// The means of g and g * x_hat over a row; those that belong to constant statistics are 0.
template <class T>
struct RowMeans {
  T g, g_x_hat;
};
template <class T>
struct WriteRowMeans {
  RowMeans<T>* means;
  std::int32_t mean_is_constant, deviation_is_constant;  // no padding: see launch()

  __device__ void operator()(std::int64_t r, const ChannelSums& total) const {
    means[r] = {mean_is_constant ? T(0) : static_cast<T>(total.dy / total.count),
                deviation_is_constant ? T(0) : static_cast<T>(total.dy_x_hat / total.count)};
  }
};

/// g may be dx.
template <class T, int Width>
__global__ void __launch_bounds__(flat_block)
    normalize_elements_backward(Rows n, T* dx, const T* g, const T* x, const Normal<T>* normals,
                                const RowMeans<T>* means) {
  const std::int64_t element = flat_index() * Width, r = quotient(element, n.d);
  if (r >= n.rows) return;
  const Normal<T> normal = normals[r];
  const RowMeans<T> mean = means[r];
  auto pack = load<Width>(g + element);
  const auto from = load<Width>(x + element);
#pragma unroll
  for (int k = 0; k < Width; ++k) {
    pack.values[k] = normal.rstd * (pack.values[k] - mean.g - normal.x_hat(from.values[k]) * mean.g_x_hat);
  }
  store(dx + element, pack);
}

template <class T, class Places>
void launch_normalize_long_rows(cudaStream_t stream, Rows n, const Places& places, T* y, double* mean,
                                double* rstd, const T* x, const T* weight, const T* bias, double eps) {
  launch_channel_moments(stream, Channels{1, n.rows, n.d}, x, nullptr, WriteRowStatistics{mean, rstd, eps});
  constexpr int width = 16 / sizeof(T);
  const std::int64_t count = n.rows * n.d;
  if (walks_packs<T>(n.d, y, x, weight, bias)) {
    launch_flat(normalize_elements<T, width, Places>, count / width, stream, n, places, y, mean, rstd, x,
                weight, bias);
  } else {
    launch_flat(normalize_elements<T, 1, Places>, count, stream, n, places, y, mean, rstd, x, weight, bias);
  }
}

template <class T, class Places>
void launch_normalize_long_rows_backward(cudaStream_t stream, Rows n, const Places& places, T* dx,
                                         const T* dy, const T* x, const double* mean, const double* rstd,
                                         const T* weight, Detached constants) {
  constexpr int width = 16 / sizeof(T);
  const std::int64_t count = n.rows * n.d;
  const bool packs = walks_packs<T>(n.d, dx, dy, x, weight);
  const T* g = dy;
  if (weight != nullptr) {
    if (packs) {
      launch_flat(weigh_elements<T, width, Places>, count / width, stream, n, places, dx, dy, weight);
    } else {
      launch_flat(weigh_elements<T, 1, Places>, count, stream, n, places, dx, dy, weight);
    }
    g = dx;
  }
  const DeviceScratch<Normal<T>> normals(n.rows);
  const DeviceScratch<RowMeans<T>> means(n.rows);
  launch_flat(prepare_normals<T>, n.rows, stream, n.rows, normals.data(), mean, rstd);
  launch_channel_sums(stream, Channels{1, n.rows, n.d}, g, x, nullptr, Normals<T>{normals.data(), 0, 1},
                      WriteRowMeans<T>{means.data(), constants.mean, constants.std});
  if (packs) {
    launch_flat(normalize_elements_backward<T, width>, count / width, stream, n, dx, g, x, normals.data(),
                means.data());
  } else {
    launch_flat(normalize_elements_backward<T, 1>, count, stream, n, dx, g, x, normals.data(), means.data());
  }
}

}  // namespace norma
