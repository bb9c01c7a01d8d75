// Probe: what happens inside a model, layer by layer. A model hands its activations to note(), which passes
// them on and does nothing else unless a Recorder of this thread is alive:
//
//   Tensor operator()(const Tensor& x) { return down(probe::note("hidden", relu(up(x)))); }
//
//   const probe::Recorder recorder;
//   cross_entropy(model(x), targets).backward();
//   for (const probe::Record& r : recorder.records()) print(r.layer, r.std, r.gradient_norm);
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/tensor.h"

namespace norma::nn::probe {

/// The bounds of an activation such as tanh or sigmoid.
struct Range {
  double low = 0, high = 1;
};
/// Of the activation of this name (see nn::Activation); nothing for one without bounds.
std::optional<Range> range_of(std::string_view activation);

struct NoteOptions {
  int unit_axis = -1;               // its entries are the units (features, channels)
  std::optional<Range> range = {};  // absent: nothing counts as saturated
};

/// Statistics of one activation, computed in f64.
struct Record {
  std::string layer;         // names of the scopes and of the note, joined by dots; a repeated one ends in #2
  double mean = 0, std = 0;  // std: biased
  double max = 0;            // largest |value|
  double dead = 0;           // share of the units that are exactly 0 throughout the batch
  double saturated = 0;      // share of the values beyond 0.97 of the range, from its middle to either bound
  double gradient_norm = 0;  // 2-norm of the loss's gradient; NaN until a backward pass came by
};

/// Records what this thread notes until the end of the scope; the innermost one alone. Gradient norms are
/// filled in by the backward passes through what was noted, also after the scope.
class Recorder {
 public:
  Recorder();
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  /// In the order of the notes.
  const std::vector<Record>& records() const { return *records_; }

 private:
  friend class Scope;
  friend Tensor record(std::string_view, const Tensor&, const NoteOptions&);
  std::string unique_name(std::string_view name) const;

  std::shared_ptr<std::vector<Record>> records_ = std::make_shared<std::vector<Record>>();
  std::string prefix_;
  Recorder* outer_;
};

/// The recorder of this thread that is at work, or null.
inline constinit thread_local Recorder* current_recorder = nullptr;

inline bool is_recording() { return current_recorder != nullptr; }

/// Stops the recording of this thread until the end of the scope.
class Pause {
 public:
  Pause() : paused_(current_recorder) { current_recorder = nullptr; }
  ~Pause() { current_recorder = paused_; }
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

 private:
  Recorder* paused_;
};

/// Records x for the current recorder; what note() calls.
Tensor record(std::string_view name, const Tensor& x, const NoteOptions& options);

/// Returns x. Under a recorder, takes its statistics and watches for its gradient. Throws then for an x that
/// is undefined, not of a floating dtype, or lacks the axis of units.
inline Tensor note(std::string_view name, const Tensor& x, const NoteOptions& options = {}) {
  return is_recording() ? record(name, x, options) : x;
}

/// Puts "name." or "name.index." before the names of all notes until its end.
class Scope {
 public:
  explicit Scope(std::string_view name) : recorder_(current_recorder) {
    if (recorder_ != nullptr) enter(name, {});
  }
  Scope(std::string_view name, std::size_t index) : recorder_(current_recorder) {
    if (recorder_ != nullptr) enter(name, index);
  }
  ~Scope() {
    if (recorder_ != nullptr) recorder_->prefix_.resize(length_);
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  void enter(std::string_view name, std::optional<std::size_t> index);
  Recorder* recorder_;
  std::size_t length_ = 0;  // of the prefix outside
};

}  // namespace norma::nn::probe
