#include "core/captured_work.h"

namespace norma {

CapturedWork::CapturedWork(Device device, const std::function<void()>& body) {
  Backend& kernels = backend(device);
  kernels.begin_capture();
  try {
    memory_ = std::make_unique<MemoryReservation>(device);
    body();
  } catch (...) {
    try {
      kernels.end_capture();
    } catch (const Error&) {  // says less than what came first
    }
    throw;
  }
  memory_->close();
  work_ = kernels.end_capture();
}

}  // namespace norma
