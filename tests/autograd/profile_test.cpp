// Profiles: which ops are noted, under which name and phase, and that their times add up.
#include "core/profile.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "autograd/fused.h"
#include "autograd/normalization.h"
#include "autograd/ops/kernels.h"
#include "nn/linear.h"
#include "nn/optim/clip.h"
#include "nn/optim/optimizer.h"

using namespace norma;
using Phase = Profile::Phase;

namespace {

std::optional<Profile::Row> find_row(const Profile& profile, const std::string& name,
                                     Phase phase = Phase::forward) {
  for (const Profile::Row& row : profile.rows()) {
    if (row.name == name && row.phase == phase) return row;
  }
  return std::nullopt;
}
std::int64_t calls(const Profile& profile, const std::string& name, Phase phase = Phase::forward) {
  const auto row = find_row(profile, name, phase);
  return row ? row->calls : 0;
}
double seconds(const Profile& profile, const std::string& name, Phase phase = Phase::forward) {
  const auto row = find_row(profile, name, phase);
  return row ? row->seconds : 0;
}
double total(const Profile& profile) {
  double sum = 0;
  for (const Profile::Row& row : profile.rows()) sum += row.seconds;
  return sum;
}

void wait(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) continue;
}
constexpr double ms = 1e-3;

// A user's primitive with a loop of its own that takes 5 ms, and 3 ms on the way back.
Tensor slow_copy(const Tensor& x) {
  Array y = Array::empty(x.shape(), x.dtype());
  std::copy_n(x.array().contiguous().data<float>(), x.numel(), y.data<float>());
  wait(std::chrono::milliseconds(5));
  return record("slow_copy", y, {x}, [](const Backward& b) -> Gradients {
    wait(std::chrono::milliseconds(3));
    return {b.dy};
  });
}

struct SlowScale {
  static constexpr const char* name = "slow_scale";
  bool fails = false;
  Tensor definition(const Tensor& x) const { return x * 2; }
  std::optional<Array> forward(Kept&, const Array& x) const {
    wait(std::chrono::milliseconds(4));
    if (fails) throw Error("slow_scale fails");
    return kernels::binary_scalar(Binary::mul, x, 2);
  }
  std::array<Array, 1> backward(const Kept&, const Wanted&, const Array& dy, const Array&) const {
    return {kernels::binary_scalar(Binary::mul, dy, 2)};
  }
};

}  // namespace

TEST_CASE("a profile counts ops by name, forward and backward, with their bytes") {
  const Tensor x = randn({64, 32}).set_requires_grad(), w = randn({32, 16}).set_requires_grad();
  const Profile profile;
  (x.matmul(w).tanh() + 1.0).sum().backward();
  for (const char* op : {"matmul", "tanh", "sum"}) {
    CAPTURE(op);
    CHECK(calls(profile, op) == 1);
    CHECK(calls(profile, op, Phase::backward) == 1);
  }
  // The rule of tanh multiplies, that of matmul multiplies matrices: parts of them, not ops of their own.
  CHECK(calls(profile, "mul") == 0);
  CHECK(find_row(profile, "matmul")->bytes == 4 * (64 * 32 + 32 * 16 + 64 * 16));
  CHECK(find_row(profile, "matmul", Phase::backward)->bytes == 4 * (64 * 16 + 64 * 32 + 32 * 16));
  CHECK(total(profile) > 0);
  CHECK(total(profile) <= profile.seconds());
}

TEST_CASE("a profile names what is no op of the graph by its kernel") {
  const Tensor x = randn({100});
  const Profile profile;
  const Tensor smaller = x < 0.0;
  const Tensor y = randn({100});
  const Tensor joined = x.exp() + y;
  CHECK(calls(profile, "less") == 1);
  CHECK(calls(profile, "random") == 1);
  CHECK(calls(profile, "exp") == 1);
  CHECK(calls(profile, "add") == 1);
}

TEST_CASE("views take no time in a profile") {
  const Tensor x = randn({100, 10});
  const Profile profile;
  const Tensor y = x.t().reshape({10, 100}).narrow(0, 0, 2);
  const auto rows = profile.rows();
  REQUIRE(!rows.empty());
  for (const Profile::Row& row : rows) {
    if (row.name == "reshape") continue;  // of a transpose: a copy
    CAPTURE(row.name);
    CHECK(row.seconds == 0);
    CHECK(row.bytes == 0);
  }
}

TEST_CASE("a profile times a user's ops, primitive and fused") {
  const Tensor x = randn({10}).set_requires_grad();
  const Profile profile;
  const Tensor y = slow_copy(x.exp());
  apply(SlowScale{}, y).sum().backward();
  CHECK(calls(profile, "slow_copy") == 1);
  CHECK(seconds(profile, "slow_copy") >= 5 * ms);
  CHECK(seconds(profile, "slow_copy", Phase::backward) >= 3 * ms);
  CHECK(calls(profile, "slow_scale") == 1);
  CHECK(seconds(profile, "slow_scale") >= 4 * ms);
  CHECK(calls(profile, "slow_scale", Phase::backward) == 1);
  CHECK(calls(profile, "mul") == 0);  // its kernel is a part of it
  CHECK(seconds(profile, "exp") < 4 * ms);
  CHECK(total(profile) <= profile.seconds());
}

TEST_CASE("definitions are noted by the ops they are made of") {
  const Tensor x = randn({8, 4}).set_requires_grad();
  const Profile profile;
  rms_norm(x).sum().backward();
  CHECK(calls(profile, "rms_norm") == 1);
  CHECK(calls(profile, "rms_norm", Phase::backward) == 1);
  const DefinitionsOnly guard;
  const Profile inner;
  rms_norm(x).sum().backward();
  CHECK(calls(inner, "rms_norm") == 0);
  CHECK(inner.rows().size() > 5);
}

TEST_CASE("a sum and a norm in one pass stand under the name of that kernel") {
  const Tensor x = randn({8, 4}), residual = randn({8, 4});
  const Profile profile;
  add_layer_norm(x, residual);
  CHECK(calls(profile, "add_layer_norm") == 1);
  CHECK(seconds(profile, "add_layer_norm") > 0);
}

TEST_CASE("the row of a section is what it spends outside of ops and inner sections") {
  const Tensor x = randn({10});
  const Profile profile;
  {
    const ProfileSection outer("outer");
    wait(std::chrono::milliseconds(4));
    const Tensor y = apply(SlowScale{}, x);
    const ProfileSection inner("inner");
    wait(std::chrono::milliseconds(6));
  }
  CHECK(seconds(profile, "outer", Phase::section) >= 4 * ms);
  CHECK(seconds(profile, "inner", Phase::section) >= 6 * ms);
  CHECK(seconds(profile, "slow_scale") >= 4 * ms);
  const double counted = total(profile), all = profile.seconds();
  CHECK(counted >= 14 * ms);
  CHECK(counted <= all);  // nothing counts twice
}

TEST_CASE("optimizers and clipping are sections of a profile") {
  nn::Linear layer(4, 4);
  nn::AdamW optimizer(layer.parameters());
  layer(randn({2, 4})).sum().backward();
  const Profile profile;
  nn::clip_grad_norm_(layer.parameters(), 1.0);
  optimizer.step();
  CHECK(calls(profile, "clip_grad_norm_", Phase::section) == 1);
  CHECK(calls(profile, "optimizer step", Phase::section) == 1);
}

TEST_CASE("profiles inside each other each see what happens while they live") {
  const Tensor x = randn({10});
  Profile outer;
  x.exp();
  {
    const Profile inner;
    x.exp();
    x.tanh();
    CHECK(calls(inner, "exp") == 1);
    CHECK(calls(inner, "tanh") == 1);
  }
  x.tanh();
  outer.stop();
  x.exp();
  CHECK(calls(outer, "exp") == 2);
  CHECK(calls(outer, "tanh") == 2);
  CHECK(outer.seconds() == outer.seconds());
}

TEST_CASE("a profile that starts within an op keeps what it sees to itself") {
  const Tensor x = randn({10}).set_requires_grad();
  const Tensor y = record("watched", x.detach().array().clone(), {x}, [](const Backward& b) -> Gradients {
    const Profile inner;
    const Tensor dx = b.dy * 2 + 1.0;
    CHECK(inner.rows().size() >= 1);
    return {dx};
  });
  const Profile outer;
  y.sum().backward();
  CHECK(calls(outer, "watched", Phase::backward) == 1);
  CHECK(calls(outer, "affine") == 0);
  CHECK(total(outer) <= outer.seconds());
}

TEST_CASE("an exception in an op leaves a profile in order") {
  const Tensor x = randn({10}).set_requires_grad();
  const Tensor bad = record("bad", x.detach().array().clone(), {x},
                            [](const Backward&) -> Gradients { throw Error("bad rule"); });
  const Profile profile;
  CHECK_THROWS_WITH(apply(SlowScale{.fails = true}, x), "slow_scale fails");
  CHECK_THROWS_AS(x + randn({3}), Error);
  {
    const ProfileSection section("part");
    CHECK_THROWS_WITH(bad.sum().backward(), "bad rule");
  }
  x.exp().sum().backward();
  CHECK(calls(profile, "slow_scale") == 0);
  CHECK(calls(profile, "bad", Phase::backward) == 1);  // it ran
  CHECK(calls(profile, "exp") == 1);
  CHECK(calls(profile, "exp", Phase::backward) == 1);
  CHECK(calls(profile, "part", Phase::section) == 1);
}

TEST_CASE("a profile sees its own thread alone") {
  const Tensor x = randn({10});
  const Profile profile;
  std::thread other([&] {
    x.exp();
    const Profile theirs;
    x.tanh();
    CHECK(calls(theirs, "tanh") == 1);
    CHECK(calls(theirs, "exp") == 0);
  });
  other.join();
  CHECK(profile.rows().empty());
  x.tanh();
  CHECK(calls(profile, "tanh") == 1);
}

TEST_CASE("a profile may end within a section, and another begin") {
  const Tensor x = randn({10});
  auto first = std::make_unique<Profile>();
  auto section = std::make_unique<ProfileSection>("part");
  x.exp();
  first.reset();
  const Profile second;
  x.tanh();
  section.reset();
  x.tanh();
  CHECK(calls(second, "tanh") == 2);
  CHECK(calls(second, "part", Phase::section) == 0);  // began before it
}

TEST_CASE("the trace of a profile is JSON that holds every call, ops inside ops too") {
  const Tensor x = randn({10}).set_requires_grad();
  Profile profile(true);
  {
    const ProfileSection section("a \"quoted\\\" part");
    (1 / x - x).sum().backward();
  }
  profile.stop();
  const auto trace = nlohmann::json::parse(profile.trace());
  int sub = 0, inside = 0;
  bool section = false;
  for (const auto& call : trace["traceEvents"]) {
    CHECK(call["ph"] == "X");
    CHECK(call["ts"].get<double>() >= 0);
    CHECK(call["ts"].get<double>() + call["dur"].get<double>() <= 1e6 * profile.seconds() + 1);
    sub += call["name"] == "sub" ? 1 : 0;
    inside += call["name"] == "neg" ? 1 : 0;
    section = section || call["name"] == "a \"quoted\\\" part";
  }
  CHECK(sub == 2);
  CHECK(inside > 0);
  CHECK(section);
  CHECK_THROWS_WITH(Profile().trace(), "Profile: calls were not kept; make it with keep_trace = true");
}

TEST_CASE("the table of a profile is sorted and adds up to the whole") {
  const Tensor x = randn({1000, 100}).set_requires_grad();
  Profile profile;
  softmax(x, -1).sum().backward();
  profile.stop();
  const auto rows = profile.rows();
  CHECK(std::is_sorted(rows.begin(), rows.end(),
                       [](const auto& a, const auto& b) { return a.seconds > b.seconds; }));
  const std::string table = profile.table();
  for (const char* part : {"softmax", "forward", "backward", "(elsewhere)", "(all)", "GB/s"}) {
    CAPTURE(part);
    CHECK(table.find(part) != std::string::npos);
  }
}
