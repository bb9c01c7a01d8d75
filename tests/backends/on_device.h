// Operands on the device of a backend: host memory for the host's, copies of it for the others.
#pragma once

#include <list>

#include "tests/backends/operands.h"

namespace norma::tests {

/// A backend with the operands of one call.
class On {
 public:
  explicit On(Device device) : device_(device) {}

  Backend* operator->() const { return &backend(device_); }
  /// The operand as this backend can reach it, while this object lives.
  View operator()(const Operand& operand) {
    if (is_host(device_)) return operand.view;
    const auto bytes = static_cast<std::int64_t>(operand.memory.size());
    const Storage& copy = copies_.emplace_back(bytes, device_);
    backend(device_).upload(copy.data(), operand.memory.data(), bytes);
    View view = operand.view;
    const auto* const data = static_cast<const std::byte*>(operand.view.data);
    view.data = static_cast<std::byte*>(copy.data()) + (data - operand.memory.data());
    return view;
  }

 private:
  Device device_;
  std::list<Storage> copies_;
};

/// Calls call(on, y's view) on the device, and on the reference device with a twin of y, and compares; what
/// lies between the elements of y must stay as it is. y is left alone.
template <class Call>
void compare_with_reference(Device device, const Operand& y, double tolerance, Call&& call,
                            double scale = 1) {
  Operand got = Maker::twin(y), want = Maker::twin(y);
  On on(device), plain(reference);
  const View result = on(got);
  call(on, result);
  call(plain, want.view);
  if (!is_host(device)) {
    const auto* const start = static_cast<const std::byte*>(result.data) -
                              (static_cast<const std::byte*>(got.view.data) - got.memory.data());
    backend(device).download(got.memory.data(), start, static_cast<std::int64_t>(got.memory.size()));
  }
  check_close(got.view, want.view, tolerance, scale);
  // Without their elements, both are the same memory.
  backend(cpu).fill(got.view, 0, 0);
  backend(cpu).fill(want.view, 0, 0);
  CHECK(same_bits(got, want));
}

}  // namespace norma::tests
