// Training steps of a small GPT in every placement beside Pre-Norm's, and with RMSNorm beside LayerNorm, in
// turn. Prints Markdown tables: what a placement costs beyond its norms.
//
//     placements [ROUNDS [PATTERN]]     PATTERN: only rows whose name holds it; rms: the second table alone
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/ops.h"
#include "core/parallel.h"
#include "core/profile.h"
#include "models/gpt.h"
#include "nn/optim/optimizer.h"

namespace {

using namespace norma;

constexpr std::int64_t batch = 16, length = 128;

/// The model of `char` in docs/performance.md.
models::GptOptions options_of(const nn::Placement& placement, std::string norm = "layer") {
  return {.vocabulary = 128,
          .context = length,
          .layers = 6,
          .heads = 6,
          .width = 192,
          .norm = std::move(norm),
          .placement = placement,
          .activation = "gelu_tanh",
          .tied = false};
}

class Training {
 public:
  explicit Training(const models::GptOptions& options)
      : model_(options), optimizer_(model_.parameters(), {.lr = 3e-4}) {}

  void step() {
    const Tensor loss = cross_entropy(model_(tokens_), targets_);
    optimizer_.zero_grad();
    loss.backward();
    optimizer_.step();
    loss.item();
  }

 private:
  models::Gpt model_;
  nn::AdamW optimizer_;
  Tensor tokens_ = randint(0, 128, {batch, length}), targets_ = randint(0, 128, {batch, length});
};

/// Milliseconds of a step, and those of its ops that are norms.
struct Times {
  double step, norms;
};

bool is_norm(const std::string& op) { return op.find("norm") != std::string::npos; }

Times measure(Training& training) {
  constexpr int steps = 3;
  std::vector<double> seconds;
  Times times{0, 0};
  for (int i = 0; i < steps; ++i) {
    const Profile profile;
    training.step();
    seconds.push_back(profile.seconds());
    for (const Profile::Row& row : profile.rows())
      times.norms += is_norm(row.name) ? 1e3 * row.seconds / steps : 0;
  }
  std::sort(seconds.begin(), seconds.end());
  times.step = 1e3 * seconds[seconds.size() / 2];
  return times;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Of the rounds.
struct Ratio {
  double median, lowest, highest;
};

/// Medians of two trainings that take turns, and ratios taken round by round, second to first.
struct Pair {
  Times first, second;
  Ratio steps, rests;  // rests: of the steps without their norms
};

Ratio ratio_of(const std::vector<double>& rounds) {
  const auto [low, high] = std::minmax_element(rounds.begin(), rounds.end());
  return {median(rounds), *low, *high};
}

Pair in_turn(const models::GptOptions& first, const models::GptOptions& second, int rounds) {
  Training one(first), other(second);
  one.step(), other.step();
  std::vector<double> steps[2], norms[2], step_ratios, rest_ratios;
  for (int i = 0; i < rounds; ++i) {
    const Times a = measure(one), b = measure(other);
    steps[0].push_back(a.step), steps[1].push_back(b.step);
    norms[0].push_back(a.norms), norms[1].push_back(b.norms);
    step_ratios.push_back(b.step / a.step);
    rest_ratios.push_back((b.step - b.norms) / (a.step - a.norms));
  }
  return {{median(steps[0]), median(norms[0])},
          {median(steps[1]), median(norms[1])},
          ratio_of(step_ratios),
          ratio_of(rest_ratios)};
}

void print_placements(int rounds, std::string_view pattern) {
  std::printf(
      "| placement | step | its norms | Pre-Norm's step | its norms | rest : Pre-Norm's rest | at most 1.10 "
      "|\n"
      "| --- | --- | --- | --- | --- | --- | --- |\n");
  const nn::Placement pre = nn::make_placement("pre");
  for (const nn::Placement& placement : nn::placements()) {
    if (placement.name == "pre" || placement.name.find(pattern) == std::string::npos) continue;
    const Pair pair = in_turn(options_of(pre), options_of(placement), rounds);
    std::printf("| `%s` | %.0f ms | %.1f ms | %.0f ms | %.1f ms | %.2f (%.2f-%.2f) | %s |\n",
                placement.name.c_str(), pair.second.step, pair.second.norms, pair.first.step,
                pair.first.norms, pair.rests.median, pair.rests.lowest, pair.rests.highest,
                pair.rests.median <= 1.1 ? "holds" : "missed");
    std::fflush(stdout);
  }
}

void print_rms(int rounds, std::string_view pattern) {
  std::printf(
      "\n| placement | step with LayerNorm | its norms | step with RMSNorm | its norms | steps, LayerNorm : "
      "RMSNorm |\n"
      "| --- | --- | --- | --- | --- | --- |\n");
  for (const std::string_view name : {"pre", "post", "hybrid"}) {
    if (pattern != "rms" && name.find(pattern) == std::string_view::npos) continue;
    const nn::Placement placement = nn::make_placement(name);
    const Pair pair = in_turn(options_of(placement), options_of(placement, "rms"), rounds);
    std::printf("| `%s` | %.0f ms | %.1f ms | %.0f ms | %.1f ms | %.3f (%.3f-%.3f) |\n",
                placement.name.c_str(), pair.first.step, pair.first.norms, pair.second.step,
                pair.second.norms, 1 / pair.steps.median, 1 / pair.steps.highest, 1 / pair.steps.lowest);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 5;
  const std::string_view pattern = argc > 2 ? argv[2] : "";
  std::printf("A step of `char`, %d threads, %d rounds in turn of 3 steps each.\n\n", num_threads(), rounds);
  print_placements(rounds, pattern);
  print_rms(rounds, pattern);
}
