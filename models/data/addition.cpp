#include "models/data/addition.h"

#include <algorithm>

namespace norma::models {
namespace {

constexpr std::uint64_t held_out_stream =
    0x9E3779B97F4A7C15;  // keeps the choice apart from other uses of a seed

std::string padded(std::int64_t value, std::int64_t width) {
  std::string digits = std::to_string(value);
  return std::string(static_cast<std::size_t>(width) - digits.size(), '0') + digits;
}

Array rows(const std::vector<std::int64_t>& values, std::size_t count) {
  const auto n = static_cast<std::int64_t>(count);
  return Array::from(values, {n, n == 0 ? 0 : static_cast<std::int64_t>(values.size()) / n});
}

}  // namespace

AdditionDataset::AdditionDataset(AdditionOptions options) : options_(options) {
  NORMA_CHECK(options.digits >= 1 && options.digits <= 9, "addition: digits must lie in [1, 9], got ",
              options.digits);
  NORMA_CHECK(options.held_out_fraction >= 0 && options.held_out_fraction < 1,
              "addition: held_out_fraction must lie in [0, 1), got ", options.held_out_fraction);
  for (int i = 0; i < options.digits; ++i) bound_ *= 10;
}

void AdditionDataset::check(Problem problem) const {
  NORMA_CHECK(std::min(problem.a, problem.b) >= 0 && std::max(problem.a, problem.b) < bound_,
              "addition: operands must lie in [0, ", bound_, "), got ", problem.a, " and ", problem.b);
}

bool AdditionDataset::is_held_out(Problem problem) const {
  check(problem);
  const auto [low, high] = std::minmax(problem.a, problem.b);
  const RandomKey key{options_.seed ^ held_out_stream, 0};
  const auto bits = random_bits(key, low * bound_ + high);
  return static_cast<double>(bits[0]) * 0x1p-32 < options_.held_out_fraction;
}

std::vector<Problem> AdditionDataset::draw(Split split, std::int64_t count, Generator& generator) const {
  NORMA_CHECK(count >= 0, "addition: cannot draw ", count, " problems");
  const bool held_out = split == Split::validation;
  // Fewer tries than this fail with a probability that is no concern, unless the part is empty.
  constexpr int most_tries = 100'000;
  std::vector<Problem> problems;
  for (std::int64_t i = 0; i < count; ++i) {
    Problem problem;
    int tries = 0;
    do {
      NORMA_CHECK(tries++ < most_tries, "addition: no ", held_out ? "held-out" : "training",
                  " problems found; held_out_fraction is ", options_.held_out_fraction);
      problem.a = generator.below(bound_);
      problem.b = generator.below(bound_);
    } while (is_held_out(problem) != held_out);
    problems.push_back(problem);
  }
  return problems;
}

std::string AdditionDataset::text(Problem problem) const {
  check(problem);
  std::string sum = padded(problem.a + problem.b, answer_length());
  std::reverse(sum.begin(), sum.end());
  return padded(problem.a, options_.digits) + "+" + padded(problem.b, options_.digits) + "=" + sum + "\n";
}

Batch AdditionDataset::batch(std::span<const Problem> problems) const {
  std::vector<std::int64_t> tokens, targets;
  for (const Problem& problem : problems) {
    const auto ids = vocabulary_.encode(text(problem));
    tokens.insert(tokens.end(), ids.begin(), ids.end() - 1);
    targets.insert(targets.end(), ids.begin() + 1, ids.end());
    if (!options_.learn_question) {
      const auto row = targets.end() - (problem_length() - 1);
      std::fill(row, row + (prompt_length() - 1), ignore_index);
    }
  }
  return {rows(tokens, problems.size()), rows(targets, problems.size())};
}

Array AdditionDataset::prompts(std::span<const Problem> problems) const {
  std::vector<std::int64_t> tokens;
  for (const Problem& problem : problems) {
    const auto ids = vocabulary_.encode(text(problem));
    tokens.insert(tokens.end(), ids.begin(), ids.begin() + prompt_length());
  }
  return rows(tokens, problems.size());
}

std::int64_t AdditionDataset::answer(std::span<const std::int64_t> tokens) const {
  if (static_cast<std::int64_t>(tokens.size()) != answer_length()) return -1;
  std::int64_t sum = 0;
  for (std::size_t i = tokens.size(); i-- > 0;) {
    if (tokens[i] < 0 || tokens[i] > 9) return -1;  // digits have the first ids
    sum = 10 * sum + tokens[i];
  }
  return sum;
}

std::int64_t AdditionDataset::count_correct(std::span<const Problem> problems, const Array& answers) const {
  const auto count = static_cast<std::int64_t>(problems.size());
  NORMA_CHECK(answers.rank() == 2 && answers.shape()[0] == count && answers.shape()[1] >= answer_length(),
              "count_correct: answers must be [", count, ", at least ", answer_length(), "], got ",
              answers.shape());
  const auto tokens = answers.to_vector<std::int64_t>();
  const auto width = static_cast<std::size_t>(answers.shape()[1]);
  std::int64_t correct = 0;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    const auto row = std::span(tokens).subspan(i * width, static_cast<std::size_t>(answer_length()));
    if (answer(row) == problems[i].a + problems[i].b) ++correct;
  }
  return correct;
}

std::string AdditionDataset::show(Problem problem, std::span<const std::int64_t> answer_tokens) const {
  const std::int64_t sum = answer(answer_tokens);
  return std::to_string(problem.a) + " + " + std::to_string(problem.b) + " = " +
         (sum < 0 ? std::string("?") : std::to_string(sum));
}

}  // namespace norma::models
