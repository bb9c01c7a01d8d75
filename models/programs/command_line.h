// What the programs share: flags, exit codes, interrupts.
#pragma once

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "core/check.h"

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

/// Set by the first Ctrl-C; the second ends the process as usual.
inline volatile std::sig_atomic_t interrupt_seen = 0;
inline void watch_interrupts() {
  std::signal(SIGINT, [](int) {
    interrupt_seen = 1;
    std::signal(SIGINT, SIG_DFL);
  });
}

}  // namespace norma::programs
