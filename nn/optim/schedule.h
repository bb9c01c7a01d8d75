// Learning-rate schedules: pure functions of the step, so that a run resumes from its step number alone.
#pragma once

#include <cstdint>
#include <string_view>

namespace norma::nn {

/// Steps count from 0: schedule(s) is the rate of update s. Every schedule warms up first: lr * (s + 1) /
/// warmup for s < warmup, so that step warmup - 1 has the full lr.
struct ScheduleOptions {
  double lr = 1e-3;             // the peak, >= 0
  double min_lr = 0;            // the end, in [0, lr]
  std::int64_t warmup = 0;      // steps
  std::int64_t total = 0;       // steps, warm-up included; 0: without end, so nothing decays towards it
  double decay_fraction = 0.1;  // wsd: the part of total that decays, in [0, 1]
};

/// A value: copy it, call it.
class Schedule {
 public:
  /// The rate at a step; step must be >= 0. Steps at total and beyond give min_lr where the schedule decays
  /// towards total.
  double operator()(std::int64_t step) const;

 private:
  friend Schedule make_schedule(std::string_view, ScheduleOptions);
  enum class Kind : std::uint8_t { constant, linear, cosine, inverse_sqrt, wsd };
  Schedule(Kind kind, ScheduleOptions options) : kind_(kind), options_(options) {}

  Kind kind_;
  ScheduleOptions options_;
};

/// After the warm-up, with p running from 0 at step warmup to 1 at step total:
///   constant      lr
///   linear        lr + p (min_lr - lr)
///   cosine        min_lr + (lr - min_lr) (1 + cos(pi p)) / 2   (Loshchilov & Hutter 2017, arXiv:1608.03983)
///   inverse_sqrt  max(min_lr, lr sqrt(max(warmup, 1) / (step + 1)))   (Vaswani et al. 2017, section 5.3)
///   wsd           lr, then linear to min_lr over the last decay_fraction * total steps
///                 (warm-up-stable-decay: Hu et al. 2024, arXiv:2404.06395)
/// Throws Error for an unknown name and for options out of range.
Schedule make_schedule(std::string_view name, ScheduleOptions options);

}  // namespace norma::nn
