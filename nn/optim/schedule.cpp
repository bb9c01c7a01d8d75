#include "nn/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/check.h"

namespace norma::nn {
namespace {

constexpr std::string_view names[] = {"constant", "linear", "cosine", "inverse_sqrt", "wsd"};

}  // namespace

Schedule make_schedule(std::string_view name, ScheduleOptions options) {
  const auto* found = std::find(std::begin(names), std::end(names), name);
  NORMA_CHECK(found != std::end(names), "make_schedule: unknown name \"", name,
              "\"; expected constant, linear, cosine, inverse_sqrt or wsd");
  NORMA_CHECK(std::isfinite(options.lr) && options.lr >= 0, "make_schedule: lr must be finite and >= 0, got ",
              options.lr);
  NORMA_CHECK(options.min_lr >= 0 && options.min_lr <= options.lr,
              "make_schedule: min_lr must lie in [0, lr = ", options.lr, "], got ", options.min_lr);
  NORMA_CHECK(options.warmup >= 0 && options.total >= 0, "make_schedule: warmup and total must be >= 0, got ",
              options.warmup, " and ", options.total);
  NORMA_CHECK(options.decay_fraction >= 0 && options.decay_fraction <= 1,
              "make_schedule: decay_fraction must lie in [0, 1], got ", options.decay_fraction);
  return Schedule(static_cast<Schedule::Kind>(found - std::begin(names)), options);
}

double Schedule::operator()(std::int64_t step) const {
  NORMA_CHECK(step >= 0, "schedule: step must be >= 0, got ", step);
  const double lr = options_.lr, min_lr = options_.min_lr;
  const auto s = static_cast<double>(step);
  const auto w = static_cast<double>(options_.warmup), n = static_cast<double>(options_.total);
  if (s < w) return lr * (s + 1) / w;
  // The part of [start, total] that has passed at this step.
  const auto progress = [&](double start) {
    if (n == 0) return 0.0;
    return s >= n ? 1.0 : std::clamp((s - start) / (n - start), 0.0, 1.0);
  };
  switch (kind_) {
    case Kind::constant:
      break;
    case Kind::linear:
      return lr + progress(w) * (min_lr - lr);
    case Kind::cosine:
      return min_lr + (lr - min_lr) * (1 + std::cos(std::numbers::pi * progress(w))) / 2;
    case Kind::inverse_sqrt:
      return std::max(min_lr, lr * std::sqrt(std::max(w, 1.0) / (s + 1)));
    case Kind::wsd:
      return lr + progress(std::max(w, n - options_.decay_fraction * n)) * (min_lr - lr);
  }
  return lr;
}

}  // namespace norma::nn
