#include "autograd/node.h"

#include "autograd/ops/kernels.h"
#include "core/profile.h"

namespace norma {
namespace {

thread_local bool grad_mode = true;
thread_local bool definitions_only = false;
thread_local bool anomaly_mode = false;

// A chain of a million nodes must not be freed by a million nested destructors. Whoever drops a node gives it
// to the list of the outermost release in progress on this thread. A plain pointer, so nothing is destroyed
// at exit.
thread_local std::vector<std::shared_ptr<Node>>* dying = nullptr;

void release_later(std::shared_ptr<Node> node) {
  if (node == nullptr || node.use_count() > 1) return;
  if (dying != nullptr) {
    dying->push_back(std::move(node));
    return;
  }
  std::vector<std::shared_ptr<Node>> list;
  dying = &list;
  node.reset();
  while (!list.empty()) {
    const std::shared_ptr<Node> last = std::move(list.back());
    list.pop_back();
  }
  dying = nullptr;
}

bool has_nan(const Array& x) {
  if (!is_floating(x.dtype()) || x.numel() == 0) return false;
  return kernels::reduce_all(Reduce::any, kernels::unary(Unary::is_nan, x)).item() != 0;
}

void check_anomaly(const char* name, const Array& value, detail::Inputs inputs) {
  if (!has_nan(value)) return;
  for (const auto& x : inputs) {
    if ((*x).defined() && has_nan((*x).array())) return;
  }
  detail::fail("anomaly: the forward pass of ", name, " made the first NaN (output shape ", value.shape(),
               "); none of its inputs holds one");
}

}  // namespace

bool grad_enabled() { return grad_mode; }
GradModeGuard::GradModeGuard(bool enabled) : previous_(grad_mode) { grad_mode = enabled; }
GradModeGuard::~GradModeGuard() { grad_mode = previous_; }

DefinitionsOnly::DefinitionsOnly() : previous_(definitions_only) { definitions_only = true; }
DefinitionsOnly::~DefinitionsOnly() { definitions_only = previous_; }
bool DefinitionsOnly::active() { return definitions_only; }

AnomalyMode::AnomalyMode(bool active) : previous_(anomaly_mode) { anomaly_mode = active; }
AnomalyMode::~AnomalyMode() { anomaly_mode = previous_; }
bool AnomalyMode::active() { return anomaly_mode; }

TensorState::~TensorState() { release_later(std::move(node)); }

Node::Node(const char* name_, std::size_t inputs) : name(name_) {
  if (inputs > few_.size()) many_.resize(inputs);
  edges = inputs > few_.size() ? std::span<Edge>(many_) : std::span(few_).first(inputs);
  static std::atomic<std::uint64_t> counter{0};
  sequence = counter.fetch_add(1, std::memory_order_relaxed);
}

Node::~Node() {
  for (Edge& edge : edges) release_later(std::move(edge.node));
}

const Tensor& Saved::get() const {
  if (!tensor_.defined()) return tensor_;
  const Array& array = tensor_.array();
  NORMA_CHECK(array.version() == version_, "backward: a value saved by the forward pass, shape ",
              array.shape(), tensor_.is_leaf() ? " (a leaf)" : " (made by ", tensor_.op_name(),
              tensor_.is_leaf() ? "" : ")", ", was changed in place after it was used: saved at version ",
              version_, ", now at version ", array.version(),
              "; clone it first, or move the change after backward()");
  return tensor_;
}

Tensor Backward::summed(std::size_t i, const Tensor& x) const {
  return needs(i) ? sum_to(x, node.edges[i].shape()) : Tensor();
}

Tensor Backward::output() const {
  NORMA_CHECK(node.kept_output.version() == node.kept_version, "backward: the result of ", node.name,
              ", shape ", node.shape, ", was changed in place after it was made: saved at version ",
              node.kept_version, ", now at version ", node.kept_output.version(),
              "; clone it first, or move the change after backward()");
  auto state = make_recycled<TensorState>(node.kept_output);
  state->node = std::const_pointer_cast<Node>(node.shared_from_this());
  state->seen_version = node.kept_version;
  return Tensor(std::move(state));
}

void check_defined(const char* op, const char* argument, const Tensor& x) {
  NORMA_CHECK(x.defined(), op, ": ", argument, " is an undefined tensor; expected one that holds values");
}

namespace detail {

bool should_record(const char* name, Inputs inputs) {
  if (!grad_mode) return false;
  bool wanted = false;
  for (const Input& x : inputs) {
    if (!(*x).defined()) continue;
    const TensorState& state = *(*x).state();
    NORMA_CHECK(
        state.seen_version >= state.array.recorded_version(), name, ": an input of shape ",
        state.array.shape(),
        " is stale: its memory was rewritten by a recorded in-place op of another tensor that shares it; "
        "take the view again after the change");
    wanted = wanted || state.requires_grad || state.node != nullptr;
  }
  return wanted;
}

namespace {

std::int64_t bytes_of(const Array& x) { return x.numel() * size_of(x.dtype()); }

// What must be moved for an op: its inputs and its result.
[[gnu::cold, gnu::noinline]] void note_op(const char* name, const Array& value, Inputs inputs,
                                          RecordOptions options) {
  std::int64_t moved = bytes_of(value);
  for (const Input& x : inputs) moved += (*x).defined() ? bytes_of((*x).array()) : 0;
  if (!is_host(value.device()))
    backend(value.device()).synchronize();  // the time of the work, not of its launch
  profile_op(name, value.view().data, bytes_of(value), options.is_view ? 0 : moved, options.is_view);
}

}  // namespace

Tensor attach(Array&& value, std::shared_ptr<Node> node, Inputs inputs, RecordOptions options) {
  if (profile_recorder != nullptr) [[unlikely]]
    note_op(node->name, value, inputs, options);
  if (anomaly_mode) check_anomaly(node->name, value, inputs);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!(*inputs[i]).defined()) continue;
    const auto& state = (*inputs[i]).state();
    Edge& edge = node->edges[i];
    if (state->node != nullptr) {
      edge.node = state->node;
    } else if (state->requires_grad) {
      edge.leaf = state;
    }
  }
  node->shape = value.shape();
  node->dtype = value.dtype();
  node->device = value.device();
  if (options.keep_output) {
    node->kept_output = value;
    node->kept_version = value.version();
  }
  auto state = make_recycled<TensorState>(std::move(value));
  state->seen_version = state->array.version();
  state->node = std::move(node);
  state->is_view = options.is_view;
  return Tensor(std::move(state));
}

Tensor without_history(const char* name, Array&& value, Inputs inputs, RecordOptions options) {
  if (profile_recorder != nullptr) [[unlikely]]
    note_op(name, value, inputs, options);
  if (anomaly_mode) check_anomaly(name, value, inputs);
  auto state = make_recycled<TensorState>(std::move(value));
  state->seen_version = state->array.version();
  state->is_view = options.is_view;
  return Tensor(std::move(state));
}

}  // namespace detail
}  // namespace norma
