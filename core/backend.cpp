#include "core/backend.h"

namespace norma {

void Backend::begin_capture(RandomKey /*random*/) {
  detail::fail("capture: this device does its work at once; only cuda can keep and replay it");
}
std::unique_ptr<Backend::Captured> Backend::end_capture() { return nullptr; }

// Backends live until the process ends: arrays may be freed by destructors that run after main.
Backend& backend(Device device) {
  switch (device) {
    case Device::cpu: {
      static Backend* const made = make_cpu_backend();
      return *made;
    }
    case Device::reference: {
      static Backend* const made = make_reference_backend();
      return *made;
    }
    case Device::cuda:
      break;
  }
  NORMA_CHECK(device == Device::cuda, "backend: unknown device number ", static_cast<int>(device));
  static Backend* const made = make_cuda_backend();
  NORMA_CHECK(
      made != nullptr,
      "device cuda: this build of Norma has no CUDA backend; build with make CUDA=1 (or CUDA=emulate, which "
      "needs no GPU), or use device cpu");
  return *made;
}

}  // namespace norma
