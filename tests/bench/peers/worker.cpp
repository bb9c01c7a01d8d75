// One side of `make bench-peers`, on the CPU or, by the argument `cuda`, there. Reads commands, a line each,
// and answers each by a line; "error ..." when it cannot.
//
//   prepare NAME      makes the inputs of a work (see work.h), in place of those before
//   save FILE         writes what the other side must agree with, as safetensors
//   values            the same as numbers in the answer
//   run SECONDS N     runs for SECONDS and at least N times: the median time of a run in ns
//   profile N         where the time of N runs goes: "NAME|PHASE|SHARE;..", the longest first
//   peak              the most memory that this process has had, in KiB
//   distance          nanoseconds from one of two cores to the other
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <sstream>
#include <string_view>

#include "core/backend.h"
#include "core/profile.h"
#include "nn/safetensors.h"
#include "tests/bench/core_distance.h"
#include "tests/bench/peers/work.h"

namespace {

using namespace norma;
using Clock = std::chrono::steady_clock;

double seconds_of(const peers::Work& work, int calls) {
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < calls; ++i) work.run();
  backend(peers::device()).synchronize();
  return std::chrono::duration<double>(Clock::now() - start).count() / calls;
}

/// A sample is as many calls as take 20 us, so that reading the clock does not count; on cuda 5 ms, so that
/// the device always has work in hand.
double median_seconds(const peers::Work& work, double seconds, std::size_t least) {
  const double sample = is_host(peers::device()) ? 20e-6 : 5e-3;
  std::vector<double> times{seconds_of(work, 1)};
  const int calls = std::max(1, static_cast<int>(sample / times[0]));
  if (calls > 1) times.clear();
  const Clock::time_point end =
      Clock::now() + std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
  while (times.size() < least || Clock::now() < end) times.push_back(seconds_of(work, calls));
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

std::string values_of(const nn::StateDict& results) {
  std::ostringstream text;
  text.precision(9);
  for (const auto& [name, x] : results) {
    for (const float value : x.to_vector<float>()) text << value << ' ';
  }
  return text.str();
}

std::string profile_of(const peers::Work& work, std::size_t runs) {
  work.run();
  Profile profile;
  for (std::size_t i = 0; i < runs; ++i) work.run();
  profile.stop();
  std::ostringstream text;
  double elsewhere = 1;
  for (const Profile::Row& row : profile.rows()) {
    const double share = row.seconds / profile.seconds();
    const char* const phase = row.phase == Profile::Phase::backward ? "backward" : "forward";
    text << row.name << '|' << (row.phase == Profile::Phase::section ? "" : phase) << '|' << share << ';';
    elsewhere -= share;
  }
  text << "(elsewhere)||" << elsewhere;
  return text.str();
}

std::string answer(const std::string& line, peers::Work& work) {
  std::istringstream words(line);
  std::string command, argument;
  words >> command;
  if (command == "prepare" && words >> argument) {
    work = {};
    work = peers::make_work(argument);
    return "ready";
  }
  if (command == "peak") {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return std::to_string(usage.ru_maxrss);
  }
  if (command == "distance") return std::to_string(bench::core_distance());
  NORMA_CHECK(work.run, "nothing is prepared");
  if (command == "values") return values_of(work.results());
  if (command == "save" && words >> argument) {
    nn::save_safetensors(argument, work.results());
    return "saved";
  }
  double seconds = 0;
  std::size_t least = 1;
  if (command == "profile" && words >> least) return profile_of(work, least);
  NORMA_CHECK(command == "run" && words >> seconds >> least, "no such command: ", line);
  return std::to_string(1e9 * median_seconds(work, seconds, least));
}

}  // namespace

int main(int argc, char** argv) {
  peers::set_device(argc > 1 && std::string_view(argv[1]) == "cuda" ? cuda : cpu);
  peers::Work work;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::cout << answer(line, work) << std::endl;
    } catch (const std::exception& error) {
      std::cout << "error " << error.what() << std::endl;
    }
  }
}
