// The programs as a user runs them.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/file.h"
#include "models/mnist_settings.h"
#include "models/settings.h"
#include "nn/norm/norm.h"
#include "tests/devices.h"
#include "tests/models/run_program.h"
#include "tests/models/small_digits.h"
#include "tests/temporary.h"

using namespace norma;
using namespace norma::tests;

namespace {

const std::string train = program("train_gpt") + " ";
const std::string train_mnist = program("train_mnist") + " ";
const std::string generate = program("generate") + " ";
const std::string invariances = program("invariances") + " ";

std::string small_mnist_run(const TemporaryFolder& folder) {
  write_digits(folder);
  return " --data " + folder.path("") +
         " --train 50 --layers 2 --width 8 --batch 6 --steps 10 --eval-every 5 --log " +
         folder.path("log.csv") + " --checkpoint " + folder.path("mnist.safetensors") + " ";
}

// Wrong arguments end with code 2, one line that names the program and the mistake, and no new file.
struct Wrong {
  std::string arguments, message;
};
void check_refused(const std::string& name, const std::string& good, const std::vector<Wrong>& wrongs,
                   const TemporaryFolder& folder) {
  const auto files = folder.count();
  for (const Wrong& wrong : wrongs) {
    const Ran ran = run(program(name) + " " + good + wrong.arguments);
    CAPTURE(wrong.arguments);
    CAPTURE(ran.output);
    CHECK(ran.code == 2);
    CHECK(has(ran, wrong.message));
    CHECK(ran.output.starts_with(name + ": "));
    CHECK(std::count(ran.output.begin(), ran.output.end(), '\n') == 1);
  }
  CHECK(folder.count() == files);
}

template <class S>
void check_help(const std::string& name) {
  const Ran help = run(program(name) + " --help");
  CHECK(help.code == 0);
  const S defaults;
  visit_settings(defaults, [&](const char* flag, const auto&, models::OnResume, const char* text) {
    CHECK_MESSAGE(has(help, std::string("--") + flag), flag);
    CHECK_MESSAGE(has(help, std::string(text).substr(0, 12)), flag);
  });
  CHECK(has(help, "--resume"));
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

TEST_CASE("train_mnist trains, stops, resumes and leaves its logs") {
  TemporaryFolder folder;
  const std::string checkpoint = folder.path("mnist.safetensors");
  const Ran first = run(train_mnist + small_mnist_run(folder) + "--stop-at 4 --probe 2");
  CAPTURE(first.output);
  CHECK(first.code == 0);
  CHECK(has(first, "stopped after step 4 of 10; go on with --resume " + checkpoint));
  CHECK(run(train_mnist + "--resume " + checkpoint + " --seed 5").code == 2);
  const Ran second = run(train_mnist + "--resume " + checkpoint);
  CAPTURE(second.output);
  CHECK(second.code == 0);
  for (const std::string& part :
       {std::string("50 images to learn from, 10 to test"), std::string("resumed after step 4"),
        std::string("of the test images right"), "checkpoint: " + checkpoint,
        "log: " + folder.path("log.csv"), "probe: " + folder.path("log.probe.csv")}) {
    CHECK_MESSAGE(has(second, part), part);
  }
  CHECK(read_file(folder.path("log.csv"))
            .starts_with(
                "step,loss,test_loss,test_accuracy,q15,q50,q85,lr,gradient_norm,images_per_s,seconds\n1,"));
  CHECK(read_file(folder.path("log.probe.csv")).find("\n10,logits,") != std::string::npos);
  CHECK(run(train + "--resume " + checkpoint).code == 2);  // of another program
  const Ran conv =
      run(train_mnist + small_mnist_run(folder) + "--model conv --norm batch --binary --channels 2");
  CHECK_MESSAGE(conv.code == 0, conv.output);
  CHECK(has(conv, "model: conv, norm batch"));
}

TEST_CASE("R139 output that is no terminal has plain lines without control characters") {
  TemporaryFolder folder;
  const Ran ran = run(train + small_run(folder));
  CHECK(ran.code == 0);
  const Ran mnist = run(train_mnist + small_mnist_run(folder));
  CHECK(mnist.code == 0);
  for (const char c : ran.output + mnist.output) CHECK((c == '\n' || (c >= ' ' && c <= '~')));
}

TEST_CASE("R137 wrong arguments: exit code 2, one clear line, nothing written") {
  TemporaryFolder folder;
  check_refused("train_gpt", small_run(folder),
                {{"--nonsense 3", "--nonsense"},
                 {"--width wide", "--width cannot be \"wide\""},
                 {"--seed -1", "--seed"},
                 {"--width 10 --heads 3", "--heads must be"},
                 {"--dropout 1.5", "--dropout must be"},
                 {"--lr 1 --min-lr 2", "min_lr"},
                 {"--steps", "--steps"},
                 {"--placement around", "--placement: unknown name \"around\""},
                 {"--norm big", "unknown norm \"big\"; known are layer"},
                 {"--init big", "unknown name \"big\""},
                 {"--norm batch", "so that in a causal block a position sees later ones; set allow_acausal"},
                 {"--mix-alpha 2", "--mix-alpha must be 0 to 1"},
                 {"--cap -1", "--cap must be at least 0"},
                 {"--first-block both", "--first-block must be note or paper"},
                 {"--temperature hot", "--temperature must be one or log2"},
                 {"--probe -1", "--probe must be at least 0, got -1"},
                 {"--data /nowhere/text", "/nowhere/text"},
                 {"--resume /nowhere/gpt", "/nowhere/gpt"},
                 {"--device tpu", "--device must be cpu, cuda or reference, got tpu"},
                 {"--matmul-precision low", "needs highest, highest_bf16x6, high or medium, got low"},
                 {"--steps 99999999999999999999", "--steps"},
                 {"--checkpoint /proc/nowhere/gpt", "/proc/nowhere/gpt"}},
                folder);
  TemporaryFolder digits;
  check_refused("train_mnist", small_mnist_run(digits),
                {{"--nonsense 3", "--nonsense"},
                 {"--norm nrom", "unknown norm \"nrom\""},
                 {"--norm instance", "would see one value at a time"},
                 {"--norm batch --batch 1", "--batch 1: batch statistics"},
                 {"--norm group --groups 3", "GroupNorm"},
                 {"--model tree", "--model must be mlp or conv, got tree"},
                 {"--lr -1", "--lr must be at least 0, got -1"},
                 {"--lr nan", "--lr"},
                 {"--batch 0", "--batch must be at least 1"},
                 {"--unit 8", "--unit 8: the last hidden layer has 8 units"},
                 {"--train 60", "of 60 images, 60 cannot be trained on"},
                 {"--data /nowhere/mnist", "/nowhere/mnist: has neither"},
                 {"--data ''", "--data needs a folder"},
                 {"--activation sine", "sine"},
                 {"--resume /nowhere/mnist", "/nowhere/mnist"},
                 {"--resume " + digits.path("t10k-images-idx3-ubyte"), "t10k-images-idx3-ubyte"},
                 {"--log /proc/nowhere/log.csv", "/proc/nowhere/log.csv"}},
                digits);
  CHECK(run(generate + "--checkpoint /nowhere/gpt").code == 2);
  CHECK(run(generate + "--top-p wide").code == 2);
  CHECK(run(generate + "--threads -1").code == 2);
  CHECK(run(generate + "--device tpu").code == 2);
  CHECK(run(generate + "--matmul-precision low").code == 2);
}

TEST_CASE("--device cuda without CUDA or without a GPU: exit code 2 and one line that says what to do") {
  if (has_cuda()) return;
  TemporaryFolder folder, digits, trained;
  const std::vector<Wrong> wrong{{"--device cuda", "use device cpu"}, {"--device cuda", "device cuda: "}};
  check_refused("train_gpt", small_run(folder), wrong, folder);
  check_refused("train_mnist", small_mnist_run(digits), wrong, digits);
  REQUIRE(run(train + small_run(trained)).code == 0);
  check_refused("generate", "--checkpoint " + trained.path("gpt.safetensors") + " --prompt 1+2 ", wrong,
                trained);
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
  // --foreground sends the signal once. Without it, the process group gets a second, which ends a run at
  // once.
  const Ran ran = run("timeout --foreground --preserve-status -s INT 2 " + train + small_run(folder) +
                      "--steps 100000000");
  CAPTURE(ran.output);
  CHECK(ran.code == 130);
  CHECK(has(ran, "go on with --resume"));
  CHECK(run(train + "--resume " + folder.path("gpt.safetensors") + " --stop-at 1").code == 0);
}

TEST_CASE("invariances prints the papers' table and finds it right") {
  const Ran ran = run(invariances);
  CAPTURE(ran.output);
  CHECK(ran.code == 0);
  for (const char* method : {"BatchNorm", "WeightNorm", "LayerNorm", "RMSNorm", "pRMSNorm"})
    CHECK(has(ran, method));
  CHECK(run(invariances + "--seed 99").code == 0);
  CHECK(run(invariances + "--seed x").code == 2);
  CHECK(run(invariances + "--help").code == 0);
}

TEST_CASE("--help names every flag and its default") {
  check_help<models::Settings>("train_gpt");
  check_help<models::MnistSettings>("train_mnist");
  const Ran generate_help = run(generate + "--help");
  for (const char* flag : {"--prompt", "--tokens", "--temperature", "--top-k", "--top-p", "--seed",
                           "--no-cache", "--matmul-precision"}) {
    CHECK_MESSAGE(has(generate_help, flag), flag);
  }
}

TEST_SUITE_END();

TEST_CASE("programs print the time of their ops, and write a trace of them") {
  const TemporaryFolder folder;
  const std::string trace = folder.path("new/trace.json");
  const Ran trained = run(train + small_run(folder) + "--profile --profile-trace " + trace);
  CHECK(trained.code == 0);
  for (const char* part : {"linear", "backward", "optimizer step", "next batch", "(elsewhere)"})
    CHECK_MESSAGE(has(trained, part), part);
  CHECK(read_file(trace).starts_with("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[{\"name\":"));

  const Ran written = run(generate + "--prompt 1+2 --profile --checkpoint " + folder.path("gpt.safetensors"));
  CHECK(written.code == 0);
  CHECK(has(written, "linear"));
  const Ran measured = run(invariances + "--profile");
  CHECK(has(measured, "layer_norm"));

  const Ran quiet = run(train + small_run(folder));
  CHECK(quiet.code == 0);
  CHECK(!has(quiet, "(elsewhere)"));

  const std::string file_as_folder = folder.path("log.csv") + "/trace.json";
  for (const std::string& path : {folder.path(""), file_as_folder}) {
    CAPTURE(path);
    const Ran refused = run(train + small_run(folder) + "--profile-trace " + path);
    CHECK(refused.code == 2);
    CHECK(has(refused, "train_gpt: "));
  }
}
