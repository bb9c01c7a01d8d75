// The programs with --device cuda against the same runs on the CPU.
#include <cmath>

#include "tests/cuda/device.h"
#include "tests/models/run_files.h"
#include "tests/models/run_program.h"
#include "tests/models/small_digits.h"

namespace norma::tests {
namespace {

/// Losses of a run with these flags on the device.
std::vector<double> losses(const std::string& name, const std::string& flags, const std::string& device,
                           const std::string& log) {
  const Ran ran = run(program(name) + flags + " --device " + device);
  CAPTURE(ran.output);
  REQUIRE(ran.code == 0);
  std::vector<double> values;
  for (const std::string& text : column(log, "loss")) values.push_back(std::stod(text));
  return values;
}

void check_same_losses(const std::string& name, const std::string& flags, const std::string& log,
                       std::size_t steps) {
  const auto on_cpu = losses(name, flags, "cpu", log), on_cuda = losses(name, flags, "cuda", log);
  REQUIRE(on_cpu.size() == steps);
  REQUIRE(on_cuda.size() == steps);
  for (std::size_t i = 0; i < steps; ++i) {
    CAPTURE(i);
    CHECK(std::abs(on_cuda[i] - on_cpu[i]) <= 1e-5 * on_cpu[i]);
  }
}

TEST_SUITE("cuda programs" * doctest::skip(no_device())) {
  TEST_CASE("cuda: train_gpt has the CPU's losses, goes on from its checkpoint, and generate answers") {
    TemporaryFolder folder;
    const std::string flags = small_run(folder) + "--steps 20 --dropout 0.1", log = folder.path("log.csv");
    check_same_losses("train_gpt", flags, log, 20);
    const std::string checkpoint = folder.path("gpt.safetensors");
    CHECK(run(program("train_gpt") + " --device cpu --steps 22 --resume " + checkpoint).code == 0);
    const std::string answer =
        program("generate") + " --prompt 1+2 --temperature 0 --checkpoint " + checkpoint;
    const Ran on_cpu = run(answer), on_cuda = run(answer + " --device cuda");
    CHECK(on_cpu.code == 0);
    CHECK(on_cuda.output == on_cpu.output);
  }
  TEST_CASE("cuda: train_mnist has the CPU's losses") {
    TemporaryFolder folder;
    write_digits(folder);
    for (const char* model : {"mlp", "conv --channels 2"}) {
      const std::string flags = " --data " + folder.path("") +
                                " --train 50 --layers 2 --width 8 --batch 6 --steps 6 --norm batch --log " +
                                folder.path("log.csv") + " --checkpoint " + folder.path("mnist.safetensors") +
                                " --model " + model;
      check_same_losses("train_mnist", flags, folder.path("log.csv"), 6);
    }
  }
}

}  // namespace
}  // namespace norma::tests
