// train_gpt: trains a GPT on addition problems or on any file.
#include <unistd.h>

#include <map>

#include "models/programs/command_line.h"
#include "models/training_run.h"
#include "nn/checkpoint.h"
#include "nn/norm/norm.h"

namespace {

using namespace norma;
using namespace norma::models;
constexpr const char* program = "train_gpt";

struct Flag {
  CLI::Option* option = nullptr;
  std::string text;
};
using Flags = std::map<std::string, Flag>;

void add_flags(CLI::App& app, Flags& flags) {
  Settings defaults;
  const nn::Metadata texts = to_metadata(defaults);
  visit_settings(defaults, [&](const std::string& name, const auto& value, OnResume, const char* help) {
    using T = std::remove_cvref_t<decltype(value)>;
    Flag& flag = flags[name];
    if constexpr (std::is_same_v<T, bool>) {
      flag.option = app.add_flag_callback(
          "--" + name, [&flag] { flag.text = "1"; }, help);
    } else {
      flag.option = app.add_option("--" + name, flag.text, help)->take_last();
      flag.option->default_str(*nn::find(texts, name))
          ->type_name(std::is_same_v<T, std::string> ? "TEXT" : "NUMBER");
    }
  });
}

Settings given_settings(const Flags& flags) {
  nn::Metadata given;
  for (const auto& [name, flag] : flags) {
    if (flag.option->count() > 0) given.emplace_back(name, flag.text);
  }
  return settings_from(given);
}

// The settings of the checkpoint, with the flags that were given over them.
Settings resumed_settings(const std::string& path, const Settings& given, const Flags& flags) {
  const nn::Checkpoint checkpoint = nn::peek_checkpoint(path);
  NORMA_CHECK(nn::find(checkpoint.metadata, "layers") != nullptr, path, ": no checkpoint of train_gpt");
  const nn::Metadata wanted = to_metadata(given);
  nn::Metadata merged = checkpoint.metadata;
  visit_settings(given, [&](const char* name, const auto&, OnResume on_resume, const char*) {
    if (flags.at(name).option->count() == 0) return;
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
  if (flags.at("seconds").option->count() == 0) settings.seconds = 0;
  if (flags.at("stop-at").option->count() == 0) settings.stop_at = 0;
  if (flags.at("checkpoint").option->count() == 0) settings.checkpoint = path;
  return settings;
}

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
  RunOptions options;
  CLI::App app("Trains a GPT on integer addition, or with --data on any file, and saves it with a log.",
               program);
  Flags flags;
  add_flags(app, flags);
  add_lists(app);
  app.add_option("--resume", options.resume,
                 "checkpoint to go on with; its settings hold, most flags are not needed");
  if (const int code = programs::parse(app, program, argc, argv); code >= 0) return code;

  options.terminal = isatty(STDOUT_FILENO) != 0;
  options.stop = [] { return programs::interrupt_seen != 0; };
  bool started = false;
  try {
    Settings settings = given_settings(flags);
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
