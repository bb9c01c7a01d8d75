// The public list of ops: free functions on tensors (norms: autograd/normalization.h). Everything here is
// differentiable to any order unless it says otherwise. Undefined tensors throw, unless the argument is
// called optional. Shapes broadcast as in NumPy; dtypes must agree (convert with to()); C++ scalars take the
// tensor's dtype.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "autograd/tensor.h"

namespace norma {

// Creation (leaves without history).
Tensor empty(const Shape& shape, DType dtype = f32, Device device = cpu);
Tensor zeros(const Shape& shape, DType dtype = f32, Device device = cpu);
Tensor ones(const Shape& shape, DType dtype = f32, Device device = cpu);
Tensor full(const Shape& shape, double value, DType dtype = f32, Device device = cpu);
Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);
Tensor arange(double start, double stop, double step = 1, DType dtype = i64, Device device = cpu);
Tensor eye(std::int64_t n, DType dtype = f32, Device device = cpu);
template <class T>
Tensor tensor(const std::vector<T>& values, const Shape& shape, Device device = cpu) {
  return Tensor(Array::from(values, shape, device));
}
/// One-dimensional f32 tensor of the values.
Tensor tensor(std::initializer_list<double> values, DType dtype = f32);
/// U[0, 1), N(0, 1) and friends from the generator given, or the thread's default one.
Tensor rand(const Shape& shape, DType dtype = f32, Device device = cpu, Generator* generator = nullptr);
Tensor randn(const Shape& shape, DType dtype = f32, Device device = cpu, Generator* generator = nullptr);
Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape, Device device = cpu,
               Generator* generator = nullptr);
/// A random order of 0 .. n-1, i64.
Tensor randperm(std::int64_t n, Device device = cpu, Generator* generator = nullptr);

// Arithmetic.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor pow(const Tensor& base, const Tensor& exponent);
Tensor maximum(const Tensor& a, const Tensor& b);  // at equal values each gets half of the gradient
Tensor minimum(const Tensor& a, const Tensor& b);
/// a * x + b
Tensor affine(const Tensor& x, double a, double b);
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
Tensor floor(const Tensor& x);
Tensor expm1(const Tensor& x);
Tensor log1p(const Tensor& x);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator+(const Tensor& x, double s) { return affine(x, 1, s); }
inline Tensor operator+(double s, const Tensor& x) { return affine(x, 1, s); }
inline Tensor operator-(const Tensor& x, double s) { return affine(x, 1, -s); }
inline Tensor operator-(double s, const Tensor& x) { return affine(x, -1, s); }
inline Tensor operator*(const Tensor& x, double s) { return affine(x, s, 0); }
inline Tensor operator*(double s, const Tensor& x) { return affine(x, s, 0); }
Tensor operator/(const Tensor& x, double s);
Tensor operator/(double s, const Tensor& x);

// Comparison: boolean results, no gradient.
Tensor operator==(const Tensor& a, const Tensor& b);
Tensor operator!=(const Tensor& a, const Tensor& b);
Tensor operator<(const Tensor& a, const Tensor& b);
Tensor operator<=(const Tensor& a, const Tensor& b);
Tensor operator>(const Tensor& a, const Tensor& b);
Tensor operator>=(const Tensor& a, const Tensor& b);
Tensor operator==(const Tensor& a, double b);
Tensor operator!=(const Tensor& a, double b);
Tensor operator<(const Tensor& a, double b);
Tensor operator<=(const Tensor& a, double b);
Tensor operator>(const Tensor& a, double b);
Tensor operator>=(const Tensor& a, double b);
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& x);

// Activations, written out in autograd/ops/activation.cpp.
Tensor relu(const Tensor& x);
enum class Gelu : std::uint8_t { erf, tanh };
/// x * Phi(x), exact or in the tanh form (Hendrycks & Gimpel 2016, arXiv:1606.08415).
Tensor gelu(const Tensor& x, Gelu form = Gelu::erf);
Tensor silu(const Tensor& x);
/// log(1 + exp(x)), without overflow.
Tensor softplus(const Tensor& x);
/// cap * tanh(x / cap); cap must be finite and > 0.
Tensor softcap(const Tensor& x, double cap);
/// softmax of a row that is -inf throughout is NaN, as in PyTorch.
Tensor softmax(const Tensor& x, int axis = -1);
Tensor log_softmax(const Tensor& x, int axis = -1);

// Joining and indexing.
Tensor cat(const std::vector<Tensor>& xs, int axis = 0);
Tensor stack(const std::vector<Tensor>& xs, int axis = 0);
/// PyTorch's constant padding: {before, after} of the last axis, then of the one before it, ...
Tensor pad(const Tensor& x, const std::vector<std::int64_t>& amounts, double value = 0);
/// Zeros of `shape` with x added at the places of index along axis: the adjoint of gather.
Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, const Shape& shape);
/// Rows of table [entries, d] at index (i64, any shape) -> [index.., d].
Tensor embedding(const Tensor& index, const Tensor& table);
/// index (i64, any shape) -> [index.., classes], 0 and 1 of the given dtype.
Tensor one_hot(const Tensor& index, std::int64_t classes, DType dtype = i64);

// Products.
/// NumPy's matmul: rank 1 operands are vectors, leading axes broadcast.
Tensor matmul(const Tensor& a, const Tensor& b);
/// x [.., in], weight [out, in], optional bias [out] -> x weight^T + bias  [.., out].
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
/// Two operands, explicit or implicit output ("bij,bjk->bik", "ij,jk"); no repeated index inside one operand.
Tensor einsum(std::string_view equation, const Tensor& a, const Tensor& b);

/// Zeroes each element with probability p in [0, 1), scales the rest by 1 / (1 - p).
Tensor dropout(const Tensor& x, double p, bool training = true, Generator* generator = nullptr);

// Losses.
enum class Reduction : std::uint8_t { none, mean, sum };
struct CrossEntropyOptions {
  std::int64_t ignore_index = -100;
  double label_smoothing = 0;  // in [0, 1]
  Reduction reduction = Reduction::mean;
};
/// logits [.., classes], targets i64 [..]: class indices. The mean is over targets that are not ignored, NaN
/// (with zero gradient) when all are, as in PyTorch. Targets out of range throw.
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, CrossEntropyOptions options = {});
/// Input and target have one shape: a broadcast here is nearly always a mistake. Targets in [0, 1].
Tensor binary_cross_entropy_with_logits(const Tensor& logits, const Tensor& targets,
                                        Reduction reduction = Reduction::mean);
Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean);

// Attention.
/// softmax(scale q k^T) v. q [.., heads, q_length, d], k and v [.., kv_heads, k_length, d or d_v], heads a
/// multiple of kv_heads.
struct SdpaOptions {
  Tensor mask = {};     // optional; boolean (true = may attend) or floating (added); broadcast to the scores
  bool causal = false;  // query i sees keys up to i + k_length - q_length: the last query sees all
  std::optional<double> scale = {};  // 1 / sqrt(d) when absent
  double cap = 0;      // > 0: cap * tanh(score / cap), after the scale and before the mask; 0: none
  double dropout = 0;  // on the attention weights, while recording or not
};
/// Rows that may attend to nothing give 0. Masked keys and values have no influence, even when they are NaN.
Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const SdpaOptions& options = {});

}  // namespace norma
