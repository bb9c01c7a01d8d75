// A program that trains: flags from the settings of its run (models/setting_texts.h), --resume, interrupts.
#pragma once

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <type_traits>

#include "models/programs/command_line.h"
#include "models/run_loop.h"
#include "models/setting_texts.h"
#include "nn/checkpoint.h"

namespace norma::programs {

/// One flag a setting, with its default in --help. S has the members seconds, stop_at and checkpoint.
template <class S>
class SettingFlags {
 public:
  /// The app holds on to these flags, which must live as long.
  explicit SettingFlags(CLI::App& app) {
    const S defaults;
    const nn::Metadata texts = models::write_settings(defaults);
    visit_settings(defaults,
                   [&](const std::string& name, const auto& value, models::OnResume, const char* help) {
                     using T = std::remove_cvref_t<decltype(value)>;
                     Flag& flag = flags_[name];
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
  SettingFlags(const SettingFlags&) = delete;
  SettingFlags& operator=(const SettingFlags&) = delete;

  /// The defaults, with the flags that were given over them. Throws Error for a text that is no number.
  S given() const {
    nn::Metadata given;
    for (const auto& [name, flag] : flags_) {
      if (is_given(name)) given.emplace_back(name, flag.text);
    }
    return models::read_settings<S>(given);
  }

  /// The settings of a checkpoint, with the flags that were given over them. Throws Error for a file without
  /// the setting `mark`, which `program` did not write then, and for a flag that a resumed run may not
  /// change.
  S resumed(const std::string& path, const char* program, const char* mark) const {
    const nn::Checkpoint checkpoint = nn::peek_checkpoint(path);
    NORMA_CHECK(nn::find(checkpoint.metadata, mark) != nullptr, path, ": no checkpoint of ", program);
    const nn::Metadata wanted = models::write_settings(given());
    nn::Metadata merged = checkpoint.metadata;
    const S defaults;
    visit_settings(defaults, [&](const char* name, const auto&, models::OnResume on_resume, const char*) {
      if (!is_given(name)) return;
      const std::string& value = *nn::find(wanted, name);
      bool found = false;
      for (auto& [key, text] : merged) {
        if (key != name) continue;
        NORMA_CHECK(on_resume == models::OnResume::change || text == value, "--", name, " ", value,
                    ": the run in ", path, " has ", text.empty() ? std::string("none") : text,
                    "; leave the flag out, or start a new run");
        text = value;
        found = true;
      }
      if (!found) merged.emplace_back(name, value);
    });
    S settings = models::read_settings<S>(merged);
    // Limits of the earlier session do not hold for this one, and it goes on in the file named.
    if (!is_given("seconds")) settings.seconds = 0;
    if (!is_given("stop-at")) settings.stop_at = 0;
    if (!is_given("checkpoint")) settings.checkpoint = path;
    return settings;
  }

 private:
  struct Flag {
    CLI::Option* option = nullptr;
    std::string text;
  };
  bool is_given(const std::string& name) const { return flags_.at(name).option->count() > 0; }

  std::map<std::string, Flag> flags_;
};

/// The rest of a program, whose own flags the app has: run(settings, options) trains. `mark` is a setting
/// that no other program's checkpoints have. Returns the exit code.
template <class S, class RunTraining>
int train(CLI::App& app, const char* mark, int argc, char** argv, RunTraining run) {
  const std::string name = app.get_name();
  const char* const program = name.c_str();
  models::RunOptions options;
  SettingFlags<S> flags(app);
  ProfileFlags profile(app);
  app.add_option("--resume", options.resume,
                 "checkpoint to go on with; its settings hold, most flags are not needed");
  if (const int code = parse(app, program, argc, argv); code >= 0) return code;

  options.terminal = isatty(STDOUT_FILENO) != 0;
  options.stop = [] { return interrupt_seen != 0; };
  bool started = false;
  try {
    const S settings = options.resume.empty() ? flags.given() : flags.resumed(options.resume, program, mark);
    options.on_start = [&] {
      started = true;
      watch_interrupts();
    };
    profile.start();
    run(settings, options);
    profile.finish();
  } catch (const std::exception& error) {
    return complain(program, error.what(), started ? failure : wrong_usage);
  }
  return interrupt_seen != 0 ? interrupted : 0;
}

}  // namespace norma::programs
