// What the programs share: flags, exit codes, interrupts, profiles.
#pragma once

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>

#include "core/check.h"
#include "core/file.h"
#include "core/profile.h"
#include "models/csv_log.h"

namespace norma::programs {

constexpr int failure = 1;        // something went wrong on the way
constexpr int wrong_usage = 2;    // an argument, or a file named by one
constexpr int interrupted = 130;  // stopped by Ctrl-C, as shells count it

inline int complain(const char* program, const std::string& message, int code) {
  std::fprintf(stderr, "%s: %s\n", program, message.c_str());
  return code;
}

/// Parses; -1 to go on, else the exit code.
inline int parse(CLI::App& app, const char* program, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::Success&) {
    return 0;
  } catch (const CLI::ParseError& error) {
    return complain(program, std::string(error.what()) + " (see " + program + " --help)", wrong_usage);
  }
  return -1;
}

/// --profile and --profile-trace. The table goes to standard error, so that the output stays as it is.
class ProfileFlags {
 public:
  /// The app holds on to this object, which must live as long.
  explicit ProfileFlags(CLI::App& app) {
    app.add_flag("--profile", table_, "print time and bytes of every op at the end, on standard error");
    app.add_option("--profile-trace", trace_, "file for every call of an op, in Chrome's trace format")
        ->type_name("TEXT")
        ->take_last();
  }
  ProfileFlags(const ProfileFlags&) = delete;
  ProfileFlags& operator=(const ProfileFlags&) = delete;

  /// Throws Error when the file cannot be written.
  void start() {
    if (!trace_.empty()) {
      NORMA_CHECK(!std::filesystem::is_directory(trace_), "--profile-trace ", trace_, ": is a folder");
      models::make_folder_of(trace_);
      const AtomicFile probe(trace_);
    }
    if (table_ || !trace_.empty()) profile_.emplace(!trace_.empty());
  }
  void finish() {
    if (!profile_) return;
    profile_->stop();
    if (table_) std::fputs(("\n" + profile_->table()).c_str(), stderr);
    if (trace_.empty()) return;
    AtomicFile file(trace_);
    file.write(profile_->trace());
    file.commit();
  }

 private:
  bool table_ = false;
  std::string trace_;
  std::optional<Profile> profile_;
};

/// Set by the first Ctrl-C; the second ends the process as usual.
inline volatile std::sig_atomic_t interrupt_seen = 0;
inline void watch_interrupts() {
  std::signal(SIGINT, [](int) {
    interrupt_seen = 1;
    std::signal(SIGINT, SIG_DFL);
  });
}

}  // namespace norma::programs
