#include "models/progress.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace norma::models {
namespace {

double to_seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

Progress::Progress(std::FILE* out, bool terminal, std::int64_t done, std::int64_t total, double limit,
                   std::string items)
    : out_(out), terminal_(terminal), done_(done), total_(total), limit_(limit), items_(std::move(items)) {}

void Progress::step(std::int64_t step, double loss, std::int64_t items) {
  ++window_steps_;
  window_items_ += items;
  window_loss_ += loss;
  const double since = to_seconds(Clock::now() - window_start_);
  if (since >= (terminal_ ? 0.1 : 5.0) || step == total_ || step == done_ + 1) show(step);
}

void Progress::show(std::int64_t step) {
  const double window = std::max(1e-9, to_seconds(Clock::now() - window_start_));
  const double passed = seconds();
  double left = passed / static_cast<double>(step - done_) * static_cast<double>(total_ - step);
  if (limit_ > 0) left = std::min(left, std::max(0.0, limit_ - passed));
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(), "step %*lld/%lld  loss %.4f  %.0f %s/s  %s left",
                static_cast<int>(std::to_string(total_).size()), static_cast<long long>(step),
                static_cast<long long>(total_), window_loss_ / static_cast<double>(window_steps_),
                static_cast<double>(window_items_) / window, items_.c_str(), duration(left).c_str());
  std::fprintf(out_, terminal_ ? "\r%s\x1b[K" : "%s\n", text.data());
  std::fflush(out_);
  line_open_ = terminal_;
  window_start_ = Clock::now();
  window_steps_ = window_items_ = 0;
  window_loss_ = 0;
}

void Progress::say(const std::string& text) {
  std::fprintf(out_, "%s%s\n", line_open_ ? "\n" : "", text.c_str());
  std::fflush(out_);
  line_open_ = false;
}

double Progress::seconds() const { return to_seconds(Clock::now() - start_); }

std::string duration(double seconds) {
  const auto whole = static_cast<long long>(std::lround(std::clamp(seconds, 0.0, 1e9)));
  std::array<char, 40> text{};
  if (whole < 60) {
    std::snprintf(text.data(), text.size(), "%llds", whole);
  } else if (whole < 3600) {
    std::snprintf(text.data(), text.size(), "%lldm %02llds", whole / 60, whole % 60);
  } else {
    std::snprintf(text.data(), text.size(), "%lldh %02lldm", whole / 3600, whole / 60 % 60);
  }
  return text.data();
}

}  // namespace norma::models
