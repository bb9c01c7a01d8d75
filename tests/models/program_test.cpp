// The programs as a user runs them.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "core/file.h"
#include "models/settings.h"
#include "nn/norm/norm.h"
#include "tests/temporary.h"

using namespace norma;
using namespace norma::tests;

namespace {

struct Ran {
  int code = -1;
  std::string output;  // standard output and standard error
};

// After a minute the command is stopped, with exit code 124.
Ran run(const std::string& command) {
  Ran ran;
  std::FILE* pipe = ::popen(("timeout 60 " + command + " 2>&1 < /dev/null").c_str(), "r");
  REQUIRE(pipe != nullptr);
  for (int c = 0; (c = std::fgetc(pipe)) != EOF;) ran.output.push_back(static_cast<char>(c));
  const int status = ::pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

const std::string train = NORMA_BINARY_DIR "/train_gpt ";
const std::string generate = NORMA_BINARY_DIR "/generate ";

bool has(const Ran& ran, const std::string& part) { return ran.output.find(part) != std::string::npos; }

std::string small_run(const TemporaryFolder& folder) {
  return " --digits 1 --layers 1 --heads 2 --width 16 --batch 8 --steps 12 --warmup 2 --log " +
         folder.path("log.csv") + " --checkpoint " + folder.path("gpt.safetensors") + " ";
}

}  // namespace

TEST_SUITE_BEGIN("programs");

TEST_CASE("train_gpt trains, stops, resumes, and generate answers") {
  TemporaryFolder folder;
  const std::string checkpoint = folder.path("gpt.safetensors");
  const Ran first = run(train + small_run(folder) + "--stop-at 5");
  CAPTURE(first.output);
  CHECK(first.code == 0);
  CHECK(has(first, "stopped after step 5 of 12; go on with --resume " + checkpoint));
  const Ran second = run(train + "--resume " + checkpoint);
  CAPTURE(second.output);
  CHECK(second.code == 0);
  for (const std::string& part : {std::string("resumed after step 5"), std::string("samples:"),
                                  std::string("held-out problems exactly right"), "checkpoint: " + checkpoint,
                                  "log: " + folder.path("log.csv")}) {
    CHECK_MESSAGE(has(second, part), part);
  }
  const Ran answer = run(generate + "--checkpoint " + checkpoint + " --prompt 3+4");
  CHECK(answer.code == 0);
  CHECK(answer.output.starts_with("3 + 4 = "));
  const Ran refused = run(generate + "--checkpoint " + checkpoint + " --prompt 3+4 --top-p 2");
  CHECK(refused.code == 2);
  CHECK(has(refused, "top_p must lie in (0, 1], got 2"));
}

TEST_CASE("train_gpt lists placements and norms, and resumes and generates with the ones chosen") {
  const Ran list = run(train + "--list-placements");
  CHECK(list.code == 0);
  for (const nn::Placement& p : nn::placements()) {
    CAPTURE(p.name);
    CHECK(has(list, "\n" + p.name + "\n    " + p.equation + "\n    " + p.source + "\n"));
  }
  const Ran norms = run(train + "--list-norms");
  CHECK(norms.code == 0);
  for (const nn::NormInfo& norm : nn::norm_methods()) CHECK(has(norms, std::string(norm.what)));
  TemporaryFolder folder;
  const std::string choice =
      "--placement 'hybrid*' --first-block paper --norm rms --norm-eps 1e-6 --init normal --cap 20 ";
  CHECK(run(train + small_run(folder) + choice + "--stop-at 3").code == 0);
  const std::string checkpoint = folder.path("gpt.safetensors");
  const Ran resumed = run(train + "--resume " + checkpoint);
  CHECK_MESSAGE(resumed.code == 0, resumed.output);
  CHECK(run(generate + "--checkpoint " + checkpoint + " --prompt 3+4").code == 0);
  CHECK(run(train + small_run(folder) + "--norm batch --allow-acausal").code == 0);
  CHECK(run(train + small_run(folder) + choice + "--stop-at 3").code == 0);
  const Ran other = run(train + "--resume " + checkpoint + " --placement pre");
  CHECK(other.code == 2);
  CHECK(has(other, "--placement pre: the run in " + checkpoint + " has hybrid*"));
}

TEST_CASE("R139 output that is no terminal has plain lines without control characters") {
  TemporaryFolder folder;
  const Ran ran = run(train + small_run(folder));
  CHECK(ran.code == 0);
  for (const char c : ran.output) CHECK((c == '\n' || (c >= ' ' && c <= '~')));
}

TEST_CASE("R137 wrong arguments: exit code 2, one clear line, nothing written") {
  TemporaryFolder folder;
  struct Case {
    std::string arguments, message;
  };
  for (const Case& wrong :
       {Case{"--nonsense 3", "--nonsense"}, Case{"--width wide", "--width cannot be \"wide\""},
        Case{"--seed -1", "--seed"}, Case{"--width 10 --heads 3", "--heads must be"},
        Case{"--dropout 1.5", "--dropout must be"}, Case{"--lr 1 --min-lr 2", "min_lr"},
        Case{"--steps", "--steps"}, Case{"--placement around", "--placement: unknown name \"around\""},
        Case{"--norm big", "unknown norm \"big\"; known are layer"},
        Case{"--init big", "unknown name \"big\""}, Case{"--norm batch", "so that in a causal block a position sees later ones; set allow_acausal"},
        Case{"--mix-alpha 2", "--mix-alpha must be 0 to 1"},
        Case{"--cap -1", "--cap must be at least 0"},
        Case{"--first-block both", "--first-block must be note or paper"},
        Case{"--temperature hot", "--temperature must be one or log2"},
        Case{"--data /nowhere/text", "/nowhere/text"}, Case{"--resume /nowhere/gpt", "/nowhere/gpt"},
        Case{"--device cuda", "no CUDA backend"}, Case{"--steps 99999999999999999999", "--steps"},
        Case{"--checkpoint /proc/nowhere/gpt", "/proc/nowhere/gpt"}}) {
    const Ran ran = run(train + small_run(folder) + wrong.arguments);
    CAPTURE(wrong.arguments);
    CAPTURE(ran.output);
    CHECK(ran.code == 2);
    CHECK(has(ran, wrong.message));
    CHECK(ran.output.starts_with("train_gpt: "));
    CHECK(std::count(ran.output.begin(), ran.output.end(), '\n') == 1);
  }
  CHECK(folder.count() == 0);
  CHECK(run(generate + "--checkpoint /nowhere/gpt").code == 2);
  CHECK(run(generate + "--top-p wide").code == 2);
  CHECK(run(generate + "--threads -1").code == 2);
}

TEST_CASE("what a resumed run may not change is refused") {
  TemporaryFolder folder;
  REQUIRE(run(train + small_run(folder) + "--stop-at 3").code == 0);
  const std::string resume = train + "--resume " + folder.path("gpt.safetensors");
  const Ran wider = run(resume + " --width 32");
  CHECK(wider.code == 2);
  CHECK_MESSAGE(has(wider, "--width 32: the run in " + folder.path("gpt.safetensors") + " has 16"),
                wider.output);
  CHECK(run(resume + " --width 16 --steps 6").code == 0);
}

TEST_CASE("an interrupt saves and says how to go on") {
  TemporaryFolder folder;
  const Ran ran =
      run("timeout --preserve-status -s INT 2 " + train + small_run(folder) + "--steps 100000000");
  CAPTURE(ran.output);
  CHECK(ran.code == 130);
  CHECK(has(ran, "go on with --resume"));
  CHECK(run(train + "--resume " + folder.path("gpt.safetensors") + " --stop-at 1").code == 0);
}

TEST_CASE("--help names every flag and its default") {
  const Ran help = run(train + "--help");
  CHECK(help.code == 0);
  const models::Settings defaults;
  models::visit_settings(defaults, [&](const char* name, const auto&, models::OnResume, const char* text) {
    CHECK_MESSAGE(has(help, std::string("--") + name), name);
    CHECK_MESSAGE(has(help, std::string(text).substr(0, 12)), name);
  });
  CHECK(has(help, "--resume"));
  const Ran generate_help = run(generate + "--help");
  for (const char* flag :
       {"--prompt", "--tokens", "--temperature", "--top-k", "--top-p", "--seed", "--no-cache"}) {
    CHECK_MESSAGE(has(generate_help, flag), flag);
  }
}

TEST_SUITE_END();
