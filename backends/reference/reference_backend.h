// ReferenceBackend: every required kernel as the plainest loop that is right, and no optional one. It is the
// oracle of the tests and the example for someone who writes a backend: no threads, no BLAS, no special
// cases. Sums run in f64.
#pragma once

#include "core/backend.h"

namespace norma {

class ReferenceBackend final : public Backend {
 public:
  void* allocate(std::int64_t bytes) override;
  void release(void* data, std::int64_t bytes) override;
  void upload(void* device_data, const void* host, std::int64_t bytes) override;
  void download(void* host, const void* device_data, std::int64_t bytes) override;

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
};

}  // namespace norma
