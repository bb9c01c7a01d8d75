// invariances: measures which changes of weights and data the norms do not notice.
#include "models/invariances.h"

#include "models/programs/command_line.h"

int main(int argc, char** argv) {
  using namespace norma;
  using namespace norma::models;
  constexpr const char* program = "invariances";
  std::uint64_t seed = 1;
  CLI::App app(
      "Prints the invariance table of Ba et al. 2016 and Zhang & Sennrich 2019, measured. Exit code 1 when a "
      "cell "
      "differs from theirs.",
      program);
  app.add_option("--seed", seed, "of weights and data")
      ->type_name("NUMBER")
      ->capture_default_str()
      ->take_last();
  programs::ProfileFlags profile(app);
  if (const int code = programs::parse(app, program, argc, argv); code >= 0) return code;

  bool started = false;
  try {
    profile.start();
    started = true;
    const auto rows = measure_invariances(seed);
    const auto statements = measure_invariance_statements(seed);
    std::fputs(show(rows, statements).c_str(), stdout);
    profile.finish();
    const auto wrong = disagreements(rows, statements);
    for (const std::string& line : wrong) programs::complain(program, line, programs::failure);
    return wrong.empty() ? 0 : programs::failure;
  } catch (const std::exception& error) {
    return programs::complain(program, error.what(), started ? programs::failure : programs::wrong_usage);
  }
}
