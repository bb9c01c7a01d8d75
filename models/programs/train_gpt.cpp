// train_gpt: trains a GPT on addition problems or on any file.
#include <unistd.h>

#include <map>

#include "models/programs/command_line.h"
#include "models/training_run.h"
#include "nn/checkpoint.h"

namespace {

using namespace norma;
using namespace norma::models;
constexpr const char* program = "train_gpt";

using Flags = std::map<std::string, CLI::Option*>;

Flags add_flags(CLI::App& app, Settings& settings) {
  Flags flags;
  visit_settings(settings, [&](const char* name, auto& value, OnResume, const char* help) {
    const std::string flag = std::string("--") + name;
    if constexpr (std::is_same_v<std::remove_reference_t<decltype(value)>, bool>) {
      flags[name] = app.add_flag(flag, value, help);
    } else {
      flags[name] = app.add_option(flag, value, help)->capture_default_str();
    }
  });
  return flags;
}

// The settings of the checkpoint, with the flags that were given over them.
Settings resumed_settings(const std::string& path, const Settings& given, const Flags& flags) {
  const nn::Checkpoint checkpoint = nn::peek_checkpoint(path);
  NORMA_CHECK(nn::find(checkpoint.metadata, "layers") != nullptr, path, ": no checkpoint of train_gpt");
  const nn::Metadata wanted = to_metadata(given);
  nn::Metadata merged = checkpoint.metadata;
  visit_settings(given, [&](const char* name, const auto&, OnResume on_resume, const char*) {
    if (flags.at(name)->count() == 0) return;
    const std::string& value = *nn::find(wanted, name);
    for (auto& [key, text] : merged) {
      if (key != name) continue;
      NORMA_CHECK(on_resume == OnResume::change || text == value, "--", name, " ", value, ": the run in ",
                  path, " has ", text.empty() ? std::string("none") : text,
                  "; leave the flag out, or start a new run");
      text = value;
    }
  });
  Settings settings = settings_from(merged);
  // Limits of the earlier session do not hold for this one, and it goes on in the file named.
  if (flags.at("seconds")->count() == 0) settings.seconds = 0;
  if (flags.at("stop-at")->count() == 0) settings.stop_at = 0;
  if (flags.at("checkpoint")->count() == 0) settings.checkpoint = path;
  return settings;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  RunOptions options;
  CLI::App app("Trains a GPT on integer addition, or with --data on any file, and saves it with a log.",
               program);
  const Flags flags = add_flags(app, settings);
  app.add_option("--resume", options.resume,
                 "checkpoint to go on with; its settings hold, most flags are not needed");
  if (const int code = programs::parse(app, program, argc, argv); code >= 0) return code;

  options.terminal = isatty(STDOUT_FILENO) != 0;
  options.stop = [] { return programs::interrupt_seen != 0; };
  bool started = false;
  try {
    if (!options.resume.empty()) settings = resumed_settings(options.resume, settings, flags);
    options.on_start = [&] {
      started = true;
      programs::watch_interrupts();
    };
    run_training(settings, options);
  } catch (const std::exception& error) {
    return programs::complain(program, error.what(), started ? programs::failure : programs::wrong_usage);
  }
  return programs::interrupt_seen != 0 ? programs::interrupted : 0;
}
