// Backend: the kernels of one device. Kernels fill the views they are given and know nothing else: no shapes
// are inferred, nothing is allocated, no history is kept. Required kernels are pure virtual. Fused kernels
// are optional: `false` means "no such kernel here", and the definition of the op runs instead.
//
// Unless said otherwise: outputs do not overlap inputs (they may be the same view in elementwise kernels);
// all views of a call have the same floating dtype; the required kernels take arbitrary strides (random: a
// contiguous view), the fused ones get contiguous views. A view of rank 0 without data is an absent optional
// argument. Saved statistics (mean, rstd, lse) are always f64: a mean rounded to f32 would cost f32 rows with
// a large mean their digits.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "core/device.h"
#include "core/random.h"
#include "core/view.h"

namespace norma {

/// y = op(x). a and b are the parameters of the ops that have any.
enum class Unary : std::uint8_t {
  neg,
  exp,
  log,
  sqrt,
  rsqrt,
  tanh,
  erf,
  abs,
  sign,
  sin,
  cos,
  floor,
  reciprocal,
  sigmoid,
  expm1,
  log1p,
  softplus,     // log(1 + e^x)
  relu,         // x > 0 ? x : 0; NaN stays NaN
  affine,       // a * x + b
  power,        // x ^ a
  clamp,        // min(max(x, a), b)
  logical_not,  // boolean -> boolean
  is_nan,
  is_finite,  // floating -> boolean
};

/// y = op(a, b). Comparisons write boolean; the logical ones read and write boolean.
enum class Binary : std::uint8_t {
  add,
  sub,
  mul,
  div,
  power,
  maximum,
  minimum,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  logical_and,
  logical_or,
};

enum class Reduce : std::uint8_t { sum, max, min, any, all };  // any and all: boolean
enum class ArgReduce : std::uint8_t { argmax, argmin };        // first index among equals; NaN wins

/// Losses of values x and targets t, one by one (backends/losses.h).
enum class Loss : std::uint8_t {
  squared,   // (x - t)^2
  logistic,  // binary cross-entropy of sigmoid(x) and t
};

/// Distributions of random fills, with parameters a and b.
enum class Random : std::uint8_t {
  uniform,           // [a, b)
  normal,            // mean a, standard deviation b
  truncated_normal,  // standard normal cut to [a, b], by inversion
  bernoulli,         // 1 with probability a, else 0 (any dtype)
};

/// Attention of `heads` query heads over `kv_heads` key heads (heads a multiple of kv_heads):
/// q [batch, heads, q_length, d], k [batch, kv_heads, k_length, d], v [batch, kv_heads, k_length, d_v].
struct AttentionOptions {
  double scale = 1;     // scores = scale * q k^T
  double cap = 0;       // > 0: scores = cap * tanh(scores / cap), before the mask
  bool causal = false;  // query i sees keys 0 .. i + k_length - q_length (aligned at the end)
};

/// One AdamW or Adam update, equations of Loshchilov & Hutter (arXiv:1711.05101).
struct AdamOptions {
  double lr, beta1, beta2, eps, weight_decay;
  double correction1, correction2;  // 1 - beta^step
  bool decoupled;  // true: AdamW, decay multiplies the weights; false: decay is added to the gradient

  friend bool operator==(const AdamOptions&, const AdamOptions&) = default;
};

/// What an Adam update works on: contiguous views of one shape.
struct AdamTensors {
  View weight, gradient, m, v;
};

/// A sliding window over the last two axes of [n, c, h, w]; one axis less: an h of 1.
struct Window {
  std::int64_t kernel[2] = {1, 1}, stride[2] = {1, 1};
  std::int64_t padding[2] = {0, 0};  // zeros on both sides
  std::int64_t dilation[2] = {1, 1};

  /// Places of the window along an axis (0: h, 1: w) of this extent; 0 or less when it does not fit.
  std::int64_t places(int axis, std::int64_t extent) const {
    const std::int64_t room = extent + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1;
    return room < 0 ? 0 : room / stride[axis] + 1;
  }
};

/// The windows of a pool, along the last two axes of [n, c, h, w]: they slide as `window` says, or, adaptive,
/// window p is the bin [floor(p * extent / places), ceil((p + 1) * extent / places)) of an axis.
struct Pooling {
  Window window = {};
  bool adaptive = false;
  bool count_padding = true;  // in means; entries beyond the padding, which ceil_mode adds, never count

  /// Entries of an axis that a window sees: first, first + step, .. , `count` of them. Padding is not among
  /// them; `padded` says that the window begins in it, or sees nothing else.
  struct Entries {
    std::int64_t first, step, count;
    bool padded;
    std::int64_t last() const { return first + (count - 1) * step; }
  };
  Entries entries(int axis, std::int64_t place, std::int64_t places, std::int64_t extent) const;
  /// How many entries count in a mean.
  std::int64_t counted(int axis, std::int64_t place, std::int64_t places, std::int64_t extent) const;
};

/// Statistics of layer_norm that count as constants on the way back (Xu et al. 2019, arXiv:1911.07013).
struct Detached {
  bool mean = false, std = false;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Memory. allocate returns nullptr when there is none; the pointers are aligned to 64 bytes.
  virtual void* allocate(std::int64_t bytes) = 0;
  virtual void release(void* data, std::int64_t bytes) = 0;
  /// Bytes between this device and the host, in either direction; `host` is the host side.
  virtual void upload(void* device_data, const void* host, std::int64_t bytes) = 0;
  virtual void download(void* host, const void* device_data, std::int64_t bytes) = 0;
  /// Waits until all work given to the device is done.
  virtual void synchronize() {}

  // Capture, optional (core/captured_work.h).
  struct Captured {
    virtual ~Captured() = default;
    /// Random draws of the work go on from here.
    virtual void replay(RandomKey random) = 0;
  };
  /// From here to end_capture, work given to the device is kept instead of done. Keys of `random`'s seed that
  /// lie at or after its offset move along with the key of a replay, others stay. Throws Error on a device
  /// that cannot.
  virtual void begin_capture(RandomKey random);
  virtual std::unique_ptr<Captured> end_capture();

  // Required kernels.
  /// y = x, converting the dtype. float -> i64 truncates; anything -> boolean is x != 0.
  virtual void copy(View y, View x) = 0;
  /// y = value; integral is used for i64, so that all 64 bits arrive.
  virtual void fill(View y, double value, std::int64_t integral) = 0;
  virtual void unary(Unary op, View y, View x, double a, double b) = 0;
  /// All three views have y's shape (broadcast operands have strides of zero).
  virtual void binary(Binary op, View y, View a, View b) = 0;
  /// y = op(x, s), or op(s, x) with scalar_first. For i64 views s is rounded to an integer.
  virtual void binary_scalar(Binary op, View y, View x, double s, bool scalar_first) = 0;
  /// y = condition ? a : b
  virtual void where(View y, View condition, View a, View b) = 0;
  /// y has x's rank; its axes of extent 1 where x has more are reduced. An empty sum is 0; an empty max is
  /// -inf. f32 sums accumulate in blocks, in f64 between blocks. NaN wins in max and min.
  virtual void reduce(Reduce op, View y, View x) = 0;
  /// indices (i64) has x's shape with extent 1 at `axis`, where x has at least 1.
  virtual void arg_reduce(ArgReduce op, View indices, View x, int axis) = 0;
  /// y = inclusive running sum along an axis, from the end if `reverse`.
  virtual void cumsum(View y, View x, int axis, bool reverse) = 0;
  /// c = alpha * a b + beta * c. a [.., m, k], b [.., k, n], c [.., m, n], all of one rank >= 2, batch axes
  /// equal (strides of zero allowed in a and b). k = 0 gives beta * c. beta = 0 never reads c.
  virtual void matmul(View c, View a, View b, double alpha, double beta) = 0;
  /// y[i][j][k] = x[i][index[i][j][k]][k] (axis 1 shown). y and index have one shape; x has it too except at
  /// axis, where indices lie in [0, x.shape[axis]): checked here, throwing with value, position and range.
  virtual void gather(View y, View x, View index, int axis, const char* op) = 0;
  /// y[i][index[i][j][k]][k] += x[i][j][k]: the adjoint of gather; equal indices are added in index order.
  virtual void scatter_add(View y, View x, View index, int axis, const char* op) = 0;
  /// columns[n, (c, i, j), (p, q)] = x[n, c, p * stride + i * dilation - padding, ..]: what the window sees
  /// at each of its places, 0 in the padding. x [n, c, h, w], columns [n, c * kernel, places], both
  /// contiguous.
  virtual void unfold(View columns, View x, const Window& window) = 0;
  /// x = the sum of columns over all places that read it: the adjoint of unfold.
  virtual void fold(View x, View columns, const Window& window) = 0;
  /// Element i (row-major) of the contiguous view y is drawn from random_bits(key, i); of bernoulli, from
  /// mask_bits(key, i, ..).
  virtual void random(Random distribution, View y, RandomKey key, double a, double b) = 0;

  // Fused kernels, each optional. x, y, dx and dy are [rows, d], weight and bias [d]; statistics are f64,
  // [rows].
  /// y = x weight^T + bias, y contiguous [rows, out], x [rows, in] and weight [out, in] of any strides, bias
  /// contiguous [out].
  virtual bool linear(View /*y*/, View /*x*/, View /*weight*/, View /*bias*/) { return false; }
  /// y = the xs side by side along an axis, y contiguous, the xs of y's dtype, of any strides. A backend may
  /// have no kernel for some strides.
  virtual bool join(View /*y*/, std::span<const View> /*xs*/, int /*axis*/) { return false; }
  /// Along rows; of views [outer, d, inner] along d. A backend may have no kernel for these.
  virtual bool softmax(View /*y*/, View /*x*/, bool /*log*/) { return false; }
  /// dx from y (softmax: y * (dy - sum(y dy)); log: dy - exp(y) * sum(dy)).
  virtual bool softmax_backward(View /*dx*/, View /*y*/, View /*dy*/, bool /*log*/) { return false; }
  /// y = ln(sum(exp(x))) of each row, y and dy [rows].
  virtual bool logsumexp(View /*y*/, View /*x*/) { return false; }
  /// dx = dy softmax(x); 0 in a row of -inf alone.
  virtual bool logsumexp_backward(View /*dx*/, View /*dy*/, View /*x*/) { return false; }
  /// y, the largest or smallest x of each row, and dy are [rows]: dx = dy (x == y) / how many of the row do.
  virtual bool extreme_backward(View /*dx*/, View /*dy*/, View /*y*/, View /*x*/) { return false; }
  virtual bool layer_norm(View /*y*/, View /*mean*/, View /*rstd*/, View /*x*/, View /*weight*/,
                          View /*bias*/, double /*eps*/) {
    return false;
  }
  /// Any of dx, dweight, dbias may be absent.
  virtual bool layer_norm_backward(View /*dx*/, View /*dweight*/, View /*dbias*/, View /*dy*/, View /*x*/,
                                   View /*mean*/, View /*rstd*/, View /*weight*/, Detached /*constants*/) {
    return false;
  }
  /// inside: rstd = 1 / sqrt(mean(x^2) + eps); outside: rstd = 1 / (sqrt(mean(x^2)) + eps); the mean is over
  /// the first `counted` entries of a row, 1 <= counted <= d.
  virtual bool rms_norm(View /*y*/, View /*rstd*/, View /*x*/, View /*weight*/, double /*eps*/,
                        bool /*inside*/, std::int64_t /*counted*/) {
    return false;
  }
  virtual bool rms_norm_backward(View /*dx*/, View /*dweight*/, View /*dy*/, View /*x*/, View /*rstd*/,
                                 View /*weight*/, double /*eps*/, bool /*inside*/, std::int64_t /*counted*/) {
    return false;
  }
  /// sum = x + residual and y = layer_norm(sum), in one pass over memory.
  virtual bool add_layer_norm(View /*y*/, View /*sum*/, View /*mean*/, View /*rstd*/, View /*x*/,
                              View /*residual*/, View /*weight*/, View /*bias*/, double /*eps*/) {
    return false;
  }
  /// sum = x + residual and y = rms_norm(sum), all entries counted.
  virtual bool add_rms_norm(View /*y*/, View /*sum*/, View /*rstd*/, View /*x*/, View /*residual*/,
                            View /*weight*/, double /*eps*/, bool /*inside*/) {
    return false;
  }
  /// y = x / max(|x|, eps) * weight; norm[r] = |x[r]|, the 2-norm. weight: absent or [1].
  virtual bool l2_norm(View /*y*/, View /*norm*/, View /*x*/, View /*weight*/, double /*eps*/) {
    return false;
  }
  virtual bool l2_norm_backward(View /*dx*/, View /*dweight*/, View /*dy*/, View /*x*/, View /*norm*/,
                                View /*weight*/, double /*eps*/) {
    return false;
  }
  // Norms over channels: x, y, dx and dy are [n, channels, inner], weight and bias [channels].
  /// mean and biased variance of each channel over n and inner, f64 [channels]. mask: absent, or boolean [n,
  /// inner], false where an element does not count. No element counts: mean 0, variance 0.
  virtual bool batch_statistics(View /*mean*/, View /*var*/, View /*x*/, View /*mask*/) { return false; }
  /// y = (x - mean) * rstd * weight + bias, mean and rstd f64 [channels]; 0 where the mask is false.
  virtual bool batch_norm(View /*y*/, View /*x*/, View /*mask*/, View /*mean*/, View /*rstd*/,
                          View /*weight*/, View /*bias*/) {
    return false;
  }
  /// mean and rstd are functions of x, or constants. Any of dx, dweight, dbias may be absent.
  virtual bool batch_norm_backward(View /*dx*/, View /*dweight*/, View /*dbias*/, View /*dy*/, View /*x*/,
                                   View /*mask*/, View /*mean*/, View /*rstd*/, View /*weight*/,
                                   bool /*constant*/) {
    return false;
  }
  /// Statistics over `channels / groups` consecutive channels and inner; mean and rstd f64 [n, groups].
  virtual bool group_norm(View /*y*/, View /*mean*/, View /*rstd*/, View /*x*/, View /*weight*/,
                          View /*bias*/, std::int64_t /*groups*/, double /*eps*/) {
    return false;
  }
  virtual bool group_norm_backward(View /*dx*/, View /*dweight*/, View /*dbias*/, View /*dy*/, View /*x*/,
                                   View /*mean*/, View /*rstd*/, View /*weight*/, std::int64_t /*groups*/) {
    return false;
  }
  /// losses[r] = logsumexp(logits[r]) - (1 - s) logits[r][target] - s mean(logits[r]), 0 where target ==
  /// ignore. Targets outside [0, classes) other than ignore throw with value and position. lse: [rows].
  virtual bool cross_entropy(View /*losses*/, View /*lse*/, View /*logits*/, View /*targets*/,
                             std::int64_t /*ignore_index*/, double /*smoothing*/) {
    return false;
  }
  virtual bool cross_entropy_backward(View /*dlogits*/, View /*dlosses*/, View /*lse*/, View /*logits*/,
                                      View /*targets*/, std::int64_t /*ignore_index*/, double /*smoothing*/) {
    return false;
  }
  /// losses = the loss of each x and t, of their shape, or, where losses has no axes, the sum of these
  /// times scale. Contiguous views.
  virtual bool loss(Loss, View /*losses*/, View /*x*/, View /*t*/, double /*scale*/) { return false; }
  /// The gradients of x and t, either of which may be absent, times scale; dy of their shape or one element.
  virtual bool loss_backward(Loss, View /*dx*/, View /*dt*/, View /*dy*/, View /*x*/, View /*t*/,
                             double /*scale*/) {
    return false;
  }
  /// dx = dy op'(x), for views of any strides. v is y for relu, exp, expm1, sqrt, rsqrt, reciprocal, tanh and
  /// sigmoid, else x; a and b are the parameters of the op.
  virtual bool unary_gradient(Unary, View /*dx*/, View /*dy*/, View /*v*/, double /*a*/, double /*b*/) {
    return false;
  }
  /// The gradient of operand 0 or 1 of op(a, b), for views of any strides.
  virtual bool binary_gradient(Binary, int /*operand*/, View /*d*/, View /*dy*/, View /*a*/, View /*b*/) {
    return false;
  }
  // Convolution and its gradients: x and dx [n, channels, h, w], y and dy [n, filters, places h, places w],
  // weight [filters, channels / groups, kernel h, kernel w], bias [filters], optional. A backend may have no
  // kernel for some shapes.
  virtual bool convolution(View /*y*/, View /*x*/, View /*weight*/, View /*bias*/, const Window&,
                           std::int64_t /*groups*/) {
    return false;
  }
  virtual bool convolution_input_gradient(View /*dx*/, View /*dy*/, View /*weight*/, const Window&,
                                          std::int64_t /*groups*/) {
    return false;
  }
  virtual bool convolution_weight_gradient(View /*dweight*/, View /*dy*/, View /*x*/, const Window&,
                                           std::int64_t /*groups*/) {
    return false;
  }
  // Pools: x and dx [n, channels, h, w], y and dy [n, channels, places h, places w].
  /// The first of the largest entries of each window; NaN wins, padding is -inf. chosen: where it lies in its
  /// plane of x, -1 in the padding, in words that are the backend's own, i64 [numel of y]. Without data:
  /// places are not asked for; of +0 and -0, and of several NaN, y may then have another.
  virtual bool max_pool(View /*y*/, View /*chosen*/, View /*x*/, const Pooling&) { return false; }
  virtual bool max_pool_backward(View /*dx*/, View /*dy*/, View /*chosen*/) { return false; }
  virtual bool avg_pool(View /*y*/, View /*x*/, const Pooling&) { return false; }
  virtual bool avg_pool_backward(View /*dx*/, View /*dy*/, const Pooling&) { return false; }
  virtual bool gelu(View /*y*/, View /*x*/, bool /*tanh_form*/) { return false; }
  virtual bool gelu_backward(View /*dx*/, View /*x*/, View /*dy*/, bool /*tanh_form*/) { return false; }
  virtual bool silu(View /*y*/, View /*x*/) { return false; }
  virtual bool silu_backward(View /*dx*/, View /*x*/, View /*dy*/) { return false; }
  /// mask: absent, boolean (true = may attend) or floating (added), expanded to [batch, heads, q_length,
  /// k_length]. lse [batch, heads, q_length] is kept for the backward pass. Rows that see no key are 0.
  virtual bool attention(View /*y*/, View /*lse*/, View /*q*/, View /*k*/, View /*v*/, View /*mask*/,
                         const AttentionOptions&) {
    return false;
  }
  virtual bool attention_backward(View /*dq*/, View /*dk*/, View /*dv*/, View /*dy*/, View /*y*/,
                                  View /*lse*/, View /*q*/, View /*k*/, View /*v*/, View /*mask*/,
                                  const AttentionOptions&) {
    return false;
  }
  /// y = x * mask / (1 - p), the mask drawn as Random::bernoulli(1 - p) under key and written to kept, i64
  /// [ceil(n / 64)], element i as bit i % 8 of byte i / 8. Contiguous views.
  virtual bool dropout(View /*y*/, View /*kept*/, View /*x*/, RandomKey /*key*/, double /*p*/) {
    return false;
  }
  virtual bool dropout_backward(View /*dx*/, View /*dy*/, View /*kept*/, double /*p*/) { return false; }
  /// y[r] = table[index[r]]; y [rows, d], table [entries, d], index i64 [rows], checked as in gather.
  virtual bool embedding(View /*y*/, View /*table*/, View /*index*/) { return false; }
  /// dtable[index[r]] += dy[r], equal indices in order of r.
  virtual bool embedding_backward(View /*dtable*/, View /*dy*/, View /*index*/) { return false; }
  /// sum (f64, one element) = the squares of all elements of all views, added in f64. Contiguous views.
  virtual bool sum_of_squares(View /*sum*/, std::span<const View> /*xs*/) { return false; }
  /// In place on weights, first and second moments; all views of one dtype.
  virtual bool adam(std::span<const AdamTensors> /*all*/, const AdamOptions&) { return false; }
  /// adam as a part of work that is being captured: each replay reads the options anew.
  virtual bool adam_in_capture(std::span<const AdamTensors> /*all*/, std::shared_ptr<const AdamOptions>) {
    return false;
  }
};

/// The backend of a device; throws Error for cuda in a build without it.
Backend& backend(Device device);

// Makers, found by the linker. make_cuda_backend returns nullptr in a build without CUDA.
Backend* make_cpu_backend();
Backend* make_cuda_backend();
Backend* make_reference_backend();

}  // namespace norma
