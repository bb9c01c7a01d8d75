// CpuBackend: OpenBLAS and OpenMP. One file per family of kernels; every file has the formula, the kernel,
// and the override that unpacks views and dispatches the dtype. All loops go through core/parallel.h with
// blocks whose size depends on the problem only, so results are bitwise the same for any number of threads.
#pragma once

#include "core/backend.h"

namespace norma {

class CpuBackend final : public Backend {
 public:
  // memory.cpp
  void* allocate(std::int64_t bytes) override;
  void release(void* data, std::int64_t bytes) override;
  void upload(void* device_data, const void* host, std::int64_t bytes) override;
  void download(void* host, const void* device_data, std::int64_t bytes) override;

  void copy(View y, View x) override;                                                    // copy.cpp
  bool join(View y, std::span<const View> xs, int axis) override;                        // join.cpp
  void fill(View y, double value, std::int64_t integral) override;                       // copy.cpp
  void unary(Unary op, View y, View x, double a, double b) override;                     // unary.cpp
  void binary(Binary op, View y, View a, View b) override;                               // binary.cpp
  void binary_scalar(Binary op, View y, View x, double s, bool scalar_first) override;   // binary.cpp
  void where(View y, View condition, View a, View b) override;                           // copy.cpp
  void reduce(Reduce op, View y, View x) override;                                       // reduce.cpp
  void arg_reduce(ArgReduce op, View indices, View x, int axis) override;                // scan.cpp
  void cumsum(View y, View x, int axis, bool reverse) override;                          // scan.cpp
  void matmul(View c, View a, View b, double alpha, double beta) override;               // matmul.cpp
  bool linear(View y, View x, View weight, View bias) override;                          // matmul.cpp
  void gather(View y, View x, View index, int axis, const char* op) override;            // gather.cpp
  void scatter_add(View y, View x, View index, int axis, const char* op) override;       // gather.cpp
  void unfold(View columns, View x, const Window& window) override;                      // window.cpp
  void fold(View x, View columns, const Window& window) override;                        // window.cpp
  void random(Random distribution, View y, RandomKey key, double a, double b) override;  // random.cpp
  bool softmax(View y, View x, bool log) override;                                       // softmax.cpp
  bool softmax_backward(View dx, View y, View dy, bool log) override;                    // softmax.cpp
  bool logsumexp(View y, View x) override;                                               // logsumexp.cpp
  bool logsumexp_backward(View dx, View dy, View x) override;                            // logsumexp.cpp
  bool extreme_backward(View dx, View dy, View y, View x) override;                      // extreme.cpp
  bool layer_norm(View y, View mean, View rstd, View x, View weight, View bias, double eps) override;
  bool layer_norm_backward(View dx, View dweight, View dbias, View dy, View x, View mean, View rstd,
                           View weight, Detached constants) override;
  bool rms_norm(View y, View rstd, View x, View weight, double eps, bool inside,
                std::int64_t counted) override;
  bool rms_norm_backward(View dx, View dweight, View dy, View x, View rstd, View weight, double eps,
                         bool inside, std::int64_t counted) override;
  bool batch_statistics(View mean, View var, View x, View mask) override;  // batch_statistics.cpp
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
  bool loss(Loss kind, View losses, View x, View t, double scale) override;  // loss.cpp
  bool loss_backward(Loss kind, View dx, View dt, View dy, View x, View t, double scale) override;
  bool unary_gradient(Unary op, View dx, View dy, View v, double a, double b) override;    // derivatives.cpp
  bool binary_gradient(Binary op, int operand, View d, View dy, View a, View b) override;  // derivatives.cpp
  bool convolution(View y, View x, View weight, View bias, const Window& window,
                   std::int64_t groups) override;  // convolution.cpp
  bool convolution_input_gradient(View dx, View dy, View weight, const Window& window,
                                  std::int64_t groups) override;
  bool convolution_weight_gradient(View dweight, View dy, View x, const Window& window,
                                   std::int64_t groups) override;
  bool max_pool(View y, View chosen, View x, const Pooling& pooling) override;  // max_pool.cpp
  bool max_pool_backward(View dx, View dy, View chosen) override;               // max_pool.cpp
  bool avg_pool(View y, View x, const Pooling& pooling) override;               // avg_pool.cpp
  bool avg_pool_backward(View dx, View dy, const Pooling& pooling) override;    // avg_pool.cpp
  bool gelu(View y, View x, bool tanh_form) override;                           // activation.cpp
  bool gelu_backward(View dx, View x, View dy, bool tanh_form) override;        // activation.cpp
  bool silu(View y, View x) override;                                           // activation.cpp
  bool silu_backward(View dx, View x, View dy) override;                        // activation.cpp
  bool attention(View y, View lse, View q, View k, View v, View mask,
                 const AttentionOptions& options) override;
  bool attention_backward(View dq, View dk, View dv, View dy, View y, View lse, View q, View k, View v,
                          View mask, const AttentionOptions& options) override;
  bool dropout(View y, View kept, View x, RandomKey key, double p) override;
  bool dropout_backward(View dx, View dy, View kept, double p) override;
  bool embedding(View y, View table, View index) override;                           // embedding.cpp
  bool embedding_backward(View dtable, View dy, View index) override;                // embedding.cpp
  bool sum_of_squares(View sum, std::span<const View> xs) override;                  // optimizer.cpp
  bool adam(std::span<const AdamTensors> all, const AdamOptions& options) override;  // optimizer.cpp
};

}  // namespace norma
