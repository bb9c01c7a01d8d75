// A whole training step of a GPT on the device: what it waits for, what it copies and allocates, and its
// capture into a CUDA graph.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops.h"
#include "core/captured_work.h"
#include "models/trainer.h"
#include "nn/optim/clip.h"
#include "tests/messages.h"
#include "tests/models/small_gpt.h"
#if NORMA_CUDA_EMULATED
#  include "backends/cuda/emulator/emulator.h"
#endif

namespace norma::tests {
namespace {

/// A small model with its optimizer and one batch, on a device.
template <class Optimizer>
class Training {
 public:
  Training(Device device, double dropout = 0) : model_(make_model(dropout)), device_(device) {
    model_.to(device);
    optimizer_.emplace(model_.parameters());
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
  /// Puts batch number n where the one before was.
  void load(std::uint64_t n) {
    tokens_.copy_(batch(2 * n).to(device_)), targets_.copy_(batch(2 * n + 1).to(device_));
  }
  std::vector<std::vector<float>> parameters() {
    std::vector<std::vector<float>> values;
    for (const Tensor& parameter : model_.parameters())
      values.push_back(parameter.to(cpu).template to_vector<float>());
    return values;
  }
  double norm() const { return norm_.item(); }

 private:
  static models::Gpt make_model(double dropout) {
    manual_seed(1);
    models::GptOptions options = small_options();
    options.layers = 1;
    options.dropout = dropout;
    return models::Gpt(options);
  }
  static Tensor batch(std::uint64_t seed) { return some_tokens(2, 8, 11, seed); }

  models::Gpt model_;
  Device device_;
  std::optional<Optimizer> optimizer_;
  Tensor tokens_, targets_, norm_;
};

}  // namespace

TEST_SUITE("cuda training step") {
  TEST_CASE("training on cuda follows training on the CPU") {
    Training<nn::AdamW> on_cuda(cuda), on_cpu(cpu);
    for (std::uint64_t n = 0; n < 4; ++n) {
      on_cuda.load(n), on_cpu.load(n);
      CHECK(on_cuda.step().item() == doctest::Approx(on_cpu.step().item()).epsilon(1e-5));
      CHECK(on_cuda.norm() == doctest::Approx(on_cpu.norm()).epsilon(1e-5));
    }
  }

#if NORMA_CUDA_EMULATED
  TEST_CASE("a step neither waits for the device nor copies to or from it, nor asks for memory") {
    for (const double dropout : {0.0, 0.2}) {
      Training<nn::AdamW> training(cuda, dropout);
      for (int warm_up = 0; warm_up < 2; ++warm_up) training.step();
      emulator::reset_counters();
      const MemoryStats before = memory_stats(cuda);
      const Tensor loss = training.step();
      const emulator::Counters counted = emulator::counters();
      CAPTURE(dropout);
      CHECK(counted.synchronizations == 0);
      CHECK(counted.copies_to_host == 0);
      CHECK(counted.copies_to_device == 0);
      CHECK(counted.allocations == 0);
      CHECK(counted.frees == 0);
      CHECK(memory_stats(cuda).system_allocations == before.system_allocations);
      CHECK(std::isfinite(loss.item()));
      CHECK(emulator::counters().synchronizations == 1);
    }
  }
  TEST_CASE("a step of train_gpt waits once, for the loss and the norm that it logs") {
    for (const std::int64_t accumulate : {1, 3}) {
      TemporaryFolder folder;
      models::Settings settings = quick_settings(folder);
      settings.batch = 2, settings.dropout = 0, settings.accumulate = accumulate;
      const auto task = models::make_task(settings);
      settings.context = task->context();
      manual_seed(settings.seed);
      models::Gpt model({.vocabulary = task->vocabulary_size(),
                         .context = settings.context,
                         .layers = 1,
                         .heads = 2,
                         .width = 16});
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
  TEST_CASE("the replay of a captured step is one launch") {
    Training<nn::SGD> training(cuda);
    training.step();
    const CapturedWork step(cuda, [&] { training.step(); });
    emulator::reset_counters();
    step.replay();
    CHECK(emulator::counters().graph_launches == 1);
    CHECK(emulator::counters().synchronizations == 0);
    CHECK(emulator::counters().allocations == 0);
  }
#endif

  TEST_CASE("a captured step, replayed with other batches, does what running it does, bit by bit") {
    Training<nn::SGD> run(cuda), replayed(cuda);
    run.step(), replayed.step();
    Tensor loss;
    const CapturedWork step(cuda, [&] { loss = replayed.step(); });
    CHECK(replayed.parameters() == run.parameters());  // nothing has been done yet
    for (std::uint64_t n = 1; n < 4; ++n) {
      run.load(n), replayed.load(n);
      const double want = run.step().item();
      step.replay();
      CHECK(loss.item() == want);
      CHECK(replayed.norm() == run.norm());
      CHECK(replayed.parameters() == run.parameters());
    }
  }
  TEST_CASE("a captured step of AdamW is the step whose number it has") {
    Training<nn::AdamW> run(cuda), replayed(cuda);
    for (int n = 0; n < 2; ++n) run.step(), replayed.step();
    const CapturedWork step(cuda, [&] { replayed.step(); });
    run.step();
    step.replay();
    CHECK(replayed.parameters() == run.parameters());
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
    CHECK_THROWS_MESSAGE_HAS(CapturedWork(cuda, [&] { x.item(); }), "");
    CHECK_THROWS_MESSAGE_HAS(CapturedWork(cuda, [&] { x.to(cpu); }),
                             "capture: a copy to the host cannot be part of captured work");
    CHECK_THROWS_MESSAGE_HAS(CapturedWork(cuda, [&] { ones({3}).to(cuda); }),
                             "capture: a copy from the host cannot be part of captured work");
    CHECK_THROWS_MESSAGE_HAS(CapturedWork(cuda, [&] { CapturedWork(cuda, [] {}).replay(); }),
                             "capture: another capture cannot be part of captured work");
    const CapturedWork twice(cuda, [&] { y.mul_(2); });
    CHECK(y.at({0}) == 1);
    for (int n = 0; n < 3; ++n) twice.replay();
    CHECK(y.at({3}) == 8);
    CHECK(memory_stats(cuda).reserved_bytes == 0);
  }
}

}  // namespace norma::tests
