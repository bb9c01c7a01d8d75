// Work of a device that is captured once and replayed at one call: on cuda a CUDA graph, whose replay costs
// one launch instead of hundreds.
//
//   train();                                 // once or twice before: settles moments and memory
//   CapturedWork step(cuda, [&] { train(); });
//   for (...) {
//     x.copy_(batch);                        // new values in the memory that was there at the capture
//     step.replay();
//   }
#pragma once

#include <functional>
#include <memory>

#include "core/allocator.h"
#include "core/backend.h"

namespace norma {

/// Replays do again what was given to the device, with the same memory and the same numbers: learning rate,
/// count of steps and random keys are those of the capture, host code does not run. Results lie where the
/// capture put them. Memory that was handed out during the capture is kept apart as long as this object
/// lives.
class CapturedWork {
 public:
  /// Runs body once on the host; its work on the device is kept instead of done. Body must not wait for the
  /// device or exchange data with it: that throws Error, as does a device that cannot capture, and what body
  /// throws goes through; nothing is captured then.
  CapturedWork(Device device, const std::function<void()>& body);

  /// Gives all of it to the device once more, in order with other work.
  void replay() const { work_->replay(); }

 private:
  std::unique_ptr<MemoryReservation> memory_;  // outlives the work
  std::unique_ptr<Backend::Captured> work_;
};

}  // namespace norma
