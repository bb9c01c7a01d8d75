// Pooling layers: the ops of autograd/convolution.h with their options kept. Options are checked when the
// layer is called.
#pragma once

#include "autograd/convolution.h"
#include "nn/module.h"

namespace norma::nn {

/// MaxPool1d(2), MaxPool1d(3, {.stride = 2, .padding = 1})
class MaxPool1d : public Module {
 public:
  explicit MaxPool1d(std::int64_t kernel_size, const MaxPool1dOptions& options = {})
      : kernel_size_(kernel_size), options_(options) {}
  Tensor operator()(const Tensor& x) const { return max_pool1d(x, kernel_size_, options_); }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  std::int64_t kernel_size_;
  MaxPool1dOptions options_;
};

/// MaxPool2d(2), MaxPool2d({3, 2}, {.stride = 2, .padding = {1, 0}})
class MaxPool2d : public Module {
 public:
  explicit MaxPool2d(Size2d kernel_size, const MaxPool2dOptions& options = {})
      : kernel_size_(kernel_size), options_(options) {}
  Tensor operator()(const Tensor& x) const { return max_pool2d(x, kernel_size_, options_); }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  Size2d kernel_size_;
  MaxPool2dOptions options_;
};

class AvgPool1d : public Module {
 public:
  explicit AvgPool1d(std::int64_t kernel_size, const AvgPool1dOptions& options = {})
      : kernel_size_(kernel_size), options_(options) {}
  Tensor operator()(const Tensor& x) const { return avg_pool1d(x, kernel_size_, options_); }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  std::int64_t kernel_size_;
  AvgPool1dOptions options_;
};

class AvgPool2d : public Module {
 public:
  explicit AvgPool2d(Size2d kernel_size, const AvgPool2dOptions& options = {})
      : kernel_size_(kernel_size), options_(options) {}
  Tensor operator()(const Tensor& x) const { return avg_pool2d(x, kernel_size_, options_); }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  Size2d kernel_size_;
  AvgPool2dOptions options_;
};

/// To output_size places, whatever the length of x.
class AdaptiveAvgPool1d : public Module {
 public:
  explicit AdaptiveAvgPool1d(std::int64_t output_size) : output_size_(output_size) {}
  Tensor operator()(const Tensor& x) const { return adaptive_avg_pool1d(x, output_size_); }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  std::int64_t output_size_;
};

class AdaptiveAvgPool2d : public Module {
 public:
  explicit AdaptiveAvgPool2d(Size2d output_size) : output_size_(output_size) {}
  Tensor operator()(const Tensor& x) const { return adaptive_avg_pool2d(x, output_size_); }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  Size2d output_size_;
};

class AdaptiveMaxPool1d : public Module {
 public:
  explicit AdaptiveMaxPool1d(std::int64_t output_size) : output_size_(output_size) {}
  Tensor operator()(const Tensor& x) const { return adaptive_max_pool1d(x, output_size_); }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  std::int64_t output_size_;
};

class AdaptiveMaxPool2d : public Module {
 public:
  explicit AdaptiveMaxPool2d(Size2d output_size) : output_size_(output_size) {}
  Tensor operator()(const Tensor& x) const { return adaptive_max_pool2d(x, output_size_); }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  Size2d output_size_;
};

/// The axes from start_dim to end_dim as one: [n, c, h, w] -> [n, c * h * w].
class Flatten : public Module {
 public:
  explicit Flatten(int start_dim = 1, int end_dim = -1) : start_dim_(start_dim), end_dim_(end_dim) {}
  Tensor operator()(const Tensor& x) const { return x.flatten(start_dim_, end_dim_); }
  std::string describe() const override;
  NORMA_PARTS()

 private:
  int start_dim_, end_dim_;
};

}  // namespace norma::nn
