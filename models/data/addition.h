// Addition as text, the data set that needs no file: "123+045=8610\n" says that 123 + 45 = 168.
//
// All problems have one length: operands are padded with zeros to `digits`, the sum to digits + 1. The sum
// is written with its last digit first, because a model that writes from left to right then meets each carry
// before it needs it; to people, show() gives the usual order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/array.h"
#include "core/random.h"
#include "models/data/text_dataset.h"
#include "models/data/tokenizer.h"

namespace norma::models {

struct AdditionOptions {
  int digits = 3;                  // of an operand, in [1, 9]
  double held_out_fraction = 0.1;  // of all problems, in [0, 1)
  std::uint64_t seed = 0;          // of the choice of held-out problems
  bool learn_question = false;     // false: targets of the question are ignore_index
};

struct Problem {
  std::int64_t a = 0;
  std::int64_t b = 0;
  friend bool operator==(const Problem&, const Problem&) = default;
};

/// A problem is held out (Split::validation) or trained on, by a hash of its two operands in order of size,
/// so that the parts are disjoint and a problem is never trained on with its operands exchanged.
class AdditionDataset {
 public:
  explicit AdditionDataset(AdditionOptions options = {});

  const CharVocabulary& vocabulary() const { return vocabulary_; }
  /// Tokens of a whole problem, of "a+b=", and of the answer without the newline.
  std::int64_t problem_length() const { return prompt_length() + answer_length() + 1; }
  std::int64_t prompt_length() const { return 2 * options_.digits + 2; }
  std::int64_t answer_length() const { return options_.digits + 1; }

  bool is_held_out(Problem problem) const;
  /// Problems of one part, operands uniform in [0, 10^digits). The position is the generator's state.
  std::vector<Problem> draw(Split split, std::int64_t count, Generator& generator) const;

  /// As the model sees it: "123+045=8610\n".
  std::string text(Problem problem) const;
  /// tokens and targets [problems, problem_length() - 1].
  Batch batch(std::span<const Problem> problems) const;

  /// What the model is asked: "a+b=" as tokens, [problems, prompt_length()].
  Array prompts(std::span<const Problem> problems) const;
  /// The sum that the tokens of an answer stand for; -1 when they are not answer_length() digits.
  std::int64_t answer(std::span<const std::int64_t> tokens) const;
  /// How many rows of answers [problems, >= answer_length()] (i64) are exactly right; tokens after the answer
  /// do not count.
  std::int64_t count_correct(std::span<const Problem> problems, const Array& answers) const;
  /// For people: "123 + 45 = 168".
  std::string show(Problem problem, std::span<const std::int64_t> answer_tokens) const;

 private:
  void check(Problem problem) const;
  AdditionOptions options_;
  std::int64_t bound_ = 1;  // 10^digits
  CharVocabulary vocabulary_{"0123456789+=\n"};
};

}  // namespace norma::models
