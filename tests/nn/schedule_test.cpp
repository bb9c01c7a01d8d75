#include "nn/optim/schedule.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/messages.h"

using namespace norma;
using doctest::Approx;

TEST_SUITE_BEGIN("schedule");

TEST_CASE("R131 every schedule warms up to lr and stays finite") {
  for (const char* name : {"constant", "linear", "cosine", "inverse_sqrt", "wsd"}) {
    CAPTURE(name);
    const auto schedule = nn::make_schedule(name, {.lr = 2, .min_lr = 0.5, .warmup = 4, .total = 12});
    CHECK(schedule(0) == 0.5);
    CHECK(schedule(1) == 1);
    CHECK(schedule(3) == 2);  // last warm-up step
    double last = 2;
    for (std::int64_t step = 4; step < 40; ++step) {
      const double rate = schedule(step);
      CHECK(rate <= last);
      CHECK(rate >= 0.5);
      last = rate;
    }
    for (const std::int64_t warmup : {0, 1, 5}) {
      for (const std::int64_t total : {0, 1, 5, 6}) {
        const auto edge = nn::make_schedule(name, {.lr = 2, .min_lr = 0.5, .warmup = warmup, .total = total});
        for (const std::int64_t step : {std::int64_t{0}, std::int64_t{1}, std::int64_t{4}, std::int64_t{5},
                                        std::int64_t{6}, INT64_MAX}) {
          CHECK(std::isfinite(edge(step)));
          CHECK(edge(step) > 0);
        }
      }
    }
  }
}

TEST_CASE("R131 values between warm-up, end and beyond") {
  const nn::ScheduleOptions options{.lr = 2, .min_lr = 1, .warmup = 2, .total = 10, .decay_fraction = 0.5};
  const auto constant = nn::make_schedule("constant", options), linear = nn::make_schedule("linear", options),
             cosine = nn::make_schedule("cosine", options), wsd = nn::make_schedule("wsd", options),
             inverse_sqrt = nn::make_schedule("inverse_sqrt", {.lr = 2, .min_lr = 0.25, .warmup = 4});
  CHECK(constant(1000) == 2);
  CHECK(linear(2) == 2);
  CHECK(linear(6) == 1.5);
  CHECK(linear(9) == 1.125);  // last step of the run
  CHECK(linear(10) == 1);
  CHECK(linear(1000) == 1);
  CHECK(cosine(2) == 2);
  CHECK(cosine(4) == Approx(1.5 + 0.5 * std::sqrt(0.5)).epsilon(1e-12));
  CHECK(cosine(6) == Approx(1.5).epsilon(1e-12));
  CHECK(cosine(10) == 1);
  CHECK(cosine(1000) == 1);
  CHECK(wsd(5) == 2);
  CHECK(wsd(6) == Approx(1.8).epsilon(1e-12));
  CHECK(wsd(9) == Approx(1.2).epsilon(1e-12));
  CHECK(wsd(10) == 1);
  CHECK(inverse_sqrt(15) == 1);
  CHECK(inverse_sqrt(63) == 0.5);
  CHECK(inverse_sqrt(1'000'000) == 0.25);
}

TEST_CASE("R131 without an end nothing decays towards it") {
  for (const char* name : {"linear", "cosine", "wsd"}) {
    const auto schedule = nn::make_schedule(name, {.lr = 2, .warmup = 2});
    CHECK(schedule(0) == 1);
    CHECK(schedule(2) == 2);
    CHECK(schedule(1'000'000) == 2);
  }
}

TEST_CASE("wrong schedule options are named") {
  CHECK_THROWS_MESSAGE_HAS(nn::make_schedule("cosin", {}),
                           "unknown name \"cosin\"; expected constant, linear");
  CHECK_THROWS_MESSAGE_HAS(nn::make_schedule("cosine", {.lr = -1}), "lr must be finite and >= 0");
  CHECK_THROWS_MESSAGE_HAS(nn::make_schedule("cosine", {.lr = 1, .min_lr = 2}),
                           "min_lr must lie in [0, lr = 1]");
  CHECK_THROWS_MESSAGE_HAS(nn::make_schedule("cosine", {.warmup = -1}), "warmup and total");
  CHECK_THROWS_MESSAGE_HAS(nn::make_schedule("wsd", {.decay_fraction = 1.5}), "decay_fraction");
  CHECK_THROWS_MESSAGE_HAS(nn::make_schedule("constant", {})(-1), "step must be >= 0");
}

TEST_SUITE_END();
