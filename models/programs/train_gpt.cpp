// train_gpt: trains a GPT on addition problems or on any file.
#include "models/programs/training_program.h"
#include "models/training_run.h"
#include "nn/norm/norm.h"

namespace {

using namespace norma;

void add_lists(CLI::App& app) {
  const auto list = [&app](const char* flag, const char* help, auto print) {
    app.add_flag_callback(
        flag,
        [print] {
          print();
          throw CLI::Success();
        },
        help);
  };
  list("--list-placements", "print the name, equation and source of every placement, and stop", [] {
    std::printf("X: input of a layer, Y: between its sublayers, X': output, N: norm\n");
    for (const nn::Placement& p : nn::placements())
      std::printf("\n%s\n    %s\n    %s\n", p.name.c_str(), p.equation.c_str(), p.source.c_str());
  });
  list("--list-norms", "print the name of every norm and what it is, and stop", [] {
    for (const nn::NormInfo& norm : nn::norm_methods())
      std::printf("%-14s %s\n", std::string(norm.name).c_str(), std::string(norm.what).c_str());
  });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains a GPT on integer addition, or with --data on any file, and saves it with a log.",
               "train_gpt");
  add_lists(app);
  return programs::train<models::Settings>(app, "heads", argc, argv, models::run_training);
}
