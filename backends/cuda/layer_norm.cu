// y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(var + eps), var the mean square of x - mean
// (Ba, Kiros, Hinton 2016, arXiv:1607.06450).  x, y: [rows, d]  weight, bias: [d]  mean, rstd: f64 [rows]
//
// The rows are in layer_rows.cuh. The gradients of the parameters,
//   dweight = sum over rows of dy * x_hat,  dbias = sum of dy,
// are sums over columns (channel_sums.cuh), a second reading of dy and x: 2 sizeof(T) bytes of an element.
#include "backends/cuda/channel_sums.cuh"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/layer_rows.cuh"

namespace norma {

bool CudaBackend::layer_norm(View y, View mean, View rstd, View x, View weight, View bias, double eps) {
  return add_layer_norm(y, {}, mean, rstd, x, {}, weight, bias, eps);
}

bool CudaBackend::add_layer_norm(View y, View sum, View mean, View rstd, View x, View residual, View weight,
                                 View bias, double eps) {
  for_float(x.dtype, "layer_norm", [&]<class T>() {
    if (x.numel() == 0) return;
    launch_normalize_rows(stream_, rows_of(x), ByColumn(), pointer<T>(y), pointer<T>(sum),
                          pointer<double>(mean), pointer<double>(rstd), pointer<T>(x), pointer<T>(residual),
                          pointer<T>(weight), pointer<T>(bias), eps);
  });
  return true;
}

bool CudaBackend::layer_norm_backward(View dx, View dweight, View dbias, View dy, View x, View mean,
                                      View rstd, View weight, Detached constants) {
  for_float(x.dtype, "layer_norm", [&]<class T>() {
    const Rows n = rows_of(x);
    if (dx.defined() && x.numel() > 0) {
      launch_normalize_rows_backward(stream_, n, ByColumn(), pointer<T>(dx), pointer<T>(dy), pointer<T>(x),
                                     pointer<double>(mean), pointer<double>(rstd), pointer<T>(weight),
                                     constants);
    }
    launch_parameter_gradients(stream_, {n.rows, n.d, 1}, pointer<T>(dweight), pointer<T>(dbias),
                               pointer<T>(dy), pointer<T>(x), pointer<double>(mean), pointer<double>(rstd),
                               n.rows, 1, std::max<std::int64_t>(1, n.d));
  });
  return true;
}

}  // namespace norma
