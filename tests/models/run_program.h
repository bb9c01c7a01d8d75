// Runs a program as a user does.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "tests/temporary.h"

namespace norma::tests {

struct Ran {
  int code = -1;
  std::string output;  // standard output and standard error
};

/// The path of a program: the build's programs lie beside its tests.
inline std::string program(const std::string& name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

// After a minute the command is stopped, with exit code 124.
inline Ran run(const std::string& command) {
  Ran ran;
  std::FILE* pipe = ::popen(("timeout 60 " + command + " 2>&1 < /dev/null").c_str(), "r");
  REQUIRE(pipe != nullptr);
  for (int c = 0; (c = std::fgetc(pipe)) != EOF;) ran.output.push_back(static_cast<char>(c));
  const int status = ::pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

inline bool has(const Ran& ran, const std::string& part) {
  return ran.output.find(part) != std::string::npos;
}

/// Flags of a run of train_gpt that takes a second.
inline std::string small_run(const TemporaryFolder& folder) {
  return " --digits 1 --layers 1 --heads 2 --width 16 --batch 8 --steps 12 --warmup 2 --log " +
         folder.path("log.csv") + " --checkpoint " + folder.path("gpt.safetensors") + " ";
}

}  // namespace norma::tests
