// A whole training step of a GPT on the device: what it waits for, what it copies and allocates, and its
// capture into a CUDA graph.
#include <doctest/doctest.h>

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "autograd/ops.h"
#include "core/captured_work.h"
#include "models/trainer.h"
#include "nn/optim/clip.h"
#include "tests/cuda/device.h"
#include "tests/messages.h"
#include "tests/models/small_gpt.h"
#if NORMA_CUDA_EMULATED
#  include "backends/cuda/emulator/emulator.h"
#endif

namespace norma::tests {
namespace {

/// A small model with its optimizer and one batch, on a device.
template <class Optimizer = nn::AdamW>
class Training {
 public:
  explicit Training(Device device, double dropout = 0, const std::string& positions = "learned")
      : model_(make_model(dropout, positions)), device_(device) {
    model_.to(device);
    optimizer_.emplace(nn::decay_groups(model_, 0.1));
    optimizer_->set_lr(0.05);
    tokens_ = batch(0).to(device), targets_ = batch(1).to(device);
  }

  /// One step on the batch; the loss is not read.
  Tensor step() {
    optimizer_->zero_grad();
    const Tensor loss = cross_entropy(model_(tokens_), targets_);
    loss.backward();
    norm_ = nn::clip_grad_norm_(model_.parameters(), 0.5);
    optimizer_->step();
    return loss.detach();
  }
  /// Puts batch number n where the one before was, with the rate of a schedule.
  void load(std::uint64_t n, double lr = 0.05) {
    tokens_.copy_(batch(2 * n).to(device_)), targets_.copy_(batch(2 * n + 1).to(device_));
    optimizer_->set_lr(lr);
  }
  std::vector<std::vector<float>> parameters() {
    std::vector<std::vector<float>> values;
    for (const Tensor& parameter : model_.parameters())
      values.push_back(parameter.to(cpu).template to_vector<float>());
    return values;
  }
  /// The numbers of the optimizer's state, among them the step of every parameter.
  auto numbers() const { return optimizer_->state().numbers; }
  double norm() const { return norm_.item(); }
  Optimizer& optimizer() { return *optimizer_; }

 private:
  static models::Gpt make_model(double dropout, const std::string& positions) {
    manual_seed(1);
    models::GptOptions options = small_options();
    options.layers = 1;
    options.dropout = dropout;
    options.positions = positions;
    return models::Gpt(options);
  }
  static Tensor batch(std::uint64_t seed) { return some_tokens(2, 8, 11, seed); }

  models::Gpt model_;
  Device device_;
  std::optional<Optimizer> optimizer_;
  Tensor tokens_, targets_, norm_;
};

/// An optimizer that says nothing about captured work.
class OfAUser final : public nn::Optimizer {
 public:
  explicit OfAUser(std::vector<Tensor> parameters) : Optimizer({{std::move(parameters), {}, {}}}, 0.1, 0) {}
  std::string_view type() const override { return "OfAUser"; }

 protected:
  std::span<const char* const> slot_names() const override { return {}; }
  void update(const Tensor& parameter, const Tensor& gradient, Slot&, double lr, double) override {
    parameter.sub_(gradient * lr);
  }
};

/// After the capture, replays with other batches and rates do what steps do, bit by bit: losses, norms,
/// parameters, the optimizer's counts, and where the generator stands.
template <class Optimizer>
void check_replays(double dropout, const std::string& positions, bool other_rates) {
  Training<Optimizer> run(cuda, dropout, positions), replayed(cuda, dropout, positions);
  manual_seed(5);
  run.step();
  RandomKey of_run = default_generator().state();
  manual_seed(5);
  replayed.step();
  Tensor loss;
  const CapturedWork step(cuda, [&] { loss = replayed.step(); });
  CHECK(default_generator().state().offset == of_run.offset);
  CHECK(replayed.parameters() == run.parameters());  // nothing has been done yet
  CHECK(replayed.numbers() == run.numbers());
  for (std::uint64_t n = 1; n < 6; ++n) {
    CAPTURE(n);
    const double lr = other_rates ? 0.01 * static_cast<double>(n) : 0.05;
    run.load(n, lr), replayed.load(n, lr);
    const RandomKey of_replayed = default_generator().state();
    default_generator().set_state(of_run);
    if (n == 3) rand({3}, f32, cuda);  // somebody else draws between two steps,
    if (n == 4) manual_seed(77);       // or seeds
    const double want = run.step().item();
    of_run = default_generator().state();
    default_generator().set_state(of_replayed);
    if (n == 3) rand({3}, f32, cuda);
    if (n == 4) manual_seed(77);
    step.replay();
    CHECK(loss.item() == want);
    CHECK(default_generator().state().offset == of_run.offset);
    CHECK(default_generator().state().seed == of_run.seed);
    CHECK(replayed.norm() == run.norm());
    CHECK(replayed.parameters() == run.parameters());
    CHECK(replayed.numbers() == run.numbers());
  }
  run.load(9), replayed.load(9);
  manual_seed(8);
  const double want = run.step().item();
  manual_seed(8);
  CHECK(replayed.step().item() == want);  // and steps go on from replays
  CHECK(replayed.parameters() == run.parameters());
}

}  // namespace

TEST_SUITE("cuda training step" * doctest::skip(no_device())) {
  TEST_CASE("training on cuda follows training on the CPU, dropout included") {
    for (const double dropout : {0.0, 0.2}) {
      Training on_cuda(cuda, dropout), on_cpu(cpu, dropout);
      for (std::uint64_t n = 0; n < 4; ++n) {
        on_cuda.load(n), on_cpu.load(n);
        manual_seed(n);
        const double got = on_cuda.step().item();
        manual_seed(n);
        CHECK(got == doctest::Approx(on_cpu.step().item()).epsilon(1e-5));
        CHECK(on_cuda.norm() == doctest::Approx(on_cpu.norm()).epsilon(1e-5));
      }
    }
  }

#if NORMA_CUDA_EMULATED
  TEST_CASE("steps copy nothing and ask for no memory; they wait once for each loss that is read") {
    for (const double dropout : {0.0, 0.2}) {
      for (const char* positions : {"learned", "rotary"}) {
        CAPTURE(dropout);
        CAPTURE(positions);
        Training training(cuda, dropout, positions);
        for (int warm_up = 0; warm_up < 2; ++warm_up) training.step();
        emulator::reset_counters();
        const MemoryStats before = memory_stats(cuda);
        constexpr int steps = 6, log_every = 3;
        for (int n = 1; n <= steps; ++n) {
          const Tensor loss = training.step();
          if (n % log_every == 0) CHECK(std::isfinite(loss.item()));
        }
        const emulator::Counters counted = emulator::counters();
        CHECK(counted.synchronizations == steps / log_every);
        CHECK(counted.copies_to_host == steps / log_every);
        CHECK(counted.bytes_to_host == steps / log_every * 4);
        CHECK(counted.copies_to_device == 0);
        // A gradient into the place of its slice: of the table of positions.
        CHECK(counted.copies_on_device == (std::string(positions) == "learned" ? steps : 0));
        CHECK(counted.allocations == 0);
        CHECK(counted.frees == 0);
        CHECK(memory_stats(cuda).system_allocations == before.system_allocations);
        CHECK(memory_stats(cuda).live_bytes == before.live_bytes);
      }
    }
  }
  TEST_CASE("a step of train_gpt waits once, for the loss and the norm that it logs") {
    for (const double dropout : {0.0, 0.1}) {
      for (const std::int64_t accumulate : {1, 3}) {
        TemporaryFolder folder;
        models::Settings settings = quick_settings(folder);
        settings.batch = 2, settings.dropout = dropout, settings.accumulate = accumulate;
        const auto task = models::make_task(settings);
        settings.context = task->context();
        manual_seed(settings.seed);
        models::Gpt model({.vocabulary = task->vocabulary_size(),
                           .context = settings.context,
                           .layers = 1,
                           .heads = 2,
                           .width = 16,
                           .dropout = dropout});
        model.to(cuda);
        models::Trainer trainer(model, *task, settings);
        for (int warm_up = 0; warm_up < 2; ++warm_up) trainer.update();
        emulator::reset_counters();
        const models::StepReport report = trainer.update();
        const emulator::Counters counted = emulator::counters();
        CHECK((std::isfinite(report.loss) && report.gradient_norm > 0));
        CHECK(counted.synchronizations == 1);
        CHECK(counted.copies_to_host == 1);
        CHECK(counted.bytes_to_host == 2 * 8);
        CHECK(counted.copies_to_device == 2 * accumulate);  // tokens and targets
        CHECK(counted.allocations == 0);
      }
    }
  }
  TEST_CASE("a replay is one launch of a graph, and of a kernel for each group's rates and for the key") {
    Training training(cuda, 0.2);
    training.step();
    const CapturedWork step(cuda, [&] { training.step(); });
    step.replay();
    emulator::reset_counters();
    step.replay();
    const emulator::Counters counted = emulator::counters();
    CHECK(counted.graph_launches == 1);
    CHECK(emulator::launches("set_value") == 3);
    CHECK(counted.synchronizations == 0);
    CHECK((counted.copies_to_device == 0 && counted.copies_to_host == 0));
    CHECK((counted.allocations == 0 && counted.frees == 0));
  }
#endif

  TEST_CASE("a captured step of AdamW, replayed, does what steps do, bit by bit") {
    for (const double dropout : {0.0, 0.2}) check_replays<nn::AdamW>(dropout, "learned", true);
    check_replays<nn::AdamW>(0.2, "rotary", true);
  }
  TEST_CASE("a captured step of Adam, with the groups' rates changed apart") {
    const auto make = [] {
      Tensor w = full({3}, 2, f32, cuda).set_requires_grad(), b = full({5}, 1, f32, cuda).set_requires_grad();
      return std::pair(w, b);
    };
    const auto [w, b] = make();
    const auto [replayed_w, replayed_b] = make();
    nn::Adam run({{{w}, 0.1, 0.0}, {{b}, 0.1, 0.0}}),
        replayed({{{replayed_w}, 0.1, 0.0}, {{replayed_b}, 0.1, 0.0}});
    const auto step = [](nn::Adam& optimizer, const Tensor& of_w, const Tensor& of_b) {
      optimizer.zero_grad();
      (of_w.square().sum() + of_b.square().sum()).backward();
      optimizer.step();
    };
    step(run, w, b), step(replayed, replayed_w, replayed_b);
    const CapturedWork captured(cuda, [&, &x = replayed_w, &y = replayed_b] { step(replayed, x, y); });
    for (int n = 0; n < 3; ++n) {
      for (nn::Adam* optimizer : {&run, &replayed}) {
        optimizer->groups()[0].lr = 0.01 * n, optimizer->groups()[1].weight_decay = 0.1 * n;
      }
      step(run, w, b);
      captured.replay();
      CHECK(replayed_w.to(cpu).to_vector<float>() == w.to(cpu).to_vector<float>());
      CHECK(replayed_b.to(cpu).to_vector<float>() == b.to(cpu).to_vector<float>());
    }
  }
  TEST_CASE("a captured step of SGD, and what it cannot follow") {
    check_replays<nn::SGD>(0.2, "learned", false);
    Training<nn::SGD> training(cuda, 0.2);
    training.step();
    const CapturedWork step(cuda, [&] { training.step(); });
    const auto before = training.parameters();
    const auto numbers = training.numbers();
    const RandomKey key = default_generator().state();
    training.optimizer().set_lr(0.01);
    CHECK_THROWS_MESSAGE_HAS(step.replay(), "SGD: lr and weight_decay were captured with the step");
    training.optimizer().set_lr(0.05);
    CHECK(training.numbers() == numbers);
    CHECK(training.parameters() == before);
    CHECK(default_generator().state().offset == key.offset);
    step.replay();
    CHECK(training.parameters() != before);
  }
  TEST_CASE("steps that cannot be captured throw, and nothing has changed") {
    Training training(cuda);
    const auto capture = [&] { CapturedWork(cuda, [&] { training.step(); }); };
    CHECK_THROWS_MESSAGE_HAS(capture(), "AdamW: parameter 0: its first step cannot be part of captured work");
    CHECK(training.optimizer().state().tensors.empty());
    training.step();
    {
      const DefinitionsOnly guard;
      CHECK_THROWS_MESSAGE_HAS(capture(), "AdamW: a step can only be captured with contiguous parameters");
    }
    const auto before = training.numbers();
    const auto state = training.optimizer().state();
    std::optional<CapturedWork> step(std::in_place, cuda, [&] { training.step(); });
    training.optimizer().load_state(state);  // into other memory
    CHECK_THROWS_MESSAGE_HAS(step->replay(), "AdamW: parameter 0 or what is remembered of it has moved");
    CHECK(training.numbers() == before);

    const Tensor w = ones({3}, f32, cuda).set_requires_grad();
    OfAUser own({w});
    w.square().sum().backward();
    own.step();
    CHECK_THROWS_MESSAGE_HAS(CapturedWork(cuda, [&] { own.step(); }),
                             "OfAUser: a step cannot be part of captured work");
  }
  TEST_CASE("a replay marks the parameters as changed") {
    const Tensor w = ones({3}, f32, cuda).set_requires_grad();
    nn::SGD optimizer({w});
    w.square().sum().backward();
    optimizer.step();
    const CapturedWork step(cuda, [&] { optimizer.step(); });
    const Tensor loss = w.square().sum();
    step.replay();
    CHECK_THROWS_MESSAGE_HAS(loss.backward(), "changed");
  }
  TEST_CASE("a replay writes into no memory of others") {
    Training<nn::SGD> training(cuda);
    training.step();
    std::optional<CapturedWork> step(std::in_place, cuda, [&] { training.step(); });
    std::vector<Tensor> others;
    for (const std::int64_t count : {1, 8, 64, 176, 256, 768, 1024, 16 * 64, 20000}) {
      for (int copies = 0; copies < 8; ++copies) others.push_back(full({count}, 7, f32, cuda));
    }
    step->replay();
    for (const Tensor& other : others) CHECK((other == 7).all().item() == 1);
    CHECK(memory_stats(cuda).reserved_bytes > 0);
    step.reset();
    CHECK(memory_stats(cuda).reserved_bytes == 0);
  }
  TEST_CASE("what cannot be captured throws and leaves the device as it was") {
    const Tensor x = full({4}, 2, f32, cuda), y = full({4}, 1, f32, cuda);
    REQUIRE(memory_stats(cuda).reserved_bytes == 0);
    const RandomKey key = default_generator().state();
    Generator own(3);
    const auto refused = [&](const char* message, const std::function<void()>& body) {
      CHECK_THROWS_MESSAGE_HAS(CapturedWork(cuda, body), message);
      CHECK(CapturedWork::current(cuda) == nullptr);
      CHECK(memory_stats(cuda).reserved_bytes == 0);
      CHECK(default_generator().state().seed == key.seed);
      CHECK(default_generator().state().offset == key.offset);
    };
    refused("capture: a copy to the host cannot be part of captured work", [&] { (x * 2).sum().item(); });
    refused("capture: a copy to the host cannot be part of captured work", [&] { x.to(cpu); });
    refused("capture: a copy from the host cannot be part of captured work", [&] { ones({3}).to(cuda); });
    refused("capture: another capture cannot be part of captured work",
            [&] { CapturedWork(cuda, [] {}).replay(); });
    refused("capture: a draw from a generator other than the default one",
            [&] { rand({3}, f32, cuda, &own); });
    refused("capture: seeding the default generator", [&] { manual_seed(4); });
    refused("of the body", [&] {
      rand({3}, f32, cuda);
      throw Error("of the body");
    });
    CHECK(own.state().offset == 0);
    {
      const CapturedWork twice(cuda, [&] { y.mul_(2); });
      CHECK(y.at({0}) == 1);
      for (int n = 0; n < 3; ++n) twice.replay();
      CHECK(y.at({3}) == 8);
    }
    CHECK(memory_stats(cuda).reserved_bytes == 0);
  }
  TEST_CASE("numbers that were drawn before a capture stay, in it they are new in each replay") {
    manual_seed(2);
    const Tensor x = ones({64}, f32, cuda).set_requires_grad();
    const Tensor dropped = dropout(x, 0.5);
    Tensor dx, drawn;
    const CapturedWork work(cuda, [&] {
      dx = grad({dropped}, {x}, {ones({64}, f32, cuda)})[0];  // by the mask of the forward pass above
      drawn = rand({8}, f32, cuda);
    });
    std::vector<float> last;
    for (int n = 0; n < 3; ++n) {
      RandomKey key = default_generator().state();
      work.replay();
      CHECK(dx.to(cpu).to_vector<float>() == dropped.to(cpu).to_vector<float>());
      Generator again(key.seed);
      again.set_state(key);
      CHECK(drawn.to(cpu).to_vector<float>() == rand({8}, f32, cpu, &again).to_vector<float>());
      CHECK(drawn.to(cpu).to_vector<float>() != last);
      last = drawn.to(cpu).to_vector<float>();
    }
  }
}

}  // namespace norma::tests
