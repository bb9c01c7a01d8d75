// Parameters and buffers: tensors with identity.
#include "nn/module.h"

#include <atomic>
#include <functional>
#include <mutex>
#include <set>

#include "nn/parameter_registry.h"

namespace norma::nn {
namespace {

std::atomic<std::int64_t> live{0};

// Addresses of all live parameters, in debug builds only. Never destroyed: parameters may outlive main.
struct Registry {
  std::mutex mutex;
  std::set<const Parameter*, std::less<const Parameter*>> addresses;
};

Registry& registry() {
  static auto* const all = new Registry;
  return *all;
}

void enter(const Parameter* parameter) {
  ++live;
  if constexpr (detail::tracks_parameters) {
    const std::lock_guard lock(registry().mutex);
    registry().addresses.insert(parameter);
  }
}

void leave(const Parameter* parameter) {
  --live;
  if constexpr (detail::tracks_parameters) {
    const std::lock_guard lock(registry().mutex);
    registry().addresses.erase(parameter);
  }
}

Tensor copied(const Tensor& values) { return values.defined() ? Tensor(values.array().clone()) : Tensor(); }

Tensor trainable(const Tensor& values, bool requires_grad) {
  Tensor copy = copied(values);
  if (copy.defined()) {
    NORMA_CHECK(is_floating(copy.dtype()), "Parameter: needs a floating dtype, got ", copy.dtype());
    copy.set_requires_grad(requires_grad);
  }
  return copy;
}

// Values go into the memory that is there, so that handles of it (an optimizer's) stay right.
void write(const char* what, const Tensor& target, const Tensor& values) {
  NORMA_CHECK(values.shape() == target.shape(), what, ": assigned values must have shape ", target.shape(),
              ", got ", values.shape());
  target.array().copy_from(values.array());
}

}  // namespace

Parameter::Parameter() { enter(this); }
Parameter::Parameter(const Tensor& values) : Tensor(trainable(values, true)) { enter(this); }
Parameter::Parameter(const Parameter& other)
    : Tensor(trainable(other, other.defined() && other.requires_grad())) {
  enter(this);
}
Parameter::Parameter(Parameter&& other) noexcept : Tensor(std::move(other)) { enter(this); }
Parameter::~Parameter() { leave(this); }

Parameter& Parameter::operator=(const Parameter& other) {
  if (this == &other) return *this;
  if (defined() && other.defined()) {
    write("Parameter", *this, other);
  } else {
    Tensor::operator=(trainable(other, other.defined() && other.requires_grad()));
  }
  return *this;
}

Parameter& Parameter::operator=(Parameter&& other) {
  if (this == &other) return *this;
  if (defined() && other.defined()) {
    write("Parameter", *this, other);
  } else {
    Tensor::operator=(std::move(other));
  }
  return *this;
}

Parameter& Parameter::operator=(const Tensor& values) {
  if (defined() && values.defined()) {
    write("Parameter", *this, values);
  } else {
    Tensor::operator=(trainable(values, true));
  }
  return *this;
}

std::int64_t Parameter::live_count() { return live; }

Buffer::Buffer(const Tensor& values) : Tensor(copied(values)) {}
Buffer::Buffer(const Buffer& other) : Tensor(copied(other)) {}

Buffer& Buffer::operator=(const Buffer& other) { return *this = static_cast<const Tensor&>(other); }

Buffer& Buffer::operator=(Buffer&& other) {
  if (this == &other) return *this;
  if (defined() && other.defined()) {
    write("Buffer", *this, other);
  } else {
    Tensor::operator=(std::move(other));
  }
  return *this;
}

Buffer& Buffer::operator=(const Tensor& values) {
  if (is_same(values)) return *this;
  if (defined() && values.defined()) {
    write("Buffer", *this, values);
  } else {
    Tensor::operator=(copied(values));
  }
  return *this;
}

namespace detail {

std::vector<const Parameter*> live_parameters(const void* begin, std::size_t bytes) {
  std::vector<const Parameter*> found;
  const std::lock_guard lock(registry().mutex);
  const auto* const first = static_cast<const std::byte*>(begin);
  const auto& all = registry().addresses;
  for (auto it = all.lower_bound(reinterpret_cast<const Parameter*>(first)); it != all.end(); ++it) {
    if (reinterpret_cast<const std::byte*>(*it) >= first + bytes) break;
    found.push_back(*it);
  }
  return found;
}

}  // namespace detail
}  // namespace norma::nn
