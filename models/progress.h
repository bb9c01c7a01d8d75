// Lines that tell how a run goes: one that is rewritten on a terminal, plain ones elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace norma::models {

class Progress {
 public:
  /// `total` steps, of which `done` were made before; `limit` seconds, 0 for none; `items` are what a step
  /// counts.
  Progress(std::FILE* out, bool terminal, std::int64_t done, std::int64_t total, double limit,
           std::string items = "tokens");

  /// After each step. Shows the mean loss since the last line, items/s and the time left: on a terminal ten
  /// times a second, elsewhere every five seconds.
  void step(std::int64_t step, double loss, std::int64_t items);
  /// A line that stays.
  void say(const std::string& text);
  /// Since the start; time spent paused does not count for items/s.
  double seconds() const;
  /// Takes evaluations and saving out of items/s.
  void pause() { paused_ = Clock::now(); }
  void go_on() { window_start_ += Clock::now() - paused_; }

 private:
  using Clock = std::chrono::steady_clock;
  void show(std::int64_t step);

  std::FILE* out_;
  bool terminal_;
  std::int64_t done_, total_;
  double limit_;
  std::string items_;
  Clock::time_point start_ = Clock::now(), window_start_ = start_, paused_ = start_;
  std::int64_t window_steps_ = 0, window_items_ = 0;
  double window_loss_ = 0;
  bool line_open_ = false;
};

/// "12s", "3m 05s", "2h 10m"
std::string duration(double seconds);

}  // namespace norma::models
