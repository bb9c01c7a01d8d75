#include "models/trainer.h"

#include <doctest/doctest.h>

#include <fstream>
#include <limits>

#include "core/allocator.h"
#include "core/file.h"
#include "models/answer.h"
#include "models/csv_log.h"
#include "models/progress.h"
#include "models/training_run.h"
#include "nn/checkpoint.h"
#include "tests/devices.h"
#include "tests/messages.h"
#include "tests/models/run_files.h"
#include "tests/models/small_gpt.h"

using namespace norma;
using namespace norma::models;
using namespace norma::tests;

namespace {

RunResult run(const Settings& settings, const std::string& resume = "") {
  const Output out;
  return run_training(settings, {.resume = resume, .out = out.file});
}

}  // namespace

TEST_SUITE_BEGIN("training");

TEST_CASE("R121 a run stopped and resumed equals one that never stopped, bit by bit") {
  TemporaryFolder folder;
  Settings whole = quick_settings(folder);
  CHECK(run(whole).finished);
  Settings parts = whole;
  parts.log = folder.path("parts.csv");
  parts.checkpoint = folder.path("parts.safetensors");
  parts.stop_at = 4;
  const RunResult first = run(parts);
  CHECK((first.step == 4 && !first.finished && !first.evaluation));
  parts.stop_at = 7;
  CHECK(run(parts, parts.checkpoint).step == 7);
  parts.stop_at = 0;
  const RunResult last = run(parts, parts.checkpoint);
  CHECK((last.step == 10 && last.finished && last.evaluation));
  CHECK(saved_values(parts.checkpoint) == saved_values(whole.checkpoint));
  for (const char* name : {"step", "loss", "lr", "gradient_norm", "validation_loss", "validation_accuracy"}) {
    CHECK(column(parts.log, name) == column(whole.log, name));
  }
}

TEST_CASE("a finished run resumed for more steps goes on; resumed as it is, it evaluates") {
  TemporaryFolder folder;
  Settings settings = quick_settings(folder);
  const RunResult first = run(settings);
  const RunResult again = run(settings, settings.checkpoint);
  CHECK(again.step == 10);
  REQUIRE((again.evaluation && first.evaluation));
  CHECK(again.evaluation->loss == first.evaluation->loss);
  settings.steps = 13;
  CHECK(run(settings, settings.checkpoint).step == 13);
  CHECK(column(settings.log, "step").size() == 13);
}

TEST_CASE("the log has a record a step, evaluations where they were asked for") {
  TemporaryFolder folder;
  const Settings settings = quick_settings(folder);
  const RunResult result = run(settings);
  const auto validation = column(settings.log, "validation_loss");
  REQUIRE(validation.size() == 10);
  for (std::size_t i = 0; i < 10; ++i) CHECK(validation[i].empty() == ((i + 1) % 5 != 0));
  CHECK(std::stod(validation[9]) == result.evaluation->loss);
  CHECK(column(settings.log, "lr")[0] == "0.001");  // half of 2e-3 in the first of two warm-up steps
}

TEST_CASE("the probe writes a record a layer at the first step and every N, also in a resumed run") {
  TemporaryFolder folder;
  Settings settings = quick_settings(folder);
  settings.layers = 2;
  settings.probe = 4;
  settings.accumulate = 2;  // of which the first is looked at
  settings.stop_at = 5;
  run(settings);
  settings.stop_at = 0;
  run(settings, settings.checkpoint);
  const std::string path = folder.path("log.probe.csv");
  const auto steps = column(path, "step"), layers = column(path, "layer"),
             norms = column(path, "gradient_norm");
  std::vector<std::string> names{"embedding"};
  for (const std::string block : {"blocks.0.", "blocks.1."}) {
    for (const char* part : {"attention", "ffn.activation", "ffn.output", "output"})
      names.push_back(block + part);
  }
  names.push_back("features");
  REQUIRE(steps.size() == 3 * names.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    CHECK(steps[i] == std::vector<std::string>{"1", "4", "8"}[i / names.size()]);
    CHECK(layers[i] == names[i % names.size()]);
    CHECK(std::stod(norms[i]) > 0);
    CHECK(std::stod(column(path, "std")[i]) > 0);
  }
  Settings silent = settings;
  silent.probe = 0;
  silent.log = folder.path("silent.csv");
  run(silent);
  CHECK_FALSE(std::filesystem::exists(folder.path("silent.probe.csv")));
  CHECK(column(silent.log, "loss") == column(settings.log, "loss"));  // probing changes nothing
  CHECK(probe_log_of("runs/a.txt") == "runs/a.txt.probe.csv");
}

TEST_CASE("R138 a log cut in a record is read up to the last whole one and goes on") {
  TemporaryFolder folder;
  const std::string path = folder.path("sub/log.csv");
  {
    CsvLog log(path, {"step", "loss"});
    log.write({"1", "nan"});
    log.write({"2", ""});
    log.write({"3", "0.5"});
  }
  std::ofstream(path, std::ios::app) << "4,0.";
  { CsvLog log(path, {"step", "loss"}, 2); }
  CHECK(read_file(path) == "step,loss\n1,nan\n2,\n");
  CHECK_THROWS_MESSAGE_HAS(CsvLog(path, {"step", "error"}, 2), "has other columns");
  CHECK_THROWS_AS(CsvLog(path, {"step"}).write({"1", "2"}), Bug);
  CHECK_THROWS_MESSAGE_HAS(CsvLog("/dev/full", {"step"}).write({"1"}), "/dev/full");
}

TEST_CASE("R82 a training step in steady state asks the system for no memory and leaves none behind") {
  TemporaryFolder folder;
  const Settings settings = quick_settings(folder);
  const auto task = make_task(settings);
  Gpt model(gpt_options(settings, task->vocabulary_size(), task->context()));
  Trainer trainer(model, *task, settings);
  for (int i = 0; i < 3; ++i) trainer.update();
  const MemoryStats before = memory_stats(cpu);
  for (int i = 0; i < 20; ++i) trainer.update();
  CHECK(memory_stats(cpu).system_allocations == before.system_allocations);
  CHECK(memory_stats(cpu).live_bytes == before.live_bytes);
}

TEST_CASE("R132 two passes accumulated are one of twice the size") {
  TemporaryFolder folder;
  Settings settings = quick_settings(folder);
  settings.dropout = 0;
  const auto task = make_task(settings);
  const auto trained = [&](std::int64_t batch, std::int64_t accumulate) {
    settings.batch = batch;
    settings.accumulate = accumulate;
    manual_seed(1);
    Gpt model(gpt_options(settings, task->vocabulary_size(), task->context()));
    Trainer trainer(model, *task, settings);
    const StepReport report = trainer.update();
    CHECK(report.items == batch * accumulate * 6);
    return std::pair(report.loss, report.gradient_norm);
  };
  const auto [whole_loss, whole_norm] = trained(8, 1);
  const auto [parts_loss, parts_norm] = trained(4, 2);
  CHECK(parts_loss == doctest::Approx(whole_loss).epsilon(1e-6));
  CHECK(parts_norm == doctest::Approx(whole_norm).epsilon(1e-5));
}

TEST_CASE("a loss that is not finite stops the run and keeps the checkpoint") {
  TemporaryFolder folder;
  Settings settings = quick_settings(folder);
  settings.stop_at = 5;
  run(settings);
  const std::string before = read_file(settings.checkpoint);
  settings.stop_at = 0;
  settings.lr = 1e30;
  settings.min_lr = 0;
  settings.schedule = "constant";
  CHECK_THROWS_MESSAGE_HAS(run(settings, settings.checkpoint), "try a lower --lr");
  CHECK(read_file(settings.checkpoint) == before);
}

TEST_CASE("R137 settings that make no sense are named, and nothing is written") {
  TemporaryFolder folder;
  const auto refused = [&](auto change) {
    Settings settings = quick_settings(folder);
    change(settings);
    return message_of([&] { run(settings); });
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(has(refused([](Settings& s) { s.heads = 3; }), "--heads must be a divisor of --width, got 3"));
  CHECK(has(refused([](Settings& s) { s.dropout = 1; }), "--dropout"));
  CHECK(has(refused([](Settings& s) { s.dropout = NAN; }), "--dropout"));
  CHECK(has(refused([](Settings& s) { s.steps = 0; }), "--steps"));
  CHECK(has(refused([](Settings& s) { s.probe = -1; }), "--probe"));
  CHECK(has(refused([](Settings& s) { s.digits = 10; }), "--digits must be 1 to 9, got 10"));
  CHECK(has(refused([](Settings& s) { s.context = 3; }), "--context must be at least 6"));
  CHECK(has(refused([](Settings& s) { s.norm = "bath"; }), "bath"));
  CHECK(has(refused([](Settings& s) { s.placement = "around"; }), "--placement"));
  CHECK(has(refused([](Settings& s) { s.schedule = "up"; }), "up"));
  CHECK(has(refused([](Settings& s) { s.min_lr = 1; }), "min_lr"));
  if (!has_cuda()) CHECK(has(refused([](Settings& s) { s.device = "cuda"; }), "device cuda: "));
  CHECK(has(refused([](Settings& s) { s.device = "tpu"; }), "--device"));
  CHECK(has(refused([](Settings& s) { s.activation = "gelo"; }), "gelo"));
  CHECK(has(refused([](Settings& s) { s.data = "/nowhere/text"; }), "/nowhere/text"));
  CHECK(has(refused([](Settings& s) { s.checkpoint = "/proc/nowhere/x"; }), "/proc/nowhere/x"));
  CHECK(folder.count() == 0);
}

TEST_CASE("a run on a text: held-out loss, samples, and an answer byte by byte") {
  TemporaryFolder folder;
  Settings settings = quick_settings(folder);
  settings.data = folder.path("text");
  std::ofstream(settings.data) << [] {
    std::string text;
    for (int i = 0; i < 200; ++i) text += "abcdefgh";
    return text;
  }();
  settings.context = 16;
  settings.steps = 150;
  settings.lr = 1e-2;
  settings.dropout = 0;
  const RunResult result = run(settings);
  REQUIRE(result.evaluation);
  CHECK(result.evaluation->loss < 0.5);
  TrainedGpt trained = load_gpt(settings.checkpoint);
  Generator generator(1);
  std::string written;
  answer(trained, "abcd", 8, {.temperature = 0}, true, generator, [&](const std::string& piece) {
    written += piece;
    return true;
  });
  CHECK(written == "efghabcd");
  settings.context = 5000;
  CHECK_THROWS_MESSAGE_HAS(run(settings), "--context 5000 needs one more than itself");
  settings.context = 16;
  settings.validation_fraction = 0;
  CHECK_FALSE(run(settings).evaluation);
}

TEST_CASE("a model of addition answers problems and says what it cannot read") {
  TemporaryFolder folder;
  const Settings settings = quick_settings(folder);
  run(settings);
  TrainedGpt trained = load_gpt(settings.checkpoint);
  Generator generator(1);
  const auto asked = [&](const std::string& prompt) {
    std::string text;
    answer(trained, prompt, 1, {.temperature = 0}, true, generator, [&](const std::string& piece) {
      text += piece;
      return true;
    });
    return text;
  };
  CHECK(asked("3 + 4 =").starts_with("3 + 4 = "));
  CHECK_THROWS_MESSAGE_HAS(asked("three"), "must be like \"12+34\", got \"three\"");
  CHECK_THROWS_MESSAGE_HAS(asked("30+4"), "operands must lie in [0, 10)");
  CHECK_THROWS_MESSAGE_HAS(load_gpt(folder.path("none")), "none");
  nn::save_safetensors(folder.path("other"), {});
  CHECK_THROWS_MESSAGE_HAS(load_gpt(folder.path("other")), "other");
}

TEST_CASE("settings survive a checkpoint's texts") {
  Settings settings;
  settings.lr = 0.1 + 0.2;
  settings.data = "a, \"b\"";
  settings.untied = true;
  settings.seed = std::numeric_limits<std::uint64_t>::max();
  const nn::Metadata texts = to_metadata(settings);
  CHECK(to_metadata(settings_from(texts)) == texts);
  CHECK(settings_from({}).width == Settings().width);
  CHECK_THROWS_MESSAGE_HAS(settings_from({{"width", "wide"}}), "--width cannot be \"wide\"");
  CHECK_THROWS_MESSAGE_HAS(settings_from({{"untied", "maybe"}}), "untied");
}

TEST_CASE("R139 progress: plain lines elsewhere, one rewritten line on a terminal") {
  for (const bool terminal : {false, true}) {
    const Output out;
    Progress progress(out.file, terminal, 0, 3, 0);
    for (int step = 1; step <= 3; ++step) progress.step(step, 1.5, 100);
    progress.say("done");
    const std::string text = out.text();
    CHECK(text.find("step 1/3  loss 1.5000") != std::string::npos);
    CHECK(text.find("step 3/3") != std::string::npos);
    CHECK((text.find('\r') != std::string::npos) == terminal);
    CHECK((text.find('\x1b') != std::string::npos) == terminal);
    CHECK(text.ends_with("\ndone\n"));
  }
  CHECK(duration(12.4) == "12s");
  CHECK(duration(185) == "3m 05s");
  CHECK(duration(7800) == "2h 10m");
}

TEST_SUITE_END();
