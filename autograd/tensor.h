// Tensor = Array + history: what users touch. A Tensor is a handle; copies share the array, the history and
// the gradient. Names, defaults and meanings are PyTorch's.
#pragma once

#include <concepts>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/array.h"

namespace norma {

class Tensor;
struct Node;
struct TensorState;

/// Written for legibility: x.sum(-1, keepdim).
inline constexpr bool keepdim = true;

/// A set of axes: one (`-1`), several (`{0, 2}`), or all (empty). Negative axes count from the end.
class Axes {
 public:
  Axes() = default;
  Axes(int axis) : axes_{axis} {}
  Axes(std::initializer_list<int> axes) : axes_(axes) {}
  Axes(std::vector<int> axes) : axes_(std::move(axes)) {}
  const std::vector<int>& list() const { return axes_; }
  bool all() const { return axes_.empty(); }

 private:
  std::vector<int> axes_;
};

/// One place of an index: a position (the axis disappears) or a range.
struct Index {
  Index(std::integral auto position) : range{static_cast<std::int64_t>(position), 0, 0}, is_position(true) {}
  Index(Slice range_) : range(range_), is_position(false) {}
  Slice range;
  bool is_position;
};

/// Sees a gradient on its way; returns a replacement, or an undefined tensor to leave it as it is.
using Hook = std::function<Tensor(const Tensor& gradient)>;

struct BackwardOptions {
  bool retain_graph = false;  // keep saved values for another backward
  bool create_graph =
      false;  // record the backward pass, so that gradients can be differentiated; implies retain
};

class Tensor {
 public:
  /// Undefined. Passing it to an op throws, unless the op says that the argument is optional.
  Tensor() = default;
  /// A leaf without history.
  explicit Tensor(Array array);
  /// A rank-0 tensor.
  static Tensor scalar(double value, DType dtype = f32, Device device = cpu);

  bool defined() const { return state_ != nullptr; }
  const Array& array() const;
  const Shape& shape() const { return array().shape(); }
  std::int64_t size(int axis) const { return shape()[axis]; }
  int dim() const { return shape().rank(); }
  std::int64_t numel() const { return array().numel(); }
  DType dtype() const { return array().dtype(); }
  Device device() const { return array().device(); }
  double item() const { return array().item(); }
  double at(std::initializer_list<std::int64_t> index) const { return array().at(index); }
  template <class T>
  std::vector<T> to_vector() const {
    return array().to_vector<T>();
  }
  std::string to_string() const;

  // History.
  bool requires_grad() const;
  /// Marks a leaf as wanting a gradient (or not). Throws for interior tensors and non-floating dtypes.
  Tensor& set_requires_grad(bool requires_grad = true);
  bool is_leaf() const;
  /// Name of the op that made this tensor; "" for leaves.
  const char* op_name() const;
  /// The gradient accumulated in this leaf (or in an interior tensor after retain_grad()); undefined if none.
  Tensor grad() const;
  void set_grad(const Tensor& gradient) const;
  void zero_grad() const { set_grad(Tensor()); }
  /// Keeps the gradient of this interior tensor at the next backward passes.
  void retain_grad() const;
  /// Calls `hook` whenever a backward pass has the whole gradient of this tensor. A hook that holds this very
  /// tensor makes a cycle that nobody frees: capture what you need instead.
  void register_hook(Hook hook) const;
  /// Gradients of this tensor (one element, unless `gradient` is given) with respect to all leaves it came
  /// from are added to their grad(). Throws when it requires no gradient, on shapes that differ, when the
  /// graph has been freed by an earlier backward, and when a saved value was changed in place since.
  void backward(const Tensor& gradient = {}, BackwardOptions options = {}) const;

  /// The same memory and version counter, without history.
  Tensor detach() const;
  Tensor clone() const;
  Tensor contiguous() const;
  Tensor to(DType dtype) const;
  Tensor to(Device device) const;

  // Shape. Views share memory with this tensor.
  Tensor reshape(std::vector<std::int64_t> shape) const;
  Tensor view(std::vector<std::int64_t> shape) const;  // throws where reshape would copy
  Tensor flatten(int first = 0, int last = -1) const;
  Tensor unflatten(int axis, std::vector<std::int64_t> extents) const;
  Tensor permute(std::vector<int> axes) const;
  Tensor transpose(int axis0, int axis1) const;
  Tensor t() const;  // matrix transpose of rank 2
  Tensor squeeze(int axis) const;
  Tensor unsqueeze(int axis) const;
  Tensor expand(const Shape& shape) const;
  Tensor slice(int axis, Slice range) const;
  Tensor narrow(int axis, std::int64_t start, std::int64_t length) const;
  Tensor select(int axis, std::int64_t position) const;
  Tensor operator[](std::int64_t position) const { return select(0, position); }
  /// x.index({2, Slice{0, 5}}): NumPy's basic indexing of the leading axes.
  Tensor index(std::initializer_list<Index> places) const;
  std::vector<Tensor> split(std::int64_t size, int axis = 0) const;
  std::vector<Tensor> chunk(std::int64_t chunks, int axis = 0) const;

  // Elementwise.
  Tensor operator-() const;
  Tensor exp() const;
  Tensor log() const;
  Tensor sqrt() const;
  Tensor rsqrt() const;
  Tensor tanh() const;
  Tensor erf() const;
  Tensor sigmoid() const;
  Tensor relu() const;
  Tensor abs() const;
  Tensor sign() const;
  Tensor square() const;
  Tensor reciprocal() const;
  Tensor sin() const;
  Tensor cos() const;
  Tensor pow(double exponent) const;
  Tensor pow(const Tensor& exponent) const;
  Tensor clamp(double low, double high) const;
  Tensor masked_fill(const Tensor& mask, double value) const;
  Tensor isnan() const;
  Tensor isfinite() const;

  // Reductions; no axes = all.
  Tensor sum(const Axes& axes = {}, bool keep = false) const;
  Tensor mean(const Axes& axes = {}, bool keep = false) const;
  /// unbiased divides by n - 1.
  Tensor var(const Axes& axes = {}, bool unbiased = true, bool keep = false) const;
  Tensor std(const Axes& axes = {}, bool unbiased = true, bool keep = false) const;
  /// 2-norm; its gradient at a zero vector is zero.
  Tensor norm(const Axes& axes = {}, bool keep = false) const;
  Tensor max() const;
  Tensor min() const;
  /// {values, indices (i64)}; among equals the first, which alone receives the gradient.
  std::pair<Tensor, Tensor> max(int axis, bool keep = false) const;
  std::pair<Tensor, Tensor> min(int axis, bool keep = false) const;
  Tensor amax(const Axes& axes = {}, bool keep = false) const;  // the gradient is shared equally among equals
  Tensor argmax(int axis = -1, bool keep = false) const;
  Tensor argmin(int axis = -1, bool keep = false) const;
  Tensor any() const;
  Tensor all() const;
  Tensor cumsum(int axis) const;
  Tensor softmax(int axis = -1) const;
  Tensor log_softmax(int axis = -1) const;
  Tensor logsumexp(const Axes& axes = -1, bool keep = false) const;

  Tensor matmul(const Tensor& other) const;
  Tensor gather(int axis, const Tensor& index) const;
  Tensor index_select(int axis, const Tensor& index) const;
  Tensor tril(std::int64_t diagonal = 0) const;
  Tensor triu(std::int64_t diagonal = 0) const;

  // In place. The result takes this tensor's place in the graph. Throws on a leaf that requires a gradient,
  // and on a view while recording, since the tensors it shares memory with would not learn of it.
  const Tensor& add_(const Tensor& other) const;
  const Tensor& sub_(const Tensor& other) const;
  const Tensor& mul_(const Tensor& other) const;
  const Tensor& div_(const Tensor& other) const;
  const Tensor& add_(double value) const;
  const Tensor& mul_(double value) const;
  const Tensor& copy_(const Tensor& source) const;  // broadcast, converted
  const Tensor& fill_(double value) const;
  const Tensor& zero_() const { return fill_(0); }
  const Tensor& operator+=(const Tensor& other) const { return add_(other); }
  const Tensor& operator-=(const Tensor& other) const { return sub_(other); }
  const Tensor& operator*=(const Tensor& other) const { return mul_(other); }
  const Tensor& operator/=(const Tensor& other) const { return div_(other); }
  const Tensor& operator+=(double value) const { return add_(value); }
  const Tensor& operator-=(double value) const { return add_(-value); }
  const Tensor& operator*=(double value) const { return mul_(value); }
  const Tensor& operator/=(double value) const { return mul_(1 / value); }

  /// True when both are handles of the same tensor.
  bool is_same(const Tensor& other) const { return state_ == other.state_; }
  /// For the engine and for ops; users have no need of it.
  const std::shared_ptr<TensorState>& state() const& { return state_; }
  std::shared_ptr<TensorState> state() && { return std::move(state_); }
  explicit Tensor(std::shared_ptr<TensorState> state) : state_(std::move(state)) {}

 protected:
  std::shared_ptr<TensorState> state_;
};

/// d(sum of outputs * grad_outputs)/d(inputs), without touching any grad(). An input that the outputs do not
/// depend on throws, or gives an undefined tensor with allow_unused. An undefined grad_output counts as 1 for
/// one element when the list is empty, and as zero otherwise.
struct GradOptions {
  bool retain_graph = false;
  bool create_graph = false;
  bool allow_unused = false;
};
std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const std::vector<Tensor>& grad_outputs = {}, GradOptions options = {});

/// Recording is per thread, on at start.
bool grad_enabled();

/// Turns recording off (or on) until the end of the scope.
class GradModeGuard {
 public:
  explicit GradModeGuard(bool enabled);
  ~GradModeGuard();
  GradModeGuard(const GradModeGuard&) = delete;
  GradModeGuard& operator=(const GradModeGuard&) = delete;

 private:
  bool previous_;
};
struct NoGrad : GradModeGuard {
  NoGrad() : GradModeGuard(false) {}
};
struct EnableGrad : GradModeGuard {
  EnableGrad() : GradModeGuard(true) {}
};

/// While one lives, every op of this thread runs its definition instead of its kernel: the oracle of the
/// tests.
class DefinitionsOnly {
 public:
  DefinitionsOnly();
  ~DefinitionsOnly();
  DefinitionsOnly(const DefinitionsOnly&) = delete;
  DefinitionsOnly& operator=(const DefinitionsOnly&) = delete;
  static bool active();

 private:
  bool previous_;
};

/// While one lives, the first op of this thread whose result (forward) or gradient (backward) holds a NaN
/// that was not in its inputs throws Error with its name. Slow: every result is scanned.
class AnomalyMode {
 public:
  explicit AnomalyMode(bool active = true);
  ~AnomalyMode();
  AnomalyMode(const AnomalyMode&) = delete;
  AnomalyMode& operator=(const AnomalyMode&) = delete;
  static bool active();

 private:
  bool previous_;
};

}  // namespace norma
