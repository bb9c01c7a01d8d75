// CudaBackend: kernels of our own and cuBLAS, on one stream. The .cu files are read by nvcc (make CUDA=1)
// and, with the emulator's headers, by the host compiler (make CUDA=emulate). One file per family of kernels;
// every file has the formula, the kernels, and the overrides that unpack views and dispatch the dtype. No
// atomics in sums: results do not depend on the order in which blocks run.
#pragma once

#include <cublasLt.h>

#include <optional>

#include "backends/cuda/device_errors.h"
#include "backends/cuda/launch.h"
#include "backends/cuda/scratch.h"
#include "core/backend.h"

namespace norma {

template <class T>
class DeviceValue;

/// A key that kernels can tell in captured work too: there `key` is relative to the key of a replay.
struct MovingKey {
  RandomKey key;
  const RandomKey* of_replay;  // null outside of captured work

  __device__ RandomKey now() const {
    return of_replay == nullptr ? key : RandomKey{of_replay->seed, of_replay->offset + key.offset};
  }
};

class CudaBackend final : public Backend {
 public:
  CudaBackend();
  ~CudaBackend() override;
  void synchronize() override;

  void* allocate(std::int64_t bytes) override;
  void release(void* data, std::int64_t bytes) override;
  void upload(void* device_data, const void* host, std::int64_t bytes) override;
  void download(void* host, const void* device_data, std::int64_t bytes) override;
  void begin_capture(RandomKey random) override;
  std::unique_ptr<Captured> end_capture() override;

  void copy(View y, View x) override;
  void fill(View y, double value, std::int64_t integral) override;
  void unary(Unary op, View y, View x, double a, double b) override;
  void binary(Binary op, View y, View a, View b) override;
  void binary_scalar(Binary op, View y, View x, double s, bool scalar_first) override;
  void where(View y, View condition, View a, View b) override;
  void reduce(Reduce op, View y, View x) override;
  void arg_reduce(ArgReduce op, View indices, View x, int axis) override;
  void cumsum(View y, View x, int axis, bool reverse) override;
  void matmul(View c, View a, View b, double alpha, double beta) override;
  void gather(View y, View x, View index, int axis, const char* op) override;
  void scatter_add(View y, View x, View index, int axis, const char* op) override;
  void unfold(View columns, View x, const Window& window) override;
  void fold(View x, View columns, const Window& window) override;
  void random(Random distribution, View y, RandomKey key, double a, double b) override;
  bool softmax(View y, View x, bool log) override;
  bool softmax_backward(View dx, View y, View dy, bool log) override;
  bool layer_norm(View y, View mean, View rstd, View x, View weight, View bias, double eps) override;
  bool layer_norm_backward(View dx, View dweight, View dbias, View dy, View x, View mean, View rstd,
                           View weight, Detached constants) override;
  bool rms_norm(View y, View rstd, View x, View weight, double eps, bool inside,
                std::int64_t counted) override;
  bool rms_norm_backward(View dx, View dweight, View dy, View x, View rstd, View weight, double eps,
                         bool inside, std::int64_t counted) override;
  bool batch_statistics(View mean, View var, View x, View mask) override;
  bool batch_norm(View y, View x, View mask, View mean, View rstd, View weight, View bias) override;
  bool batch_norm_backward(View dx, View dweight, View dbias, View dy, View x, View mask, View mean,
                           View rstd, View weight, bool constant) override;
  bool group_norm(View y, View mean, View rstd, View x, View weight, View bias, std::int64_t groups,
                  double eps) override;
  bool group_norm_backward(View dx, View dweight, View dbias, View dy, View x, View mean, View rstd,
                           View weight, std::int64_t groups) override;
  bool add_layer_norm(View y, View sum, View mean, View rstd, View x, View residual, View weight, View bias,
                      double eps) override;
  bool add_rms_norm(View y, View sum, View rstd, View x, View residual, View weight, double eps,
                    bool inside) override;
  bool l2_norm(View y, View norm, View x, View weight, double eps) override;
  bool l2_norm_backward(View dx, View dweight, View dy, View x, View norm, View weight, double eps) override;
  bool cross_entropy(View losses, View lse, View logits, View targets, std::int64_t ignore_index,
                     double smoothing) override;
  bool cross_entropy_backward(View dlogits, View dlosses, View lse, View logits, View targets,
                              std::int64_t ignore_index, double smoothing) override;
  bool linear(View y, View x, View weight, View bias) override;
  bool unary_gradient(Unary op, View dx, View dy, View v, double a, double b) override;
  bool binary_gradient(Binary op, int operand, View d, View dy, View a, View b) override;
  bool gelu(View y, View x, bool tanh_form) override;
  bool gelu_backward(View dx, View x, View dy, bool tanh_form) override;
  bool silu(View y, View x) override;
  bool silu_backward(View dx, View x, View dy) override;
  bool attention(View y, View lse, View q, View k, View v, View mask,
                 const AttentionOptions& options) override;
  bool attention_backward(View dq, View dk, View dv, View dy, View y, View lse, View q, View k, View v,
                          View mask, const AttentionOptions& options) override;
  bool dropout(View y, View kept, View x, RandomKey key, double p) override;
  bool dropout_backward(View dx, View dy, View kept, double p) override;
  bool embedding(View y, View table, View index) override;
  bool embedding_backward(View dtable, View dy, View index) override;
  bool sum_of_squares(View sum, std::span<const View> xs) override;
  bool adam(std::span<const AdamTensors> all, const AdamOptions& options) override;
  bool adam_in_capture(std::span<const AdamTensors> all, std::shared_ptr<const AdamOptions> options) override;

 private:
  /// Throws Error while work is captured.
  void refuse_in_capture(const char* what) const;
  MovingKey moving(RandomKey key);

  cudaStream_t stream_ = nullptr;
  cublasHandle_t blas_ = nullptr;
  cublasLtHandle_t blas_lt_ = nullptr;
  DeviceErrors errors_;
  bool capturing_ = false;
  RandomKey capture_start_;
  std::shared_ptr<DeviceValue<RandomKey>> capture_key_;    // from the first draw in a capture on
  std::optional<DeviceScratch<unsigned char>> workspace_;  // of cuBLAS, from the first capture on
};

}  // namespace norma
