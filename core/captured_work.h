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

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/allocator.h"
#include "core/backend.h"

namespace norma {

/// Replays do again what was given to the device, with the same memory; results lie where the capture put
/// them. Host code does not run again, so numbers that it computed are those of the capture, but for two
/// kinds: draws from the default generator go on where it stands, as if the work were given anew, and what
/// before_replay keeps up to date (steps of optimizers). Memory that was handed out during the capture is
/// kept apart as long as this object lives; whatever else the work uses must live as long and stay in place.
class CapturedWork {
 public:
  /// Runs body once on the host; its work on the device is kept instead of done, and the default generator
  /// stands afterwards where it stood. Body must not wait for the device, exchange data with it, seed the
  /// default generator or draw from another one: that throws Error, as does a device that cannot capture, and
  /// what body throws goes through; nothing is captured then.
  CapturedWork(Device device, const std::function<void()>& body);
  CapturedWork(const CapturedWork&) = delete;
  CapturedWork& operator=(const CapturedWork&) = delete;

  /// Gives all of it to the device once more, in order with other work, and moves the calling thread's
  /// default generator on. What a check of before_replay throws goes through; nothing is done then.
  void replay() const;

  /// The work of `device` that the calling thread is capturing; nullptr when there is none.
  static CapturedWork* current(Device device);
  /// For the body: what the host does before each replay, in the order of these calls. All checks run first.
  void before_replay(std::function<void()> action, std::function<void()> check = {});

 private:
  class Scope;

  Device device_;
  std::unique_ptr<MemoryReservation> memory_;  // outlives the rest
  std::vector<std::function<void()>> checks_, actions_;
  std::unique_ptr<Backend::Captured> work_;
  std::int64_t drawn_ = 0;  // places that the default generator moved on
};

}  // namespace norma
