// y = (x - mean) * rstd * weight + bias, by the statistics of `groups` groups of neighbouring channels of
// each sample (Wu & He 2018, arXiv:1803.08494).  x, y: [n, channels, inner]  mean, rstd: f64 [n, groups]
// weight, bias: [channels].
//
// A group of a sample is a contiguous run: a row of layer_rows.cuh with the parameters of its channels. The
// gradients of the parameters are sums over channels (channel_sums.cuh): dy and x are read a second time.
#include "backends/cuda/channel_sums.cuh"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/layer_rows.cuh"

namespace norma {

namespace {

Rows runs_of(const Channels& x, std::int64_t groups) { return {x.n * groups, x.channels / groups * x.inner}; }

}  // namespace

bool CudaBackend::group_norm(View y, View mean, View rstd, View x, View weight, View bias,
                             std::int64_t groups, double eps) {
  for_float(x.dtype, "group_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    const Channels shape = channels_of(x);
    launch_normalize_rows<T>(stream_, runs_of(shape, groups),
                             ByChannel{groups, shape.channels / groups, shape.inner}, pointer<T>(y), nullptr,
                             pointer<double>(mean), pointer<double>(rstd), pointer<T>(x), nullptr,
                             pointer<T>(weight), pointer<T>(bias), eps);
  });
  return true;
}

bool CudaBackend::group_norm_backward(View dx, View dweight, View dbias, View dy, View x, View mean,
                                      View rstd, View weight, std::int64_t groups) {
  for_float(x.dtype, "group_norm", [&]<class T>() {
    const Channels shape = channels_of(x);
    if (dx.defined() && x.numel() > 0) {
      launch_normalize_rows_backward<T>(stream_, runs_of(shape, groups),
                                        ByChannel{groups, shape.channels / groups, shape.inner},
                                        pointer<T>(dx), pointer<T>(dy), pointer<T>(x), pointer<double>(mean),
                                        pointer<double>(rstd), pointer<T>(weight), {});
    }
    launch_parameter_gradients(stream_, shape, pointer<T>(dweight), pointer<T>(dbias), pointer<T>(dy),
                               pointer<T>(x), pointer<double>(mean), pointer<double>(rstd), shape.n * groups,
                               groups, std::max<std::int64_t>(1, shape.channels / groups));
  });
  return true;
}

}  // namespace norma
